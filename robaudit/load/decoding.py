"""The bytes of an image file -> pixels in [0, 1] at their true depth, as a person would see the picture."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from robaudit.errors import DataError
from robaudit.load.picture import Picture

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


def decode(data: bytes, file: Path) -> Picture:
    """Decode an image file as a person would see the picture.

    Raises:
        DataError: damaged, absurd, or of no format Pillow reads.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as opened:
                return _picture(ImageOps.exif_transpose(opened))
    except _DECODING_ERRORS as error:
        unknown = isinstance(error, UnidentifiedImageError)  # its own words are the address of a buffer
        reason = "no known format" if unknown else " ".join(str(error).split())
        raise DataError(f"{file}: is no readable image ({reason}); remove it or use --on-bad-image skip") from None


def _picture(opened: Image.Image) -> Picture:
    if opened.mode.startswith("I;16"):
        return _of_counts(np.asarray(opened), 65535)
    if opened.mode in ("I", "F"):
        # Pillow's 32-bit modes carry no depth: PNG and TIFF of 16 bits open as I in older versions.
        pixels = np.asarray(opened, dtype=np.float64)
        if opened.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"{opened.mode} pixels from {pixels.min():g} to {pixels.max():g}, wanted 8 or 16 bits")
        return _of_counts(pixels, 65535)
    if opened.mode in ("1", "L", "LA"):
        return _of_counts(np.asarray(opened.convert("L")), 255, levels=1 if opened.mode == "1" else 255)
    if isinstance(opened.info.get("transparency"), bytes):
        opened = opened.convert("RGBA")  # what Pillow asks for, by a warning, where each colour has its own alpha
    return _of_counts(np.asarray(opened.convert("RGB")), 255)


def _of_counts(counts: np.ndarray, white: int, levels: int | None = None) -> Picture:
    """(H, W[, C]) counts up to `white` as a picture; `levels` where the file holds fewer."""
    pixels = counts if counts.ndim == 3 else counts[..., None]
    return Picture((pixels / np.float32(white)).astype(np.float32), levels or white)
