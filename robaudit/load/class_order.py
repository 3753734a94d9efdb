"""Class names in the order of the outputs, as training scripts leave them in a checkpoint beside `classes`."""

from collections.abc import Mapping

from robaudit.load.inert_pickle import Value
from robaudit.load.torch_pickle import as_mapping

POSSIBLE_CLASSES = "possible_classes"
"""What the metadata of a checkpoint call names that are taken where there are as many as outputs."""
_KEYS = ("idx_to_class", "idx2class", "class_to_idx", "id2label", "label2id", "label_names", "class_names", "classes")
_LISTS = ("names",)
MAX_CLASSES = 1000


def possible_classes(entries: Mapping[Value, Value]) -> list[str]:
    """The one order that all such entries of a checkpoint state; empty where there is none, or two differ."""
    found = [in_order(entries.get(key)) for key in _KEYS + _LISTS]
    found += [_listed(entries.get(key)) for key in _LISTS]
    orders = {tuple(names) for names in found if names}
    return list(next(iter(orders))) if len(orders) == 1 else []


def in_order(value: Value) -> list[str]:
    """Names in the order of their numbers, from a dictionary in either direction; empty for anything else."""
    entries = as_mapping(value) or {}
    named: dict[int, str] = {}
    for key, item in entries.items():
        number, name = (item, key) if type(item) is int else (key, item)
        if isinstance(number, str) and number.isascii() and number.isdecimal() and len(number) < 5:
            number = int(number)
        if type(number) is int and isinstance(name, str):
            named[number] = name
    names = [named[index] for index in range(len(entries))] if named.keys() == set(range(len(entries))) else []
    return names if _are_different(names) else []


def _listed(value: Value) -> list[str]:
    names = list(value) if isinstance(value, list | tuple) else []
    return names if all(isinstance(name, str) for name in names) and _are_different(names) else []


def _are_different(names: list[str]) -> bool:
    return len(names) <= MAX_CLASSES and len(set(names)) == len(names)
