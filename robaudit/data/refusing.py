"""Whatever a decoder raises on damaged or absurd bytes becomes one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from robaudit.data.remote import Location
from robaudit.errors import DataError, RobauditError
from robaudit.memory import exhausted

LARGE = 2**22
"""Pixels up to which any claim is affordable."""
MAX_PIXELS_PER_BYTE = 500
"""Pictures of something rarely come below a tenth of a byte per pixel; a few bytes can claim a thousand each."""
MAX_NUMBERS = 140_000_000
"""Pixels times channels: colour of a camera of 45 million pixels. Decoding takes up to 9 bytes for each, 1.3 GB."""
SKIP = "remove it or use --on-bad-image skip"


@contextmanager
def refusing(file: Location, what: str = "image", *, remedy: str = SKIP, words: str | None = None) -> Iterator[None]:
    """Refuse a file in place of its decoder; a decompression bomb is never unpacked.

    Args:
        file: what is read.
        what: what it should be.
        remedy: what to do next.
        words: what to say instead of what the decoder says: words of a DICOM decoder may be a patient's.

    Raises:
        DataError: instead of everything but what the machine has run out of.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd tags; the pixels that come out are what counts
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except RobauditError:
        raise
    except Exception as error:  # decoders of damaged files raise anything: struct.error, KeyError, TypeError, ...
        if exhausted(error):
            raise
        raise DataError(f"{file}: is no readable {what} ({words or _reason(error)}); {remedy}") from None


def require_plausible(file: Location, width: int, height: int, n_bytes: int, n_channels: int) -> None:
    """Refuse a header that claims more pixels than any image has, or than its bytes can mean.

    Args:
        file: where it is from.
        width: in pixels.
        height: in pixels.
        n_bytes: size of the file.
        n_channels: of the picture, or what its decoder takes memory for.

    Raises:
        DataError: before anything of that size is made.
    """
    n_pixels = width * height
    if n_pixels > (Image.MAX_IMAGE_PIXELS or 0) or (n_pixels > LARGE and n_pixels > MAX_PIXELS_PER_BYTE * n_bytes):
        raise DataError(f"{file}: claims {width} x {height} pixels in {n_bytes} bytes, more than any image; {SKIP}")
    if n_pixels * n_channels > MAX_NUMBERS:
        raise DataError(
            f"{file}: has {width} x {height} pixels, wanted at most {MAX_NUMBERS // n_channels} of this kind, "
            f"which take 1.3 GB of memory; make it smaller, or {SKIP}"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own words are the address of a buffer
        return "no known format"
    return " ".join(str(error).split())[:300] or type(error).__name__
