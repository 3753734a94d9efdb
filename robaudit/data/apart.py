"""The output folder kept away from what it is made of: neither the images nor the model may be written over."""

from __future__ import annotations

import os
from pathlib import Path

from robaudit.data.listed import SPLIT_NAMES, part_named
from robaudit.data.listing import has_splits
from robaudit.data.remote import Location
from robaudit.errors import OutputError


def require_outside_images(out: Path, data: Location) -> None:
    """Refuse an output folder that the next command would take for a class of images.

    Raises:
        OutputError: it lies where images are looked for.
    """
    if not isinstance(data, Path) or not data.is_dir() or not _lies_in(out, data):
        return
    below = _real(out).relative_to(_real(data)).parts
    if any(name.startswith(".") for name in below):
        return  # hidden folders are not looked into
    if not below or part_named(below[0]) in SPLIT_NAMES or not has_splits(data):
        raise OutputError(
            f"{out}: lies in {data}, where its pictures would count as images to learn from or to attack; "
            "choose an --out beside it"
        )


def require_other_than_model(out: Path, model: Path) -> None:
    """Refuse to write a retrofit over the model that it is made from.

    Raises:
        OutputError: the model is at `out`, or lies in it.
    """
    if _lies_in(model, out):
        raise OutputError(
            f"{out}: holds the model that is to be retrofitted, and which it is compared with; choose another --out"
        )


def require_other_than_data(out: Path, data: Location) -> None:
    """Refuse to write a retrofit over what it learns from, such as the split.csv that an earlier one left.

    Raises:
        OutputError: the images or their manifest are at `out`, or lie in it.
    """
    if isinstance(data, Path) and _lies_in(data, out):
        raise OutputError(f"{out}: holds the images to learn from ({data}); move them away, or choose another --out")


def _lies_in(path: Path, folder: Path) -> bool:
    return _real(path).is_relative_to(_real(folder))


def _real(path: Path) -> Path:
    """With every link followed; `Path.resolve` raises RuntimeError for one that leads in a circle."""
    return Path(os.path.realpath(path))
