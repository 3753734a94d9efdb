"""Other key names for networks that are the same: MONAI's DenseNet, torchvision's of old, a head in a Sequential."""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

from robaudit.load.architecture_index import known_heads, look_up
from robaudit.load.kinds import Contents
from robaudit.load.normalizer import behind_normalizer
from robaudit.load.state import State, state_tensors

_RENAMED = (
    (r"^(features\.denseblock\d+)(?:\.layers)?\.(denselayer\d+)\.layers\.(norm|conv)(\d)", r"\1.\2.\3\4"),
    (r"^(features\.denseblock\d+\.denselayer\d+)\.(norm|conv)\.(\d)", r"\1.\2\3"),
    (r"^class_layers\.out\.", r"classifier."),
)


def named_state(contents: Contents, place: str | None = None) -> State:
    """The weights of a file by the names that the index knows, without a layer in front that normalises.

    Raises:
        ModelError: as `state_tensors`.
    """
    return renamed(behind_normalizer(contents, state_tensors(contents, place)))


def renamed(state: State) -> State:
    """The same weights by the names that the index of architectures knows."""
    state = _with_names(state, {name: _renamed(name) for name in state.tensors})
    if look_up(state.shapes):
        return state
    headed = (_with_names(state, names) for head in known_heads() if (names := _headed(state, head)))
    plain = (_with_names(state, names) for head in known_heads() if (names := _replaced(state, head)))
    return next(
        chain(
            (found for found in headed if look_up(found.shapes)),
            (found for found in plain if _all_of_torchvision(look_up(found.shapes))),
        ),
        state,
    )


def _headed(state: State, head: str) -> dict[str, str]:
    """New names where the head is a Sequential of which one linear layer has weights (`fc.1.weight`); else nothing.

    What stands beside it there is dropout, which does nothing outside training, or a softmax after it.
    """
    below = [name for name in state.tensors if name.startswith(f"{head}.")]
    numbers = {name.removeprefix(f"{head}.").partition(".")[0] for name in below}
    number = next(iter(numbers)) if len(numbers) == 1 else ""
    wanted = {f"{head}.{number}.{part}": f"{head}.{part}" for part in ("weight", "bias")}
    if not number.isdigit() or not {f"{head}.{number}.weight"} <= set(below) <= wanted.keys():
        return {}
    return {name: wanted.get(name, name) for name in state.tensors}


def _replaced(state: State, head: str) -> dict[str, str]:
    """New names where the Sequential that the head ends has been replaced by one linear layer; else nothing.

    `classifier.weight`, or `classifier.0.weight`, where the library has dropout and then `classifier.1.weight`.
    """
    parent, _, _ = head.rpartition(".")
    below = [name for name in state.tensors if name.startswith(f"{parent}.")] if parent else []
    layers = {name.rpartition(".")[0] for name in below}
    layer = next(iter(layers)) if len(layers) == 1 else ""
    wanted = {f"{layer}.{part}": f"{head}.{part}" for part in ("weight", "bias")}
    if not re.fullmatch(re.escape(parent) + r"(\.\d+)?", layer) or not set(below) <= wanted.keys():
        return {}
    return {name: wanted.get(name, name) for name in state.tensors}


def _all_of_torchvision(archs: tuple[str, ...]) -> bool:
    """Whether these are its networks: where a timm head has layers of its own, pooling is one of them."""
    return bool(archs) and all(arch.startswith("torchvision:") for arch in archs)


def _with_names(state: State, names: Mapping[str, str]) -> State:
    if all(name == new for name, new in names.items()) or len(set(names.values())) < len(names):
        return state
    known = {new: name for name, new in names.items()}
    stored = {new: state.names.get(name, name) for new, name in known.items()}
    return replace(state, tensors={new: state.tensors[name] for new, name in known.items()}, names=stored)


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name
