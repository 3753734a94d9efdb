"""Class names in the order of the outputs, as training scripts leave them in a checkpoint beside `classes`."""

from collections.abc import Mapping

from robaudit.load.inert_pickle import Value
from robaudit.load.torch_pickle import as_mapping

CLASS_ORDERS = "class_orders"
"""What the metadata of a checkpoint call all orders of class names that its entries state."""
_KEYS = (
    "classes", "class_names", "label_names", "names",
    "class_to_idx", "idx_to_class", "idx2class", "id2label", "label2id",
)  # fmt: skip
MAX_CLASSES = 1000


def class_orders(entries: Mapping[Value, Value]) -> list[list[str]]:
    """Every order of names that such entries of a checkpoint state, once."""
    found = (in_order(entries.get(key)) or _listed(entries.get(key)) for key in _KEYS)
    return [list(names) for names in dict.fromkeys(map(tuple, found)) if names]


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
