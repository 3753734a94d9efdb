"""Where a model's folder has images shown to it in another way than this audit: said, never silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from robaudit.data.images import Images
from robaudit.data.resizing import own_resizing
from robaudit.load.classifier import LoadedModel
from robaudit.preprocessing.hypotheses import differs, way_to


@dataclass(frozen=True)
class GridNote:
    """What differs, and what to pass."""

    why: str
    remedy: str = ""
    """Empty where nothing is nearer."""


def grid_note(loaded: LoadedModel, images: Images) -> GridNote | None:
    """What the folder says and robaudit does; None where these are the same, or it says nothing."""
    if loaded.shown is not None:
        return _unlike_training(loaded.shown, images.view.flags)
    wanted, own = loaded.resizing, own_resizing(images.view.resize)
    if wanted is None or wanted == own:
        return None
    nearer = replace(images.view, resize=wanted.how)
    is_nearer = wanted.how != own.how and differs(images, nearer, loaded.size)
    if not is_nearer and (wanted.share, wanted.interpolation) == (own.share, own.interpolation):
        return None  # square images: they are cut and stretched alike
    remedy = f"Pass --resize {wanted.how}, which is nearer." if is_nearer else ""
    return GridNote(f"The model's folder {wanted.words}; this audit {own.words}.", remedy)


def _unlike_training(trained: Sequence[str], now: Sequence[str]) -> GridNote | None:
    if trained == now:
        return None
    why = f"The model was trained with images shown {_in_words(trained)}; this audit shows them {_in_words(now)}."
    return GridNote(why, f"Pass {way_to(trained, now)}.")


def _in_words(flags: Sequence[str]) -> str:
    return f"with {' '.join(flags)}" if flags else "as they are stored"
