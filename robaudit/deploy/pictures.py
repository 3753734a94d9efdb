"""What an exported file must answer like the model, beside generated pictures: the user's own, stored adversarials."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robaudit.data.images import open_images
from robaudit.data.listing import has_splits, list_images
from robaudit.data.refusing import refusing
from robaudit.data.regular import MAX_BYTES, read_at_most
from robaudit.data.remote import Location
from robaudit.errors import DataError
from robaudit.load.classifier import LoadedModel
from robaudit.records import file_of, read_audit

MAX_IMAGES = 64
"""Of the user's; enough to show a difference, soon done."""
KEEP = "keep the folder of an audit as scan wrote it"


def of_data(data: Location, loaded: LoadedModel, limit: int | None) -> Tensor:
    """Images of a data folder or manifest, its test part where it has parts, (N, C, H, W).

    Raises:
        DataError: they cannot be read.
        ModelError: they are coloured, and the model takes grey ones.
        SettingsError: `limit` is below one.
    """
    at_most = MAX_IMAGES if limit is None else min(limit, MAX_IMAGES)
    images = open_images(data, "test" if has_splits(data) else None, limit=at_most)
    loaded.require_channels(images.channels)
    channels = loaded.classifier.takes_channels
    return torch.stack([images.load(ref, loaded.size).expand(channels, -1, -1) for ref in images.refs])


def listed_files(data: Location) -> Iterator[Path]:
    """Files of this machine that a data folder or manifest holds images in; nothing is read until they are asked for.

    Raises:
        DataError: there are none, or the manifest is faulty.
    """
    yield from (item.path for item in list_images(data, None).items if isinstance(item.path, Path))


def of_audit(audit: Path, channels: int, size: tuple[int, int]) -> Tensor:
    """Originals and adversarials stored by an audit, (N, C, H, W); N may be 0.

    Raises:
        DataError: one of its pictures is missing, no PNG, damaged, or of another size.
        RecordError: the record cannot be read, or names files outside its folder.
    """
    pictures = [_read(file, channels, size) for file in stored_files(audit)]
    return torch.stack(pictures) if pictures else torch.empty(0, channels, *size)


def stored_files(audit: Path) -> list[Path]:
    """The originals and adversarials that an audit stored.

    Raises:
        RecordError: the record cannot be read, or names files outside its folder.
    """
    stored = [
        file_of(audit.parent, item.files[role])
        for item in read_audit(audit).artifacts
        for role in ("original", "adversarial")
        if role in item.files
    ]
    return list(dict.fromkeys(stored))


def _read(file: Path, channels: int, size: tuple[int, int]) -> Tensor:
    try:
        data = read_at_most(file, MAX_BYTES, KEEP)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); {KEEP}") from None
    with refusing(file, "PNG", remedy=KEEP), Image.open(BytesIO(data), formats=("PNG",)) as picture:
        if (picture.height, picture.width) != size:  # asked before anything as large as it claims is made
            raise DataError(
                f"{file}: is {picture.height}x{picture.width}, wanted {size[0]}x{size[1]}; "
                "pass an audit of this very model"
            )
        pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels.reshape(*size, -1)).permute(2, 0, 1)
