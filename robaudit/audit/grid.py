"""Where a model's folder brings images to the input grid in another way than this audit: said, never silent."""

from __future__ import annotations

from dataclasses import dataclass, replace

from robaudit.audit.hypotheses import differs
from robaudit.load.classifier import LoadedModel
from robaudit.load.images import Images
from robaudit.load.resizing import own_resizing


@dataclass(frozen=True)
class GridNote:
    """What differs, and what would be nearer."""

    why: str
    flags: str = ""
    """What to pass; empty where nothing is nearer."""


def grid_note(loaded: LoadedModel, images: Images) -> GridNote | None:
    """What the folder says and robaudit does; None where these are the same, or it says nothing."""
    wanted, own = loaded.resizing, own_resizing(images.view.resize)
    if wanted is None or wanted == own:
        return None
    nearer = replace(images.view, resize=wanted.how)
    is_nearer = wanted.how != own.how and differs(images, nearer, loaded.size)
    if not is_nearer and (wanted.share, wanted.interpolation) == (own.share, own.interpolation):
        return None  # square images: they are cut and stretched alike
    flags = f"--resize {wanted.how}" if is_nearer else ""
    return GridNote(f"The model's folder {wanted.words}; this audit {own.words}.", flags)
