"""What a model file or folder states of itself: classes, normalisation, input size. Nobody vouches for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isfinite
from typing import Any

from robaudit.data.resizing import Resizing
from robaudit.errors import ModelError
from robaudit.load.beside_weights import said_of_pictures
from robaudit.load.class_order import CLASS_ORDERS
from robaudit.load.kinds import PROGRAMS, Contents, Kind
from robaudit.load.own_export import METADATA_NAME
from robaudit.load.stated_resizing import timm_resizing

_LABEL_KEYS = ("classes", "label_names", "class_names")
_FOLDERS = (Kind.ASSIMILATED, Kind.TIMM_FOLDER, Kind.HUGGING_FACE_FOLDER, Kind.MONAI_BUNDLE)
MAX_SIDE = 100_000
_SHOWN = re.compile(r"--(invert|bgr|transpose|resize|slice|window)( [\w.,+-]+)?")
REGRESSION = (
    "its configuration says regression, which has no classes to be right or wrong about; if its output is a logit all "
    "the same, remove problem_type from its config.json"
)


@dataclass(frozen=True)
class Stated:
    """What a file or folder says of its network."""

    labels: tuple[str, ...] = ()
    """Names of the outputs; empty where it gives none."""
    orders: tuple[tuple[str, ...], ...] = ()
    """What may be the names of the outputs: a tuple for each order in which entries of a checkpoint list them."""
    mean: tuple[float, ...] | None = None
    """Per channel, in [0, 1] units."""
    std: tuple[float, ...] | None = None
    source: str = "config.json"
    """Where the normalisation stands."""
    size: tuple[int, int] | None = None
    """(height, width) of the input grid."""
    channels: int | None = None
    """Of the pictures it takes; of a file that `robaudit export` wrote."""
    resizing: Resizing | None = None
    """How images come to it."""
    bgr: bool = False
    """Whether it takes colours in the order blue, green, red."""
    shown: tuple[str, ...] | None = None
    """Options that say how images were shown in training; None where the folder does not tell."""
    many_findings: bool = False
    """Whether several outputs can be true of one image."""
    is_regression: bool = False
    """Whether the outputs are quantities, not classes."""
    output: str | None = None
    """Which part of a structured answer is the classifier's; of a folder that assimilate wrote."""
    label_index: int | None = None
    """Which finding is audited, likewise."""
    threshold: float | None = None
    """Probability above which one output decides for the second class, likewise."""
    is_beside_weights: bool = False
    """Whether mean, std and size are entries of a checkpoint, which nobody has promised."""
    unclear_normalization: str | None = None
    """Why a person must say what mean and std are, and how; None where none are stated, or clearly."""
    unclear_size: str | None = None
    """The same of the size."""

    @property
    def size_source(self) -> str:
        """Where the size is known from, as `robaudit.records.InputSize` has it."""
        return "checkpoint" if self.is_beside_weights else "configuration"

    @property
    def possible_labels(self) -> tuple[str, ...]:
        """The one order that all entries of a checkpoint state: names of the outputs, where there are as many."""
        return self.orders[0] if len(self.orders) == 1 else ()

    @property
    def contradiction(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """Two orders of the same names, of which one must be wrong."""
        pairs = combinations(self.orders, 2)
        return next(((one, other) for one, other in pairs if sorted(one) == sorted(other)), None)

    def labels_of(self, n_outputs: int) -> tuple[str, ...]:
        """Names of this many outputs, one output telling two classes apart."""
        return self.labels or (self.possible_labels if len(self.possible_labels) == max(2, n_outputs) else ())


def stated(contents: Contents) -> Stated:
    """Read what a file or folder says of itself.

    Raises:
        ModelError: a folder's configuration, or what an export says, holds something else than it should.
    """
    config = contents.metadata
    try:
        if contents.kind in PROGRAMS:
            return _of_export(config[METADATA_NAME]) if METADATA_NAME in config else Stated()
        if contents.kind not in _FOLDERS:
            orders = config.get(CLASS_ORDERS)  # text, where a safetensors file has it
            return Stated(
                labels=_labels_beside_weights(config),
                orders=tuple(map(tuple, orders)) if isinstance(orders, list) else (),
                **said_of_pictures(config),
            )
        own = config.get("pretrained_cfg", config)
        if not isinstance(own, Mapping):
            raise ValueError("pretrained_cfg is no object")
        head = _head(config.get("head", {}))
        has_both = "mean" in own and "std" in own
        return Stated(
            labels=_labels(config),
            mean=_numbers("mean", own["mean"]) if has_both else None,
            std=_numbers("std", own["std"]) if has_both else None,
            source=str(config.get("normalization_source", "config.json")),
            size=_size(own.get("input_size")),
            resizing=_resizing(contents.kind, config, own),
            bgr=contents.kind is Kind.HUGGING_FACE_FOLDER and config.get("bgr") is True,
            shown=_shown(config.get("shown")),
            many_findings=config.get("problem_type") == "multi_label_classification",
            is_regression=config.get("problem_type") == "regression",
            **head,
        )
    except (TypeError, ValueError, AttributeError) as error:
        name, remedy = "config.json", "correct it, or pass the weights file and --arch"
        if contents.kind in PROGRAMS:
            name, remedy = METADATA_NAME, "export it again"
        raise ModelError(f"{contents.path}: its {name} holds what robaudit cannot use ({error}); {remedy}") from None


def _of_export(said: Mapping[str, Any]) -> Stated:
    """What `robaudit export` says of a program with its normalisation inside."""
    picture = said.get("input")
    if not isinstance(picture, Mapping) or picture.get("range") != [0, 1]:
        raise ValueError("input is no object with a range of 0 to 1")
    shape = picture.get("shape")
    if not isinstance(shape, list) or len(shape) != 4 or type(shape[1]) is not int or not 0 < shape[1] <= MAX_SIDE:
        raise ValueError("input.shape is no list of batch, channels, height, width")
    channels = shape[1]
    return Stated(
        labels=_labels(said),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        source=METADATA_NAME,
        size=_size(shape[2:]),
        channels=channels,
        bgr=said.get("bgr") is True,
        shown=_shown(said.get("shown")),
    )


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    for key in _LABEL_KEYS:
        names = config.get(key)
        if isinstance(names, list | tuple) and all(isinstance(name, str | int) for name in names):
            return tuple(map(str, names))
        if names is not None:
            raise ValueError(f"{key} is no list of names")
    return ()


def _labels_beside_weights(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The same of a training checkpoint, of which nobody has promised such entries: `classes` may be their number."""
    return _labels({key: value for key, value in config.items() if isinstance(value, list | tuple)})


def _resizing(kind: Kind, config: Mapping[str, Any], own: Mapping[str, Any]) -> Resizing | None:
    if kind is Kind.TIMM_FOLDER:
        return timm_resizing(own)
    found = config.get("resizing") if kind is Kind.HUGGING_FACE_FOLDER else None
    return Resizing(**found) if found else None


def _shown(flags: Any) -> tuple[str, ...] | None:
    """Options a person may be told to pass: none but those that say how images are shown."""
    if flags is None:
        return None
    if not isinstance(flags, list) or not all(isinstance(flag, str) and _SHOWN.fullmatch(flag) for flag in flags):
        raise ValueError("shown is no list of options such as --resize crop")
    return tuple(flags)


def _head(head: Any) -> dict[str, Any]:
    """What the answers are taken for, as `robaudit.load.recipe` writes it."""
    wanted: dict[str, tuple[type, ...]] = {"output": (str,), "label_index": (int,), "threshold": (int, float)}
    if not isinstance(head, Mapping):
        raise ValueError("head is no object")
    found = {name: head.get(name) for name in wanted}
    for name, value in found.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, wanted[name])):
            raise ValueError(f"head.{name} is a {type(value).__name__}")
    return found


def _numbers(key: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, Sequence) or not all(isinstance(v, int | float) and isfinite(v) for v in values):
        raise ValueError(f"{key} is no list of numbers")
    return tuple(map(float, values))


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    if not isinstance(size, Sequence) or len(size) not in (2, 3):
        raise ValueError("input_size is no list of channels, height, width")
    if not all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in size[-2:]):
        raise ValueError("input_size holds something else than sizes")
    return size[-2], size[-1]
