"""A layer that normalises, saved in front of the network: `0.mean`, `0.std` and then `1.conv1.weight`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite

from robaudit.errors import ModelError
from robaudit.load.kinds import Contents
from robaudit.load.state import State, without_prefix
from robaudit.load.torch_pickle import TensorInfo
from robaudit.typed import flag

_MEAN, _STD = r"(.*\.)?_?(mean|mu)", r"(.*\.)?_?(std|sd|sigma)"
MAX_CHANNELS = 4
BYTE = 255
LARGEST = 2
"""Above which a mean or standard deviation is none of pixels in [0, 1]."""
Values = tuple[tuple[float, ...], tuple[float, ...]]


def behind_normalizer(contents: Contents, state: State) -> State:
    """The weights without those of such a layer, which `State.normalizer` then names; else as they are."""
    if state.branch:  # chosen alone: then the layer stands beside it
        pair = _pair(contents.groups[state.nesting])
        return state if pair is None else replace(state, normalizer=pair)
    pair = _pair(state.tensors)
    if pair is None:
        return state
    rest = {name: tensor for name, tensor in state.tensors.items() if name not in pair}
    first = {name.partition(".")[0] for name in rest}
    place = f"{next(iter(first))}." if len(first) == 1 and next(iter(first)).isdigit() else ""
    prefix, tensors = without_prefix({name.removeprefix(place): tensor for name, tensor in rest.items()})
    names = {name: place + prefix + name for name in tensors}
    mean, std = (state.prefix + name for name in pair)
    return replace(state, tensors=tensors, names=names, normalizer=(mean, std))


def _pair(tensors: Mapping[str, TensorInfo]) -> tuple[str, str] | None:
    """Names of a mean and a standard deviation, where there is one of each, in a layer with nothing else."""
    means, stds = ([name for name in tensors if re.fullmatch(form, name)] for form in (_MEAN, _STD))
    if len(means) != 1 or len(stds) != 1 or len(tensors) == 2:
        return None
    [mean], [std] = means, stds
    layer = mean.rpartition(".")[0]
    beside = [name for name in tensors if layer and name.startswith(f"{layer}.")]
    is_alone = layer == std.rpartition(".")[0] and len(beside) in (0, 2)
    return (mean, std) if is_alone and _is_per_channel(tensors[mean], tensors[std]) else None


def _is_per_channel(mean: TensorInfo, std: TensorInfo) -> bool:
    one_side = all(sum(side > 1 for side in tensor.shape) <= 1 for tensor in (mean, std))
    of_pictures = 0 < mean.n_elements == std.n_elements <= MAX_CHANNELS  # more are of features
    return one_side and of_pictures and "float" in mean.dtype and "float" in std.dtype


def values_of(contents: Contents, state: State) -> Values | None:
    """Mean and standard deviation of that layer; None where there is none."""
    if state.normalizer is None:
        return None
    from robaudit.load.weights import read_weights  # torch: the rest of this file does without

    held = contents.groups[state.nesting]
    weights = read_weights(contents, State(state.nesting, "", {name: held[name] for name in state.normalizer}))
    mean, std = (tuple(weights[name].double().flatten().tolist()) for name in state.normalizer)
    return as_typed(mean), as_typed(std)


def as_typed(values: Iterable[float]) -> tuple[float, ...]:
    """0.485 and not 0.48500001430511475: the number that became this one in single precision."""
    return tuple(float(f"{value:.7g}") if isfinite(value) else value for value in values)


IN_FRONT = "has a layer in front that normalises with"
INSIDE = "has a layer inside that normalises with"
"""It is still in the network, which takes the pixels that it normalises."""


def require_unit_pixels(contents: Contents, values: Values, channels: int, has: str = IN_FRONT) -> Values:
    """The same, one number per channel.

    Args:
        contents: of the file, for the message.
        values: mean and standard deviation.
        channels: of the network's input.
        has: what the file has of them, for the message.

    Raises:
        ModelError: it is none of pixels in [0, 1].
    """
    mean, std = (each * channels if len(each) == 1 else each for each in values)
    if max(map(abs, (*mean, *std))) > LARGEST:
        instead = ((0,) * channels, (1,) * channels) if has == INSIDE else (mean, std)
        shown = (flag(name, ",".join(f"{value / BYTE:.6g}" for value in each))
                 for name, each in zip(("--mean", "--std"), instead, strict=True))  # fmt: skip
        raise ModelError(
            f"{contents.path}: {has} mean {list(mean)} and std {list(std)}, not those of pixels in [0, 1]; if it was "
            f"given 0 to {BYTE}, pass {' '.join(shown)}"
        )
    return mean, std
