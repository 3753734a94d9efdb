"""Pictures of a few images: as given, after T and C, attacked, and what the attack changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robaudit.attack.curve import Measured
from robaudit.data.images import ImageRef, Images
from robaudit.files import discard, replacing
from robaudit.load.classifier import LoadedModel
from robaudit.records import GalleryItem

GALLERY_FOLDER = "gallery"
PICTURES_PER_CLASS = 2
MAX_PICTURES = 8
HASH_LENGTH = 16
"""Hexadecimal digits that the name of a picture begins with."""


def gallery_ids(images: Images) -> frozenset[str]:
    """Which images are pictured: a few of each class, chosen by their bytes, so that all audits show the same."""
    per_class = max(1, min(PICTURES_PER_CLASS, MAX_PICTURES // len(images.classes)))
    chosen: list[str] = []
    for name in images.classes[:MAX_PICTURES]:
        members = sorted((ref for ref in images.refs if ref.label == name), key=lambda ref: (ref.sha256, ref.id))
        chosen += [ref.id for ref in members[:per_class]]
    return frozenset(chosen)


def write_pictures(
    folder: Path, loaded: LoadedModel, images: Images, ref: ImageRef, measured: Measured, grid: Sequence[int]
) -> GalleryItem:
    """Write one image's pictures as 8-bit PNG and describe them; paths are relative to `folder`."""
    classifier = loaded.classifier
    original = images.load(ref, loaded.size).to(classifier.device)
    pictures = {"original": original}
    if classifier.front is not None:
        with torch.no_grad():
            pictures |= {role: batch[0] for role, batch in classifier.front.stages(original[None]).items()}
    row, adversarial = measured.row, measured.adversarial
    if adversarial is None:
        return GalleryItem(
            id=ref.id, label=ref.label, prediction=row.prediction, files=_write_all(folder, ref, pictures)
        )
    magnification = max(1, int(127.5 // max(grid)))
    pictures["adversarial"] = attacked = adversarial.picture.to(original.device)
    pictures["difference"] = 0.5 + magnification * (attacked - original)
    return GalleryItem(
        id=ref.id,
        label=ref.label,
        prediction=row.prediction,
        adversarial_prediction=None if adversarial.prediction is None else images.classes[adversarial.prediction],
        attack=measured.adversarial_attack,
        eps_255=min(eps for eps in row.fooled_at.values() if eps is not None),
        magnification=magnification,
        files=_write_all(folder, ref, pictures),
    )


def discard_pictures(folder: Path) -> None:
    """Remove pictures that `write_pictures` made, and their folder where nothing else lies in it.

    Raises:
        OutputError: the folder cannot be written.
    """
    gallery = folder / GALLERY_FOLDER
    discard(gallery, *(picture.name for picture in gallery.glob(f"{'[0-9a-f]' * HASH_LENGTH}-*.png")))
    with suppress(OSError):
        gallery.rmdir()


def _write_all(folder: Path, ref: ImageRef, pictures: dict[str, Tensor]) -> dict[str, str]:
    # Named after the id's hash: an id may hold anything a file name can, and two ids never share one.
    name = hashlib.sha256(ref.id.encode()).hexdigest()[:HASH_LENGTH]
    files = {role: f"{GALLERY_FOLDER}/{name}-{role}.png" for role in pictures}
    for role, picture in pictures.items():
        with replacing(folder / files[role]) as temporary:
            to_image(picture).save(temporary, format="PNG")
    return files


def to_image(picture: Tensor) -> Image.Image:
    """(C, H, W) in [0, 1], clipped -> an 8-bit picture; C 1 or 3."""
    levels = (picture.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else np.ascontiguousarray(levels))
