"""Key names of other libraries for networks that are the same: MONAI's DenseNet, torchvision's DenseNet of old."""

import re
from collections.abc import Mapping
from dataclasses import replace

from robaudit.load.state import State

_RENAMED = (
    (r"^(features\.denseblock\d+)(?:\.layers)?\.(denselayer\d+)\.layers\.(norm|conv)(\d)", r"\1.\2.\3\4"),
    (r"^(features\.denseblock\d+\.denselayer\d+)\.(norm|conv)\.(\d)", r"\1.\2\3"),
    (r"^class_layers\.out\.", r"classifier."),
)


def renamed(state: State) -> State:
    """The same weights by the names that the index of architectures knows."""
    names = {name: _renamed(name) for name in state.tensors}
    if all(name == new for name, new in names.items()) or len(set(names.values())) < len(names):
        return state
    known: Mapping[str, str] = {new: name for name, new in names.items()}
    return replace(state, tensors={new: state.tensors[name] for new, name in known.items()}, names=known)


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name
