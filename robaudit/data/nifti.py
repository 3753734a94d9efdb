"""A slice of a NIfTI volume, in the order its numbers are stored: which slice, and what is black and white, is said.

nibabel reads it. Rows run along the first of the two axes that are left, columns along the second, as an array's do.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robaudit.data.picture import Picture
from robaudit.data.refusing import SKIP, refusing
from robaudit.data.remote import Location
from robaudit.data.view import View
from robaudit.data.volume import place_of_slice
from robaudit.errors import DataError

MAX_RATIO = 200
"""Packed volumes rarely shrink below a tenth; deflate can claim a thousand times its size."""
MAX_HEADER = 2**24
"""Bytes before the first voxel (16 MiB)."""


def is_nifti_name(file: Location) -> bool:
    """Whether a file's name is that of a NIfTI volume."""
    return file.name.lower().endswith((".nii", ".nii.gz"))


def decode_nifti(file: Path, view: View) -> Picture:
    """Decode one slice of a volume.

    Args:
        file: a .nii or .nii.gz file.
        view: its `slice` and `window`.

    Raises:
        DataError: no slice or no grey scale is said, the volume has not three axes, or it is damaged or absurd.
    """
    with refusing(file, "NIfTI volume"):
        _require_short_header(file)
        image = _opened(file)
        axis, index = place_of_slice(file, image.shape, view)
        _require_possible(file, image, axis)
        low, high = _ends(file, image, view)
        values = np.asarray(np.take(_along(image, axis, index), 0, axis), dtype=np.float64)
    unit = np.clip((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low), 0, 1)
    return Picture(unit.astype(np.float32)[..., None], _levels(image, low, high))


def _require_short_header(file: Path) -> None:
    """Refuse a header whose end, or whose extensions, nibabel would have to unpack gigabytes to reach."""
    with gzip.open(file, "rb") if _is_packed(file) else file.open("rb") as opened:
        start = opened.read(MAX_HEADER)
    order = "<" if start[:4] in (struct.pack("<i", 348), struct.pack("<i", 540)) else ">"
    is_second = start[:4] == struct.pack(f"{order}i", 540)
    [end] = struct.unpack_from(f"{order}q", start, 168) if is_second else struct.unpack_from(f"{order}f", start, 108)
    if not 0 <= end <= min(MAX_HEADER, len(start)):
        raise DataError(f"{file}: claims to begin after {end:g} bytes, which it has not, or no header needs; {SKIP}")
    size_of_header = 540 if is_second else 348
    at = size_of_header + 4 if any(start[size_of_header : size_of_header + 1]) else len(start)
    while at + 8 <= end:
        [size] = struct.unpack_from(f"{order}i", start, at)
        if size < 16 or at + size > end:
            raise DataError(f"{file}: claims an extension of {size} bytes, more than its header has; {SKIP}")
        at += size


def _is_packed(file: Path) -> bool:
    return file.name.lower().endswith(".gz")


def _opened(file: Path) -> Any:
    try:
        import nibabel
        from nibabel.imageglobals import logger
    except ImportError:
        raise DataError(f"{file}: is NIfTI; pip install 'robaudit[nifti]', or export slices as PNG") from None
    logger.disabled = True  # its remarks on headers go to the terminal; without handlers, to Python's last one
    try:
        return nibabel.load(file)
    finally:
        logger.disabled = False


def _require_possible(file: Path, image: Any, axis: int) -> None:
    """Refuse a header that claims more than its file can hold, before anything of that size is made."""
    claimed, held = math.prod(image.shape) * image.get_data_dtype().itemsize, file.stat().st_size
    if claimed > held * (MAX_RATIO if _is_packed(file) else 1) + 2**20:
        raise DataError(f"{file}: claims {claimed} bytes in a file of {held}; {SKIP}")
    if math.prod(image.shape) // image.shape[axis] > (Image.MAX_IMAGE_PIXELS or 0):
        raise DataError(f"{file}: claims slices of more pixels than any image has; {SKIP}")
    if image.get_data_dtype().kind not in "iuf":
        raise DataError(f"{file}: holds {image.get_data_dtype()}, wanted one number per voxel; {SKIP}")


def _ends(file: Path, image: Any, view: View) -> tuple[float, float]:
    """What is black and what is white: as said, as the file says, or as bytes have it."""
    if view.window:
        return view.window
    low, high = float(image.header["cal_min"]), float(image.header["cal_max"])
    if math.isfinite(low) and math.isfinite(high) and low < high:
        return low, high
    if image.get_data_dtype() == np.uint8 and (image.dataobj.slope, image.dataobj.inter) == (1, 0):
        return 0.0, 255.0
    raise DataError(f"{file}: does not say which value is black and which is white; pass --window LOW,HIGH")


def _along(image: Any, axis: int, index: int) -> NDArray[Any]:
    """Read one slice, the rest of the volume left where it is."""
    place = [slice(None)] * 3
    place[axis] = slice(index, index + 1)
    return np.asarray(image.dataobj[tuple(place)])


def _levels(image: Any, low: float, high: float) -> int:
    """Steps of the stored numbers from black to white; numbers with a point have no steps that matter."""
    if image.get_data_dtype().kind == "f":
        return 65535
    return max(1, min(65535, round((high - low) / _slope(image))))


def _slope(image: Any) -> float:
    slope = abs(float(image.dataobj.slope))
    return slope if slope > 0 and math.isfinite(slope) else 1.0
