"""Files whose counts Pillow wraps, cuts or shifts without a word: refused, or told by how much it has shifted them."""

from __future__ import annotations

import re
import struct

from PIL import Image
from PIL.TiffImagePlugin import SAMPLEFORMAT, TiffImageFile

_CODESTREAM = re.compile(rb"\xff\x4f\xff\x51")
"""Where JPEG 2000 says how deep each channel is. All places count: a box before the true one may hold these bytes."""
_AV1_CONFIGURATION = re.compile(rb"av1C")
_HIGH_BIT_DEPTH = 0x40
_SIGNED = 2
_SAVE = "save it as PNG or TIFF"


def require_true_depth(opened: Image.Image, data: bytes) -> None:
    """Refuse a file just opened, of which Pillow would give other counts than it holds.

    Raises:
        ValueError: saying what it holds.
    """
    if opened.format == "JPEG2000" and opened.mode != "I;16" and (odd := _jpeg2000_bits(data) - {8}):
        raise ValueError(f"has {max(odd)} bits a channel, which of JPEG 2000 nothing here reads truly: {_SAVE}")
    if opened.format == "AVIF" and any(
        data[match.end() + 2] & _HIGH_BIT_DEPTH for match in _AV1_CONFIGURATION.finditer(data)
    ):
        raise ValueError(f"has more than 8 bits a channel, which of AVIF nothing here reads truly: {_SAVE}")
    if isinstance(opened, TiffImageFile) and opened.mode == "L" and _SIGNED in opened.tag_v2.get(SAMPLEFORMAT, ()):
        raise ValueError("has 8 bits with a sign, which do not say what is white: save it without")


def bits_of_deep_grey(opened: Image.Image, data: bytes) -> int:
    """How many of the 16 bits a file has; Pillow shifts fewer of JPEG 2000 to the top.

    Raises:
        ValueError: it contradicts itself.
    """
    if opened.format != "JPEG2000":
        return 16
    [*bits] = _jpeg2000_bits(data)
    if len(bits) != 1 or not 8 < bits[0] <= 16:
        raise ValueError(f"has {max(bits)} bits a channel, wanted 8 to 16: {_SAVE}")
    return bits[0]


def _jpeg2000_bits(data: bytes) -> set[int]:
    found = set()
    for match in _CODESTREAM.finditer(data):
        (n_channels,) = struct.unpack_from(">H", data, match.start() + 40)
        found |= set(data[match.start() + 42 : match.start() + 42 + 3 * n_channels : 3])
    if any(depth & 0x80 for depth in found):
        raise ValueError(f"has numbers with a sign, which do not say what is white: {_SAVE}")
    return {depth + 1 for depth in found}
