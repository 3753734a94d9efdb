"""What the wishes in a torch pickle mean: tensors, dictionaries, modules. Needs no torch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from robaudit.load.inert_pickle import Call, Global, Persistent, PickleError, Value

MAX_DIMENSIONS = 64
"""What torch allows."""

ITEM_BYTES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex64": 8, "complex128": 16,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip

_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16",
    "ComplexFloat": "complex64", "ComplexDouble": "complex128",
    "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip

DATA_GLOBALS = frozenset(
    ["collections.OrderedDict", "collections.Counter", "_codecs.encode"]
    + [f"{builtins}.{name}" for builtins in ("builtins", "__builtin__") for name in ("set", "bytearray")]
    + ["torch.Size", "torch.Tensor", "torch.device", "torch.nn.parameter.Parameter"]
    + ["torch.storage.TypedStorage", "torch.storage.UntypedStorage", "torch.serialization._get_layout"]
    + ["torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"]
    + ["torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"]
    + ["torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor", "torch._tensor._rebuild_from_type_v2"]
    + [f"torch.{name}Storage" for name in _STORAGES]
    + [f"torch.{name}" for name in ITEM_BYTES]
)
"""What `torch.load(weights_only=True)` lets a file name because it only describes data."""


@dataclass(frozen=True)
class View:
    """Where in a file the numbers of a tensor lie, in elements."""

    storage: str
    offset: int
    stride: tuple[int, ...]


@dataclass(frozen=True)
class TensorInfo:
    """Shape and type of a tensor; its numbers stay in the file."""

    shape: tuple[int, ...]
    dtype: str
    view: View | None = field(default=None, compare=False, repr=False)
    """Of a torch archive; None elsewhere."""

    @property
    def n_elements(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)

    @property
    def room(self) -> int:
        """Bytes that the storage of its view must have."""
        assert self.view is not None
        steps = sum((size - 1) * step for size, step in zip(self.shape, self.view.stride, strict=True))
        extent = 0 if 0 in self.shape else self.view.offset + steps + 1
        # A stride of 0 repeats elements: then the extent is small and the tensor is not.
        return max(extent, self.n_elements) * ITEM_BYTES.get(self.dtype, 1)


class TensorReader:
    """Recognises tensors, and refuses those that claim more than the file can hold."""

    def __init__(self, storage_bytes: Callable[[str], int]) -> None:
        self._storage_bytes = storage_bytes
        """Key of a storage -> the most bytes it can have."""

    def __call__(self, value: Value, wrappers: int = 2) -> TensorInfo | None:
        """Return what `value` describes if it is a tensor, or a parameter wrapped at most `wrappers` times.

        Raises:
            PickleError: its shape is malformed, or larger than its storage.
        """
        if not (isinstance(value, Call) and isinstance(value.function, Global)) or wrappers < 0:
            return None
        match value.function.name.removeprefix("torch._utils."), value.arguments:
            case ("_rebuild_parameter" | "_rebuild_parameter_with_state", (data, *_)):
                return self(data, wrappers - 1)
            case ("torch._tensor._rebuild_from_type_v2", (function, _, tuple(arguments), *_)):
                return self(Call(function, arguments), wrappers - 1)
            case (
                "_rebuild_tensor" | "_rebuild_tensor_v2",
                (Persistent(("storage", Global(storage), str(key), *_)), offset, shape, stride, *_),
            ):
                dtype = _STORAGES.get(storage.removeprefix("torch.").removesuffix("Storage"), storage)
                return self._checked(key, dtype, offset, shape, stride)
            case (
                "_rebuild_tensor_v3",
                (Persistent(("storage", _, str(key), *_)), offset, shape, stride, _, _, Global(dtype), *_),
            ):
                return self._checked(key, dtype.removeprefix("torch."), offset, shape, stride)
        return None

    def _checked(self, key: str, dtype: str, offset: Value, shape: Value, stride: Value) -> TensorInfo:
        if not (_sizes((offset,)) and _sizes(shape) and _sizes(stride) and len(shape) == len(stride)):
            raise PickleError(f"storage {key}: a tensor with a malformed shape")
        info = TensorInfo(tuple(shape), dtype, View(key, offset, tuple(stride)))
        if info.room > self._storage_bytes(key):
            raise PickleError(f"storage {key}: a tensor of shape {shape} does not fit into it")
        return info


def _sizes(value: Value) -> bool:
    if not isinstance(value, tuple | list) or len(value) > MAX_DIMENSIONS:
        return False
    return all(type(size) is int and 0 <= size < 2**63 for size in value)


def as_mapping(value: Value) -> Mapping[Value, Value] | None:
    """Return the items of a dictionary or OrderedDict."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Call) and value.function == Global("collections.OrderedDict"):
        return value.items
    return None


Groups = dict[tuple[str, ...], dict[str, TensorInfo]]
"""Tensors by the keys that lead to their dictionary: () is the top, ("state_dict",) one level down."""


def dictionary_groups(value: Value, as_tensor: TensorReader) -> Groups:
    """Find every dictionary of tensors that is reached through dictionaries alone."""
    groups: Groups = {}
    for path, mapping in _mappings(value):
        tensors = {key: as_tensor(item) for key, item in mapping.items() if isinstance(key, str)}
        found = {key: tensor for key, tensor in tensors.items() if tensor is not None}
        if found:
            groups[path] = found
    return groups


def without_strays(groups: Groups) -> Groups:
    """The same without tensors that merely lie above a state dict: a best accuracy, a weight per class."""
    dotted = [path for path, tensors in groups.items() if any("." in name for name in tensors)]
    return {
        path: tensors
        for path, tensors in groups.items()
        if path in dotted or not any(path == other[: len(path)] for other in dotted)
    }


def _mappings(value: Value) -> Iterator[tuple[tuple[str, ...], Mapping[Value, Value]]]:
    waiting: list[tuple[tuple[str, ...], Value]] = [((), value)]
    seen: set[int] = set()  # a pickle can hold itself, or one thing a million times
    while waiting:
        path, value = waiting.pop()
        mapping = as_mapping(value)
        if mapping is None or id(mapping) in seen or len(path) > 8:
            continue
        seen.add(id(mapping))
        yield path, mapping
        waiting += [((*path, key), item) for key, item in mapping.items() if isinstance(key, str)]


def module_tensors(value: Value, as_tensor: TensorReader) -> dict[str, TensorInfo]:
    """Name the tensors of a pickled or scripted module as its state dict would."""
    found: dict[str, TensorInfo] = {}
    waiting: list[tuple[str, Value]] = [("", value)]
    seen: set[int] = set()
    while waiting:
        prefix, module = waiting.pop()
        state = as_mapping(module.state) if isinstance(module, Call) else None
        if state is None or id(state) in seen or len(prefix) > 1000:
            continue
        seen.add(id(state))
        inner: list[tuple[str, Value]] = []
        for name, item in _attributes(state):
            tensor = as_tensor(item)
            if tensor is not None:
                found[prefix + name] = tensor
            else:
                inner.append((f"{prefix}{name}.", item))
        waiting += reversed(inner)  # the last in is the first out: modules keep their order
    return found


def _attributes(state: Mapping[Value, Value]) -> Iterator[tuple[str, Value]]:
    """Attributes of a module; torch keeps parameters, buffers and sub-modules in dictionaries of their own."""
    for name, item in state.items():
        kept_apart = as_mapping(item) if name in ("_parameters", "_buffers", "_modules") else None
        for inner, value in (kept_apart or {name: item}).items():
            if isinstance(inner, str):
                yield inner, value
