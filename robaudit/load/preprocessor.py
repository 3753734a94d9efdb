"""What a Hugging Face preprocessor does to an image, in one mean and one standard deviation of pixels in [0, 1]."""

from collections.abc import Mapping, Sequence
from typing import Any

BYTE = 255
"""Preprocessors are given pixels from 0 to 255."""


def kind_of(preprocessor: Mapping[str, Any]) -> str:
    """The class it is written by, under its newer name or its older."""
    return str(preprocessor.get("image_processor_type") or preprocessor.get("feature_extractor_type"))


def normalization(preprocessor: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """Mean and std, or nothing where the file leaves them to the defaults of a class.

    Pixels x in [0, 1] become (255 x f - o - m) / s, with the rescale factor f and offset o, the mean m and std s.

    Args:
        preprocessor: a folder's preprocessor_config.json.
        channels: of the network's input.

    Raises:
        TypeError, ValueError: an entry is no number, or a factor of 0.
    """
    scale = BYTE * _factor(preprocessor)
    offset = float(bool(preprocessor.get("rescale_offset")) and preprocessor.get("do_rescale") is not False)
    if not scale > 0:
        raise ValueError("its preprocessor multiplies pixels by nothing above 0")
    mean, std = _mean_and_std(preprocessor, channels)
    if mean is None or std is None:
        return {}
    if _divides_again(preprocessor):
        if "image_std" not in preprocessor:
            return {}
        std = [s * again for s, again in zip(std, _per_channel(preprocessor["image_std"], channels), strict=True)]
    found: dict[str, Any] = {"mean": [(m + offset) / scale for m in mean], "std": [s / scale for s in std]}
    if preprocessor.get("do_flip_channel_order"):
        found["normalization_source"] = "config.json, for blue, green, red: pass --bgr with colour images"
    return found


def _divides_again(preprocessor: Mapping[str, Any]) -> bool:
    """Whether it divides by the standard deviation at the end, as EfficientNet's does, also where it has not before."""
    return bool(preprocessor.get("include_top", kind_of(preprocessor).startswith("EfficientNet")))


def _factor(preprocessor: Mapping[str, Any]) -> float:
    if preprocessor.get("do_rescale") is False:
        return 1
    factor = preprocessor.get("rescale_factor")
    return 1 / BYTE if factor is None else float(factor)


def _mean_and_std(
    preprocessor: Mapping[str, Any], channels: int
) -> tuple[Sequence[float], Sequence[float]] | tuple[None, None]:
    has_both = "image_mean" in preprocessor and "image_std" in preprocessor
    # MobileViT's, which alone turns colours round, normalises only where it is told to.
    by_default = True if "do_flip_channel_order" not in preprocessor else None
    if not preprocessor.get("do_normalize", by_default):
        return [0.0] * channels, [1.0] * channels
    if not has_both:
        return None, None
    return _per_channel(preprocessor["image_mean"], channels), _per_channel(preprocessor["image_std"], channels)


def _per_channel(values: Any, channels: int) -> list[float]:
    return [float(value) for value in (values if isinstance(values, list) else [values] * channels)]
