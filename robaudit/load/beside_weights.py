"""What training scripts keep in a checkpoint, beside its weights, of the pictures it was given: mean, std and size.

Nobody has promised such entries: what is not clear is put into words, for a person to settle, and never taken.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

from robaudit.errors import ModelError
from robaudit.load.archive import Archive
from robaudit.load.inert_pickle import Call, Value
from robaudit.load.normalizer import as_typed
from robaudit.load.torch_pickle import ITEM_BYTES, TensorReader, as_mapping

_PAIRS = (
    ("mean", "std"), ("image_mean", "image_std"), ("img_mean", "img_std"), ("norm_mean", "norm_std"),
    ("pixel_mean", "pixel_std"),
)  # fmt: skip
_SIZES = ("img_size", "image_size", "input_size", "crop_size")
_HOLDERS = (
    "pretrained_cfg", "default_cfg", "data_config", "hyper_parameters", "config", "cfg", "args", "preprocessing",
    "normalize", "normalization",
)  # fmt: skip
"""What scripts call what holds such entries."""
MAX_NUMBERS = 16
_MAX_STORAGE_BYTES = 4096
_FORMATS = {"float64": "d", "float32": "f", "float16": "e"}
_CHANNELS = (1, 3)
SIDES = range(8, 4097)
"""Of pictures; other numbers are of something else."""
_UNREAD = "in a form that is not read"
NumbersOf = Callable[[Value], list[float] | None]
"""What a pickle describes -> the numbers of a small tensor; None for anything else."""


def numbers_in(archive: Archive, folder: str, as_tensor: TensorReader) -> NumbersOf:
    """Reads the few numbers of a tensor that is one row, without torch.

    Args:
        archive: of torch.
        folder: where in it the storages lie, such as `archive/data/`.
        as_tensor: what recognises a tensor.
    """

    def numbers_of(item: Value) -> list[float] | None:
        tensor = as_tensor(item)
        if tensor is None or tensor.view is None or tensor.dtype not in _FORMATS:
            return None
        storage, of_many = f"{folder}{tensor.view.storage}", [side > 1 for side in tensor.shape]
        is_row = of_many and sum(of_many) <= 1 and 0 < tensor.n_elements <= MAX_NUMBERS
        if not is_row or archive.room(storage) > _MAX_STORAGE_BYTES:
            return None
        step = sum(step for step, many in zip(tensor.view.stride, of_many, strict=True) if many)
        places = [tensor.view.offset + index * step for index in range(tensor.n_elements)]
        content, size = archive.read(storage), ITEM_BYTES[tensor.dtype]
        if len(content) < (max(places) + 1) * size:  # an archive may claim more than it unpacks to
            return None
        found = [struct.unpack_from(f"<{_FORMATS[tensor.dtype]}", content, place * size)[0] for place in places]
        return list(as_typed(found)) if all(map(isfinite, found)) else None

    return numbers_of


def picture_entries(found: Mapping[Value, Value], numbers_of: NumbersOf) -> dict[str, Any]:
    """Such entries of a checkpoint as plain data, also of a dictionary or a namespace in it."""
    inner = {key: _own_entries(_within(found.get(key)), numbers_of) for key in _HOLDERS}
    return _own_entries(found, numbers_of) | {key: entries for key, entries in inner.items() if entries}


def _own_entries(found: Mapping[Value, Value], numbers_of: NumbersOf) -> dict[str, Any]:
    entries = {key: _as_data(found.get(key), numbers_of) for key in (*chain.from_iterable(_PAIRS), *_SIZES)}
    return {key: item for key, item in entries.items() if item is not None}


def _within(item: Value) -> Mapping[Value, Value]:
    if isinstance(item, Call):  # argparse.Namespace has a state, an OrderedDict or Lightning's AttributeDict items
        return {**item.items, **(as_mapping(item.state) or {})}
    return as_mapping(item) or {}


def _as_data(item: Value, numbers_of: NumbersOf) -> Any:
    """Numbers, or the words that they are not read; None where this is nothing of pictures."""
    if _is_number(item):
        return item
    if isinstance(item, list | tuple) and item:
        return list(item) if len(item) <= MAX_NUMBERS and all(map(_is_number, item)) else _UNREAD
    if isinstance(item, Call) and as_mapping(item) is None:
        return numbers_of(item) or _UNREAD
    return None


def _is_number(item: Value) -> bool:
    return (type(item) is int and abs(item) < 2**63) or (isinstance(item, float) and isfinite(item))


def said_of_pictures(entries: Mapping[str, Any]) -> dict[str, Any]:
    """What such entries say, as fields of `robaudit.load.stated.Stated`."""
    return _normalization(entries) | _size(entries)


def _normalization(entries: Mapping[str, Any]) -> dict[str, Any]:
    named = [((f"{place}{mean}", held.get(mean)), (f"{place}{std}", held.get(std)))
             for place, held in _places(entries) for mean, std in _PAIRS if held.keys() & {mean, std}]  # fmt: skip
    found = {(_per_channel(mean), _per_channel(std)): (name, of_std) for (name, mean), (of_std, std) in reversed(named)}
    if not found:
        return {}
    [(mean, std), (name, of_std)], *others = found.items()
    if not others and mean and std and len(mean) == len(std):
        return {"mean": mean, "std": std, "source": f"the checkpoint's {name} and {of_std}", "is_beside_weights": True}
    return {"unclear_normalization": f"keeps {_words(chain.from_iterable(named))} beside its weights, "
            + ("of which only one can be true" if others else "which need not be those of its pictures")
            + "; pass the right ones with --mean and --std, one number per channel, or --normalization"}  # fmt: skip


def _size(entries: Mapping[str, Any]) -> dict[str, Any]:
    named = [(f"{place}{key}", held[key]) for place, held in _places(entries) for key in _SIZES if key in held]
    found = {_sides(value) for _, value in named}
    if not found:
        return {}
    if len(found) == 1 and None not in found:
        return {"size": found.pop(), "is_beside_weights": True}
    return {"unclear_size": f"keeps {_words(named)} beside its weights, "
            + ("of which only one can be true" if len(found) > 1 else "which is not clearly the size of its pictures")
            + "; pass it with --input-size height,width"}  # fmt: skip


def _places(entries: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", entries
    for key in _HOLDERS:
        if isinstance(held := entries.get(key), Mapping):  # text, where a safetensors file has it
            yield f"{key}.", held


def _per_channel(value: Any) -> tuple[float, ...] | None:
    """A number for each channel: a single one may be of anything, such as an accuracy and how it varies."""
    return tuple(map(float, value)) if isinstance(value, list) and len(value) <= max(_CHANNELS) else None


def _sides(value: Any) -> tuple[int, int] | None:
    """(height, width), where that is clear: of two numbers that differ, the first may be either."""
    sides = [value, value] if type(value) is int else value if isinstance(value, list) else []
    if len(sides) == 3 and sides[0] in _CHANNELS:
        sides = sides[1:]
    elif len(sides) != 2 or sides[0] != sides[1]:
        return None
    return (sides[0], sides[1]) if all(type(side) is int and side in SIDES for side in sides) else None


def _words(named: Iterable[tuple[str, Any]]) -> str:
    """Numbers as they are; text of the file is not shown."""
    words = ((name, _UNREAD if isinstance(value, str) else value) for name, value in named)
    return " and ".join(f"{name} {'nothing' if value is None else value}" for name, value in words)


def require_clear(path: Path, unclear: str | None) -> None:
    """Make sure that what a checkpoint keeps beside its weights is clear.

    Raises:
        ModelError: it is not.
    """
    if unclear is not None:
        raise ModelError(f"{path}: {unclear}")
