"""Which mean and standard deviation a network expects, and where that is known from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

from robaudit.errors import ModelError
from robaudit.load.beside_weights import require_clear
from robaudit.load.kinds import Contents
from robaudit.load.normalizer import Values, require_unit_pixels
from robaudit.load.stated import Stated
from robaudit.records import Normalization

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PRESETS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
    "xray": ((0.5,), (1 / 2048,)),
}
"""Mean and std by name; `xray` maps [0, 1] to [-1024, 1024]. One number stands for every channel."""


def normalization_of(
    path: Path,
    own: Stated,
    in_chans: int,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    preset: str | None = None,
) -> Normalization:
    """What is given, else the folder's own, else ImageNet's for three channels and none for any other number.

    Raises:
        ModelError: what is given contradicts itself or does not fit the channels.
    """
    if (mean is None) != (std is None):
        raise ModelError(f"{path}: --mean and --std belong together; pass both")
    if preset is not None and mean is not None:
        raise ModelError(f"{path}: --normalization {preset} and --mean say the same thing; pass one of them")
    if preset is not None:
        mean, std, source = *_preset(path, preset, in_chans), f"--normalization {preset}"
    elif mean is not None and std is not None:
        source = "given"
    elif own.mean is not None and own.std is not None:
        mean, std, source = own.mean, own.std, own.source
    else:
        name = "ImageNet" if in_chans == 3 else "none"
        mean, std = _preset(path, name.lower(), in_chans)
        source = f"assumed: {name}"
    if not len(mean) == len(std) == in_chans or min(std) <= 0 or not all(map(isfinite, (*mean, *std))):
        raise ModelError(
            f"{path}: takes {in_chans} channel(s), got mean {list(mean)} and std {list(std)}; "
            "pass --mean and --std with one number per channel, std above 0"
        )
    return Normalization(mean=tuple(mean), std=tuple(std), source=source)


def own_of_pixels(contents: Contents, own: Stated, layer: Values | None, in_chans: int) -> Stated:
    """The same with what stands beside the weights of a checkpoint as one number per channel of pixels in [0, 1].

    Args:
        contents: of the file.
        own: what it says of its network.
        layer: mean and standard deviation of a layer in front of the network, or inside.
        in_chans: of the network's input.

    Raises:
        ModelError: it is not clear, not of such pixels, or not what the layer does.
    """
    require_clear(contents.path, own.unclear_normalization)
    if not own.is_beside_weights or own.mean is None or own.std is None:
        return own
    mean, std = require_unit_pixels(contents, (own.mean, own.std), in_chans, "keeps beside its weights")
    if layer not in (None, (own.mean, own.std), (mean, std)):
        raise ModelError(
            f"{contents.path}: keeps mean {list(mean)} and std {list(std)} beside its weights, and has a layer that "
            f"normalises with other ones; pass the right ones with --mean and --std"
        )
    return replace(own, mean=mean, std=std)


def _preset(path: Path, name: str, in_chans: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if name not in PRESETS:
        raise ModelError(f"{path}: --normalization {name}: wanted {', '.join(PRESETS)}")
    mean, std = PRESETS[name]
    return (mean * in_chans, std * in_chans) if len(mean) == 1 else (mean, std)
