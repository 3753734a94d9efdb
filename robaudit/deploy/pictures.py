"""What an exported file must answer like the model, beside generated pictures: the user's own, stored adversarials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robaudit.errors import RecordError
from robaudit.load.classifier import LoadedModel
from robaudit.load.images import open_images
from robaudit.load.listing import has_splits
from robaudit.records import read_audit

MAX_IMAGES = 64
"""Of the user's; enough to show a difference, soon done."""


def of_data(data: Path, loaded: LoadedModel, limit: int | None) -> Tensor:
    """Images of a data folder or manifest, its test part where it has parts, (N, C, H, W).

    Raises:
        DataError: they cannot be read.
        ModelError: they are coloured, and the model takes grey ones.
    """
    images = open_images(data, "test" if has_splits(data) else None, limit=min(limit or MAX_IMAGES, MAX_IMAGES))
    loaded.require_channels(images.channels)
    channels = loaded.classifier.takes_channels
    return torch.stack([images.load(ref, loaded.size).expand(channels, -1, -1) for ref in images.refs])


def of_audit(audit: Path, channels: int, size: tuple[int, int]) -> Tensor:
    """Originals and adversarials stored by an audit, (N, C, H, W); N may be 0.

    Raises:
        RecordError: the record or its pictures cannot be read, or are of another size.
    """
    stored = [
        audit.parent / item.files[role]
        for item in read_audit(audit).artifacts
        for role in ("original", "adversarial")
        if role in item.files
    ]
    pictures = [_read(file, channels) for file in stored]
    if any(picture.shape[1:] != size for picture in pictures):
        raise RecordError(f"{audit}: its pictures are not {size[0]}x{size[1]}; pass an audit of this very model")
    return torch.stack(pictures) if pictures else torch.empty(0, channels, *size)


def _read(file: Path, channels: int) -> Tensor:
    try:
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"), dtype=np.float32) / 255
    except OSError:
        raise RecordError(f"{file}: cannot be read; keep an audit's folder together") from None
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)
