"""How a folder says that images come to the input grid, and which `--resize` is nearest to that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robaudit.data.resizing import BILINEAR, CROP_SHARE, Resize, Resizing
from robaudit.load.preprocessor import kind_of

_TIMM_CROP_PCT, _TIMM_INTERPOLATION = 0.875, "bicubic"
"""What timm takes where a folder leaves one of them out."""
_INTERPOLATIONS = ("nearest", "lanczos", BILINEAR, "bicubic", "box", "hamming")
"""In the order of Pillow's numbers, which Hugging Face writes."""
_LARGE = 384
"""Side from which a ConvNeXt's preprocessor stretches, and cuts nothing."""


def timm_resizing(own: Mapping[str, Any]) -> Resizing | None:
    """What a timm configuration says; None where it says nothing of it."""
    if not {"crop_pct", "crop_mode", "interpolation"} & own.keys():
        return None
    share, mode = own.get("crop_pct", _TIMM_CROP_PCT), own.get("crop_mode", "center")
    interpolation = own.get("interpolation", _TIMM_INTERPOLATION)
    if not _is_share(share) or interpolation not in _INTERPOLATIONS:
        return None
    if mode in ("squash", "border"):
        return Resizing("stretch" if mode == "squash" else "pad", share, interpolation)
    return Resizing(_cut(share), share, interpolation)


def hugging_face_resizing(preprocessor: Mapping[str, Any]) -> Resizing | None:
    """What a Hugging Face preprocessor says; likewise."""
    side, is_square = _side(preprocessor.get("size"), bool(preprocessor.get("do_center_crop")))
    if side is None or preprocessor.get("do_resize") is False:
        return None
    number = preprocessor.get("resample")
    known = type(number) is int and 0 <= number < len(_INTERPOLATIONS)
    share = _kept(preprocessor, side)
    if kind_of(preprocessor).startswith("ConvNext") and side >= _LARGE:
        is_square, share = True, 1.0
    if not _is_share(share):
        return None
    how: Resize = "stretch" if is_square else _cut(share)
    return Resizing(how, share, _INTERPOLATIONS[number] if known and number is not None else BILINEAR)


def _kept(preprocessor: Mapping[str, Any], side: int) -> float:
    kind = kind_of(preprocessor)
    if kind.startswith("ConvNext") or "crop_pct" in preprocessor:
        share = preprocessor.get("crop_pct") or CROP_SHARE
        return share if _is_share(share) else 0.0
    if not preprocessor.get("do_center_crop"):
        return 1.0
    if kind.startswith("Levit"):  # it takes the size for that of the grid, and resizes to 256 for 224
        return CROP_SHARE
    crop, _ = _side(preprocessor.get("crop_size"), False)
    return 1.0 if crop is None else min(1.0, crop / side)


def _side(size: Any, is_cut: bool) -> tuple[int | None, bool]:
    """The shorter side that is resized to, and whether both are; None where it is not said."""
    if isinstance(size, Mapping):
        named = [size.get(key) for key in ("shortest_edge", "height")]
        sides = [side for side in named if type(side) is int and side > 0]
        return (sides[0] if sides else None), named[0] is None
    return (size, not is_cut) if type(size) is int and size > 0 else (None, False)


def _cut(share: float) -> Resize:
    """Of what cuts the centre, that which keeps nearest to this share."""
    return "crop" if share < (1 + CROP_SHARE) / 2 else "cover"


def _is_share(share: Any) -> bool:
    return isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1
