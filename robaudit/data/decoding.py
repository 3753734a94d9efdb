"""The bytes of an image file -> pixels in [0, 1] at their true depth, as a person would see the picture.

Upright (EXIF), transparent parts on black, palettes and CMYK as colours. A file of several pictures is refused: nobody
but its owner knows which one the label is about.
"""

from __future__ import annotations

import io
import re
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin
from PIL.PpmImagePlugin import PpmImageFile

from robaudit.data.deep_colour import deep_colour, is_deep_colour, layout_of, white_of_ppm, with_key
from robaudit.data.picture import Picture
from robaudit.data.refusing import refusing, require_plausible
from robaudit.data.remote import Location
from robaudit.data.true_depth import bits_of_deep_grey, require_true_depth

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM", "TGA", "PCX", "AVIF")
"""Only these are opened, whatever a file is called: for some others, such as EPS, Pillow would start a program."""

_STARTS = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|II[*+]\0|MM\0[*+]|BM.{4}\0{4}|GIF8[79]a|RIFF.{4}WEBP"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|P[1-6]\s|\n[\0\x02\x03\x05]\x01|.{4}ftypavi[fs]",
    re.DOTALL,
)
"""How a file of each of `FORMATS` begins, but for TGA, which begins anyhow."""
_STEPS = {"L;2": 3, "L;4": 15}
"""From black to white of a PNG's greys, which Pillow scales to 8 bits, but not the transparent one among them."""
Counts = NDArray[Any]
"""Whole numbers as the file holds them, (H, W) or (H, W, C)."""


def decode(data: bytes, file: Location) -> Picture:
    """Decode an image file as a person would see the picture.

    Raises:
        DataError: damaged, absurd, of several pictures, or of no format in `FORMATS`.
    """
    with refusing(file), Image.open(io.BytesIO(data), formats=_formats()) as opened:
        n_channels = 3 if opened.mode in ("P", "PA") else len(opened.getbands())
        n_channels += opened.has_transparency_data and "A" not in opened.mode
        require_plausible(file, opened.width, opened.height, len(data), n_channels)
        return _picture(opened, data)


def is_image_name(file: Location) -> bool:
    """Whether a file's name is that of an image; what it holds is seen when it is opened."""
    return Image.registered_extensions().get(file.suffix.lower()) in (*FORMATS, "MPO")  # MPO is opened as JPEG


def is_image(start: bytes) -> bool:
    """Whether a file that begins so is an image; Pillow would take a text for one that begins with `Py`."""
    return _STARTS.match(start) is not None


@cache
def _formats() -> list[str]:
    """Those this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _picture(opened: Image.Image, data: bytes) -> Picture:
    # A camera's MPO holds its preview beside the picture; other formats hold pictures of their own right.
    if getattr(opened, "is_animated", False) and opened.format != "MPO":
        raise ValueError("holds several pictures, wanted one: save the one meant in a file of its own")
    require_true_depth(opened, data)
    deep = is_deep_colour(opened)  # asked first: once Pillow has loaded the picture, it no longer knows
    counts, white = deep_colour(data) if deep else _counts(opened, data)
    opened.load()
    # Asked last: a TIFF that Pillow has loaded stands upright already (deep colour too), and says so.
    orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
    levels = 1 if opened.mode == "1" else white
    pixels = np.divide(np.atleast_3d(counts), np.float32(white), dtype=np.float32)
    del counts
    return Picture(_upright(_on_black(pixels), orientation), levels)


def _counts(opened: Image.Image, data: bytes) -> tuple[Counts, int]:
    """What Pillow reads, with the count that is white."""
    if opened.mode.startswith("I;16") and isinstance(opened, TiffImagePlugin.TiffImageFile):
        return _tiff_counts(opened)
    if opened.mode.startswith("I;16"):
        bits = bits_of_deep_grey(opened, data)
        return with_key(np.asarray(opened) >> (16 - bits), opened), 2**bits - 1
    if isinstance(opened, PpmImageFile) and opened.mode in ("L", "I", "RGB"):
        return _ppm_counts(opened)
    if opened.mode in ("I", "F"):
        low, high = opened.getextrema()
        raise ValueError(f"pixels from {low:g} to {high:g} and no word on which is white, wanted 8 or 16 bits")
    if (steps := _STEPS.get(layout_of(opened))) and "transparency" in opened.info:
        opened.info["transparency"] *= 255 // steps
    alpha = "A" if opened.has_transparency_data else ""
    grey = opened.mode in ("1", "L", "LA", "La")
    return np.asarray(opened.convert(("L" if grey else "RGB") + alpha)), 255


def _ppm_counts(opened: PpmImageFile) -> tuple[Counts, int]:
    """Counts up to any white, which Pillow scales to 8 bits or, above 255, to 16."""
    white = white_of_ppm(opened)  # asked first, likewise
    scaled, scale = np.asarray(opened), 65535 if opened.mode == "I" else 255
    if white == scale:
        return scaled, white
    return (scaled.astype(np.uint32) * np.uint32(white) + np.uint32(scale // 2)) // np.uint32(scale), white


def _tiff_counts(opened: TiffImagePlugin.TiffImageFile) -> tuple[Counts, int]:
    """12 or 16 bits of grey; Pillow leaves it to us to turn those where 0 is white."""
    (bits,) = opened.tag_v2[TiffImagePlugin.BITSPERSAMPLE]
    white = 2**bits - 1
    counts = np.asarray(opened)
    zero_is_white = opened.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return white - counts if zero_is_white else counts, white


def _on_black(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 1 to 4) -> (H, W, 1 or 3): alpha, the last of 2 or 4 channels, lets black show through."""
    has_alpha = pixels.shape[2] in (2, 4)
    return pixels[..., :-1] * pixels[..., -1:] if has_alpha else pixels


def _upright(pixels: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Undo how the camera was held (EXIF 2.3, tag Orientation)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
