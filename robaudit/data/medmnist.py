"""A MedMNIST file (.npz): arrays {train,val,test}_images and _labels, of any size, flat or solid; nothing is unpickled.

Yang et al., MedMNIST v2 (Scientific Data 2023). Labels are the numbers of the model's outputs.
"""

from __future__ import annotations

import functools
import math
import shutil
import struct
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from robaudit.data.listed import SPLIT_NAMES, Listed
from robaudit.data.picture import Picture
from robaudit.data.refusing import refusing
from robaudit.data.regular import is_regular
from robaudit.data.remote import Location, on_disk
from robaudit.data.view import View
from robaudit.data.volume import place_of_slice
from robaudit.errors import DataError, OutputError

MAX_BYTES = 2**34
"""Of one array (16 GiB): the largest of MedMNIST, PathMNIST's training part of 224x224, has 13.5e9."""
MAX_RATIO = 200
"""Packed images rarely shrink below a tenth; deflate can claim a thousand times its size."""
MAX_CLASSES = 10_000
_REMEDY = "fetch it again"
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class _Header:
    """What an array says of itself before its bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    """Bytes of the header."""


def is_medmnist(path: Location) -> TypeGuard[Path]:
    """Whether a file is a zip archive with a MedMNIST array.

    Raises:
        DataError: it is called as one and lies elsewhere.
    """
    if not isinstance(path, Path):
        if path.suffix == ".npz":
            on_disk(path, "a MedMNIST file")
        return False
    if not is_regular(path):
        return False
    try:
        with path.open("rb") as file:
            if file.read(4) != _ZIP_MAGIC:
                return False
        with zipfile.ZipFile(path) as archive:
            return any(name in archive.namelist() for name in _members().values())
    except (OSError, zipfile.BadZipFile, ValueError, struct.error, NotImplementedError):
        return False


def read_medmnist(path: Path) -> list[Listed]:
    """Every image of every part.

    Raises:
        DataError: damaged, absurd, not of grey or RGB bytes, or with several labels per image.
    """
    with refusing(path, "MedMNIST file", remedy=_REMEDY), zipfile.ZipFile(path) as archive:
        return [
            Listed(f"{part}/{index:06d}", path, str(int(label)), part, member=f"{part}/{index}")
            for part, member in _members().items()
            if member in archive.namelist()
            for index, label in enumerate(_labels(path, archive, part))
        ]


def read_row(path: Path, member: str, view: View) -> tuple[Picture, bytes, bool]:
    """One image, or the slice of a volume that `view` names; the bytes of the whole row, and whether it is a volume.

    Raises:
        DataError: damaged, changed since it was listed, or a volume and no slice is named.
    """
    part, _, index = member.partition("/")
    with refusing(path, "MedMNIST file", remedy=_REMEDY):
        stat = path.stat()
        row = _array(path, stat.st_mtime_ns, stat.st_size, f"{part}_images.npy")[int(index)]
        is_volume = _is_volume(row.shape)
        shown = _slice(path, row, view) if is_volume else row
        pixels = np.atleast_3d(np.asarray(shown)) / np.float32(255)
        return Picture(pixels.astype(np.float32)), row.tobytes(), is_volume


def _slice(path: Path, volume: NDArray[Any], view: View) -> NDArray[Any]:
    axis, index = place_of_slice(path, volume.shape, view)
    return np.asarray(volume.take(index, axis))


def is_row(member: str) -> bool:
    """Whether a listed picture is a row of a MedMNIST array."""
    return member.partition("/")[0] in SPLIT_NAMES


def _members() -> dict[str, str]:
    return {part: f"{part}_images.npy" for part in SPLIT_NAMES}


def _labels(path: Path, archive: zipfile.ZipFile, part: str) -> NDArray[Any]:
    images, header = _header(archive, f"{part}_images.npy"), _header(archive, f"{part}_labels.npy")
    _require_pictures(path, part, images)
    _require_one_label(path, part, images, header)
    with archive.open(f"{part}_labels.npy") as file:
        file.read(header.size)
        labels = np.frombuffer(file.read(), header.dtype)
    if len(labels) and not 0 <= labels.min() <= labels.max() < MAX_CLASSES:
        raise DataError(f"{path}: has labels from {labels.min()} to {labels.max()}, wanted the numbers of outputs")
    return labels


def _require_pictures(path: Path, part: str, images: _Header) -> None:
    row = images.shape[1:]
    is_known = len(row) == 2 or row[2:] in ((1,), (3,)) or _is_volume(row)
    if images.dtype != np.uint8 or not is_known or 0 in row:
        raise DataError(
            f"{path}: {part}_images are {images.shape} {images.dtype}, wanted bytes: (N, H, W), (N, H, W, 3) or "
            "volumes (N, D, H, W); save them so"
        )


def _is_volume(row: tuple[int, ...]) -> bool:
    """Whether a row has three axes, of which the last is too long for colours."""
    return len(row) == 3 and row[2] > 4


def _require_one_label(path: Path, part: str, images: _Header, labels: _Header) -> None:
    n_images, n_labels = images.shape[:1], labels.shape[:1]
    if n_labels != n_images or labels.dtype.kind not in "iu" or len(labels.shape) > 2:
        raise DataError(f"{path}: {part}_labels are {labels.shape} {labels.dtype}, wanted one number per image")
    if labels.shape[1:] not in ((), (1,)):
        raise DataError(
            f"{path}: has {labels.shape[1]} labels per image (multi-label), and a classifier is audited on one; "
            "save the column of one finding as the labels"
        )


def _header(archive: zipfile.ZipFile, member: str) -> _Header:
    """Read what an array claims, and refuse what its bytes cannot keep."""
    info = archive.getinfo(member)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = reader(file)
        header = _Header(shape, dtype, file.tell())
    n_bytes = math.prod(shape) * dtype.itemsize
    if fortran and len(shape) > 1 and min(shape) > 1:
        raise ValueError(f"{member} is stored column by column")
    if dtype.hasobject:
        raise ValueError(f"{member} holds pickled objects, which robaudit does not load")
    if header.size + n_bytes != info.file_size:
        raise ValueError(f"{member} claims {n_bytes} bytes and has {info.file_size - header.size}")
    if n_bytes > MAX_BYTES or n_bytes > MAX_RATIO * info.compress_size + 2**20:
        raise ValueError(f"{member} claims {n_bytes} bytes, packed into {info.compress_size}")
    return header


@functools.lru_cache(maxsize=4)
def _array(path: Path, modified: int, size: int, member: str) -> NDArray[np.uint8]:
    """An array on disk, unpacked to a temporary file: any image at once, without filling the memory.

    `modified` and `size` are part of what is remembered: a file that changes is read again.

    Raises:
        OutputError: there is no room for temporary files.
    """
    with zipfile.ZipFile(path) as archive:
        header = _header(archive, member)
        with archive.open(member) as packed:
            packed.read(header.size)
            try:
                with tempfile.TemporaryFile() as unpacked:  # the array holds on to it
                    shutil.copyfileobj(packed, unpacked, 2**20)
                    unpacked.flush()
                    return np.memmap(unpacked, np.uint8, mode="r", shape=header.shape)
            except OSError as error:
                raise OutputError(
                    f"{path}: cannot be unpacked to temporary files ({error.strerror}); free space, or set TMPDIR to a "
                    f"folder with room for {math.prod(header.shape)} bytes"
                ) from None
