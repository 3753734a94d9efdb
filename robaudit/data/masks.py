"""Masks of lesions beside the images they were drawn on: known by their names, and no images of their class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from robaudit.data.listed import Listed

_WORD = r"(masks?|seg|segmentations?|gt|ground[-_ ]?truth)"
_BEHIND = re.compile(rf"[-_. ]{_WORD}([-_ ]?\d+)?$", re.IGNORECASE)
"""What a mask's name has behind its image's: `benign (4)_mask_1` of `benign (4)`."""
_FOLDER = re.compile(_WORD, re.IGNORECASE)

Place = tuple[PurePosixPath, str]
"""A folder, and a name without its suffix."""


def masks_among(files: Sequence[Listed]) -> dict[Listed, Listed]:
    """Those that are by name a mask of another, and of which.

    `benign/4_mask.png` is one of `benign/4.png`; `COVID/masks/7.png` is one of `COVID/7.png` or `COVID/images/7.png`.
    Where there is no such image, a file is what it may well be, an image with a strange name.
    """
    meant = {item: place for item in files if (place := _image_of(item)) is not None}
    if not meant:  # most sets have none, and may be large
        return {}
    images: dict[Place, Listed] = {}
    for item in files:
        if item not in meant:
            folder, name = _place(item)
            for home in (folder, folder.parent):
                images.setdefault((home, name), item)
    return {item: images[place] for item, place in meant.items() if place in images}


def words_for(masks: Mapping[Listed, Listed]) -> str:
    """How many were left out, and how to keep them; empty where there are none."""
    if not masks:
        return ""
    return (
        f"left out: {len(masks)} file(s) in class folders that are by name masks of images beside them "
        f"({_first(masks)}); if they are images of their class, rename them or list all images in a manifest"
    )


def words_for_listed(masks: Mapping[Listed, Listed]) -> str:
    """How many a manifest lists, which is taken to the letter; empty where there are none."""
    if not masks:
        return ""
    return (
        f"{len(masks)} of the images listed are by name masks of others ({_first(masks)}) and count as images of their "
        "class; if they are masks, remove their rows"
    )


def _first(masks: Mapping[Listed, Listed]) -> str:
    mask, image = next(iter(masks.items()))
    return f"{mask.id} of {image.id}"


def _image_of(item: Listed) -> Place | None:
    """Where the image is that a file is by name a mask of; None where its name is that of no mask."""
    folder, name = _place(item)
    plain = _BEHIND.sub("", name)
    n_above = 2 if item.split else 1  # part and class: a class may be called mask
    if len(folder.parts) > n_above and _FOLDER.fullmatch(folder.name):
        return folder.parent, plain
    return (folder, plain) if plain != name else None


def _place(item: Listed) -> Place:
    path = PurePosixPath(item.id.removesuffix(".gz"))  # of a volume: brain.nii.gz
    return path.parent, path.stem
