"""The gallery: the same image in every audit, what T and C show the network, and what fooled it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from robaudit.records import GalleryItem
from robaudit.report.sources import Picture, Source
from robaudit.report.words import attack_name, capital, eps

WITHOUT_GLCM = "without GLCM loss"

_ROLES = {
    "original": "Original",
    "texture": "T output",
    "colour": "C output",
    "adversarial": "Adversarial",
    "difference": "Difference",
}
FRONT_ROLES = ("texture", "colour")


@dataclass(frozen=True)
class Shown:
    """One picture with its caption."""

    role: str
    """Class of report.css: the same role stands in the same column."""
    caption: str
    alternative: str
    picture: Picture


@dataclass(frozen=True)
class Strip:
    """The pictures of one model for one image."""

    side: str
    title: str
    outcome: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Exhibit:
    """One image, with a strip per model."""

    id: str
    label: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Hung:
    """An audit whose pictures are shown."""

    side: str
    name: str
    source: Source
    roles: Collection[str] | None = None
    """None shows every role. An audit with chosen roles joins images of the others, and brings none of its own."""

    @property
    def items(self) -> dict[str, GalleryItem]:
        """Its pictures, by image."""
        return {item.id: item for item in self.source.record.artifacts}


def gallery(walls: Sequence[Hung]) -> tuple[Exhibit, ...]:
    """Put the pictures of each image side by side, images that all audits show first."""
    own = [wall.items for wall in walls if wall.roles is None]
    images = sorted(
        dict.fromkeys(image for items in own for image in items),
        key=lambda image: any(image not in items for items in own),
    )
    return tuple(
        Exhibit(
            id=image,
            label=next(items[image].label for items in own if image in items),
            strips=tuple(_strip(wall, wall.items[image]) for wall in walls if image in wall.items),
        )
        for image in images
    )


def _strip(wall: Hung, item: GalleryItem) -> Strip:
    roles = [role for role in _ROLES if role in item.files and (wall.roles is None or role in wall.roles)]
    return Strip(wall.side, capital(wall.name), _outcome(item), tuple(_shown(role, item, wall) for role in roles))


def _shown(role: str, item: GalleryItem, wall: Hung) -> Shown:
    caption = _caption(role, item)
    return Shown(role, caption, f"{caption}: {item.id}, {wall.name}", wall.source.pictures[item.files[role]])


def _caption(role: str, item: GalleryItem) -> str:
    caption = _ROLES[role]
    if role == "adversarial" and item.attack and item.eps_255:
        return f"{caption}, {attack_name(item.attack)} {eps(item.eps_255)}"
    if role == "difference" and item.magnification:
        return f"{caption} ×{item.magnification}"
    return caption


def _outcome(item: GalleryItem) -> str:
    predicted = f"predicts {item.prediction}" if item.prediction is not None else "gives no answer"
    if item.prediction != item.label:
        return f"{predicted}: wrong without any attack"
    if item.attack is None or item.eps_255 is None:
        return f"{predicted}; no attack fooled it"
    fooled = f" into {item.adversarial_prediction}" if item.adversarial_prediction is not None else ""
    return f"{predicted}; {attack_name(item.attack)} fools it{fooled} at {eps(item.eps_255)}, the smallest eps found"
