"""The bytes of an image file -> pixels in [0, 1] at their true depth, as a person would see the picture."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from robaudit.errors import DataError

# What Pillow raises on damaged or absurd files, beside its own UnidentifiedImageError.
_DECODING_ERRORS = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def read_bytes(file: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it is gone or may not be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); restore it or use --on-bad-image skip") from None


def decode(data: bytes, file: Path) -> np.ndarray:
    """Decode an image file as a person would see the picture.

    Returns:
        (H, W, C) float32 in [0, 1], C 1 or 3.

    Raises:
        DataError: damaged, absurd, or of no format Pillow reads.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as opened:
                return _to_unit_range(ImageOps.exif_transpose(opened))
    except _DECODING_ERRORS as error:
        unknown = isinstance(error, UnidentifiedImageError)  # its own words are the address of a buffer
        reason = "no known format" if unknown else " ".join(str(error).split())
        raise DataError(f"{file}: is no readable image ({reason}); remove it or use --on-bad-image skip") from None


def _to_unit_range(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I;16"):
        return np.asarray(picture, dtype=np.float32)[..., None] / 65535
    if picture.mode in ("I", "F"):
        # Pillow's 32-bit modes carry no depth: PNG and TIFF of 16 bits open as I in older versions.
        pixels = np.asarray(picture, dtype=np.float64)
        if picture.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"{picture.mode} pixels from {pixels.min():g} to {pixels.max():g}, wanted 8 or 16 bits")
        return (pixels[..., None] / 65535).astype(np.float32)
    if picture.mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L"), dtype=np.float32)[..., None] / 255
    if isinstance(picture.info.get("transparency"), bytes):
        picture = picture.convert("RGBA")  # what Pillow asks for, by a warning, where each colour has its own alpha
    return np.asarray(picture.convert("RGB"), dtype=np.float32) / 255


def is_grey(pixels: np.ndarray) -> bool:
    """Whether all channels of (H, W, C) pixels agree."""
    return pixels.shape[2] == 1 or bool((pixels[..., :1] == pixels).all())
