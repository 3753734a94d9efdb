"""The gallery: the same image before and after, what T and C show the network, and what fooled it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from robaudit.records import GalleryItem
from robaudit.report.naming import Naming
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
_FRONT_ROLES = ("texture", "colour")


@dataclass(frozen=True)
class Shown:
    """One picture with its caption."""

    role: str
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


def gallery(before: Source, after: Source, without_glcm: Source | None, names: Naming) -> tuple[Exhibit, ...]:
    """Put the pictures of each image side by side, images both audits show first."""
    sides = [("before", names.before, before, tuple(_ROLES)), ("after", names.after, after, tuple(_ROLES))]
    if without_glcm:
        sides.append(("without-glcm", WITHOUT_GLCM, without_glcm, _FRONT_ROLES))
    items = {side: {item.id: item for item in source.record.artifacts} for side, _, source, _ in sides}
    return tuple(
        Exhibit(
            id=image,
            label=next(items[side][image].label for side in ("before", "after") if image in items[side]),
            strips=tuple(
                _strip(side, name, items[side][image], source, roles)
                for side, name, source, roles in sides
                if image in items[side]
            ),
        )
        for image in _shared_first(items["before"], items["after"])
    )


def _shared_first(before: Iterable[str], after: Iterable[str]) -> Sequence[str]:
    first, second = list(before), list(after)
    return sorted(dict.fromkeys([*first, *second]), key=lambda image: image not in first or image not in second)


def _strip(side: str, name: str, item: GalleryItem, source: Source, roles: Sequence[str]) -> Strip:
    shown = tuple(_shown(role, item, name, source.pictures[item.files[role]]) for role in roles if role in item.files)
    return Strip(side, capital(name), _outcome(item), shown)


def _shown(role: str, item: GalleryItem, name: str, picture: Picture) -> Shown:
    caption = _ROLES[role]
    if role == "adversarial" and item.attack and item.eps_255:
        caption = f"{caption}, {attack_name(item.attack)} {eps(item.eps_255)}"
    if role == "difference" and item.magnification:
        caption = f"{caption} ×{item.magnification}"
    return Shown(role, caption, f"{caption}: {item.id}, {name}", picture)


def _outcome(item: GalleryItem) -> str:
    predicted = f"predicts {item.prediction}" if item.prediction is not None else "gives no answer"
    if item.prediction != item.label:
        return f"{predicted}: wrong without any attack"
    if item.attack is None or item.eps_255 is None:
        return f"{predicted}; no attack fooled it"
    fooled = f" into {item.adversarial_prediction}" if item.adversarial_prediction is not None else ""
    return f"{predicted}; {attack_name(item.attack)} fools it{fooled} at {eps(item.eps_255)}, the smallest eps found"
