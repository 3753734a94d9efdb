"""16-bit colour from Pillow, which keeps only the high byte of each channel: asked twice, it gives the low one too.

Pillow names the layout of the bytes in a file, such as `RGB;16B` for big-endian counts, and takes the high byte of
each. Told that the same file is little-endian, it takes the other.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PLANAR_CONFIGURATION, TiffImageFile

WHITE = 65535
_SEPARATE_PLANES = 2

_BIG, _LITTLE = ";16B", ";16L"
_OTHER_BYTE: Mapping[str, str] = {
    _BIG: _LITTLE, _LITTLE: _BIG, ";16N": _BIG if sys.byteorder == "little" else _LITTLE,
}  # fmt: skip
_PNG_GREY_AND_ALPHA = "LA;16B"


def is_deep_colour(opened: Image.Image) -> bool:
    """Whether a file just opened, and not loaded yet, holds 16 bits per channel and Pillow would give 8."""
    if opened.mode not in ("RGB", "RGBA", "RGBX", "CMYK"):
        return False
    if isinstance(opened, TiffImageFile):  # whose separate planes Pillow takes for 8 bits, whatever they are
        return bool(max(opened.tag_v2.get(BITSPERSAMPLE, (8,))) > 8)
    if isinstance(opened, PpmImageFile):
        return white_of_ppm(opened) > 255
    return any(";16" in layout for layout in _layouts(opened))


def deep_colour(data: bytes) -> tuple[NDArray[np.uint16], int]:
    """Counts (H, W, C), C 2 to 4, and the count that is white.

    Raises:
        ValueError: a layout that Pillow reads in one byte order only, or in 8 bits.
    """
    with Image.open(io.BytesIO(data)) as opened:
        if isinstance(opened, PpmImageFile):
            white = white_of_ppm(opened)
            return np.minimum(_ppm_colour(opened, data), np.uint16(white)), white
        layout = _layouts(opened)[0]
        if isinstance(opened, TiffImageFile) and opened.tag_v2.get(PLANAR_CONFIGURATION) == _SEPARATE_PLANES:
            # The library that unpacks them has made 8 bits of each count before a layout matters.
            raise ValueError("16-bit colour in separate planes, which no reader here knows: save it as PNG")
        if layout.startswith("RGBa"):  # Pillow divides colours by alpha, of 8 bits both
            raise ValueError("16-bit colour multiplied by its alpha, which no reader here knows: save it as PNG")
        if opened.mode == "CMYK" or (layout != _PNG_GREY_AND_ALPHA and layout[-4:] not in _OTHER_BYTE):
            raise ValueError(f"16-bit colour as {layout}, which no reader here knows: save it as PNG")
        if layout == _PNG_GREY_AND_ALPHA:
            both = _read(data, "RGBA").astype(np.uint16)  # high and low byte of grey, high and low of alpha
            return both[..., ::2] * np.uint16(256) + both[..., 1::2], WHITE
        counts = np.asarray(opened).astype(np.uint16)
        counts *= 256
        counts += _read(data, layout[:-4] + _OTHER_BYTE[layout[-4:]])
        return with_key(counts, opened), WHITE


def with_key(counts: NDArray[Any], opened: Image.Image) -> NDArray[Any]:
    """Counts of 16 bits with an alpha channel, where a PNG says which grey or colour is transparent."""
    if (key := opened.info.get("transparency")) is None:
        return counts
    pixels = np.atleast_3d(counts)
    return np.dstack([pixels, np.where((pixels == np.array(key)).all(axis=2), 0, WHITE).astype(np.uint16)])


def white_of_ppm(opened: PpmImageFile) -> int:
    """The count that is white, from 1 to 65535, of a file just opened and not loaded yet."""
    args = opened.tile[0].args
    if isinstance(args, tuple) and isinstance(args[1], int):
        return args[1]
    return WHITE if args == "I;16B" else 255


def _ppm_colour(opened: PpmImageFile, data: bytes) -> NDArray[np.uint16]:
    """Two bytes a count, the high one first, behind the header."""
    if opened.mode != "RGB" or opened.tile[0].codec_name != "ppm":
        raise ValueError("16-bit colour in words, which no reader here knows: save it as PNG")
    n_counts = opened.width * opened.height * 3
    counts = np.frombuffer(data, ">u2", n_counts, opened.tile[0].offset)
    return counts.reshape(opened.height, opened.width, 3).astype(np.uint16)


def _read(data: bytes, layout: str) -> NDArray[np.uint8]:
    """Pixels of a file whose bytes are said to be laid out otherwise."""
    with Image.open(io.BytesIO(data)) as opened:
        opened.tile = [tile._replace(args=_with_layout(tile.args, layout)) for tile in opened.tile]
        return np.asarray(opened)


def _with_layout(args: Any, layout: str) -> Any:
    return layout if isinstance(args, str) else (layout, *args[1:])


def layout_of(opened: Image.Image) -> str:
    """The layout a file just opened is read with; empty where Pillow does not say."""
    return next(iter(_layouts(opened)), "")


def _layouts(opened: Image.Image) -> list[str]:
    """The layout each tile of the file is read with."""
    all_args = [tile.args for tile in getattr(opened, "tile", ())]
    return [str(args if isinstance(args, str) else args[0]) for args in all_args if args]
