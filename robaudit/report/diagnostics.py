"""Attention, loss surface and texture before and after a retrofit, from the diagnostics.json in its folder."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from robaudit.errors import RecordError
from robaudit.records import DIAGNOSTICS_FILE, AuditRecord
from robaudit.report.gallery import Shown
from robaudit.report.moved import Moved, moved
from robaudit.report.retrofit_folder import folder_of
from robaudit.report.sources import Picture, read_picture
from robaudit.report.tone import Tone, tone
from robaudit.report.words import listed, number
from robaudit.retrofit_records import Diagnostics

_SIDES = {"before": "vanilla", "after": "assimilated"}


@dataclass(frozen=True)
class Seen:
    """One image with the attention of both models."""

    id: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Diagnosed:
    """What the retrofit did to the network's attention and to its loss surface."""

    sentences: tuple[str, ...]
    surfaces: tuple[Shown, ...]
    images: tuple[Seen, ...]
    texture: Moved | None
    """What T and C did to the texture of images, where that was measured."""
    tone: Tone | None
    """What they make of plain grey, likewise."""

    @property
    def pictures(self) -> list[Picture]:
        """Every picture of it."""
        return [shown.picture for shown in (*self.surfaces, *(shown for seen in self.images for shown in seen.shown))]


def read_diagnostics(record: AuditRecord) -> Diagnosed | None:
    """Read what was diagnosed of the audited retrofit; None where nothing was, or it is not of this model."""
    front = record.model.front
    folder = None if front is None else folder_of(record)
    if front is None or folder is None:
        return None
    try:
        found = Diagnostics.read((folder / DIAGNOSTICS_FILE).read_bytes())
        pictures = {name: read_picture(folder, file) for name, file in found.pictures.items()}
    except (OSError, ValidationError, RecordError):
        return None
    return diagnosed(found, pictures, listed(front.modules.split("+")))


def diagnosed(found: Diagnostics, pictures: dict[str, Picture], modules: str) -> Diagnosed:
    """Lay out what was diagnosed, with the pictures by the name that diagnostics.json gives them.

    Args:
        found: what was diagnosed.
        pictures: what was drawn of it.
        modules: what stands in front of the network: `T and C`, `T` or `C`.
    """
    return Diagnosed(
        sentences=_sentences(found),
        surfaces=tuple(_surfaces(pictures)),
        images=tuple(_images(found.image_ids, pictures)),
        texture=moved(found.texture, modules) if found.texture else None,
        tone=tone(found.tone, modules) if found.tone else None,
    )


def _sentences(found: Diagnostics) -> tuple[str, ...]:
    images = f"the same {number(len(found.image_ids))} validation images"
    sharpness = (
        f"Size of the largest curvature of the loss, median over {images}: {found.before.sharpness:.3g} before, "
        f"{found.after.sharpness:.3g} after; less is flatter."
    )
    before, after = found.before.median_attention_share, found.after.median_attention_share
    if before is None or after is None:
        return (sharpness,)
    attention = (
        f"{found.held:.0%} of the input gradient lie in {before:.1%} of the pixels before the retrofit and in "
        f"{after:.1%} after it, median over {images}; fewer pixels are a narrower attention, which need not be a "
        "better one."
    )
    return attention, sharpness


def _surfaces(pictures: dict[str, Picture]) -> list[Shown]:
    return [
        _shown(f"surface-{when}", f"Loss surface, {name}", f"Loss surface of the {name} model", pictures)
        for when, name in _SIDES.items()
        if f"surface-{when}" in pictures
    ]


def _images(ids: Sequence[str], pictures: dict[str, Picture]) -> list[Seen]:
    seen = []
    for index, image in enumerate(ids):
        names = {f"original-{index}": ("Original", f"Original: {image}")} | {
            f"attention-{when}-{index}": (f"Attention, {name}", f"Attention of the {name} model: {image}")
            for when, name in _SIDES.items()
        }
        shown = [_shown(name, *words, pictures) for name, words in names.items() if name in pictures]
        if shown:
            seen.append(Seen(image, tuple(shown)))
    return seen


def _shown(name: str, caption: str, alternative: str, pictures: dict[str, Picture]) -> Shown:
    return Shown("other", caption, alternative, pictures[name])
