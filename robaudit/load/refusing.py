"""Whatever a decoder raises on damaged or absurd bytes becomes one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from robaudit.errors import DataError

SKIP = "remove it or use --on-bad-image skip"


@contextmanager
def refusing(file: Path, what: str = "image", *, remedy: str = SKIP, quote: bool = True) -> Iterator[None]:
    """Refuse a file in place of its decoder; a decompression bomb is never unpacked.

    Args:
        file: what is read.
        what: what it should be.
        remedy: what to do next.
        quote: whether the decoder's own words may be shown: those of a DICOM decoder may hold a patient's.

    Raises:
        DataError: instead of everything else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on odd tags; the pixels that come out are what counts
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except DataError:
        raise
    except Exception as error:  # decoders of damaged files raise anything: struct.error, KeyError, TypeError, ...
        raise DataError(f"{file}: is no readable {what} ({_reason(error, quote)}); {remedy}") from None


def _reason(error: Exception, quote: bool) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own words are the address of a buffer
        return "no known format"
    words = " ".join(str(error).split())[:300] if quote else ""
    return words or type(error).__name__
