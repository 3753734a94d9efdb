"""An ONNX file -> a differentiable network: its graph walked node by node with the operators of `onnx_operators.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf, prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robaudit.errors import ModelError, first_line
from robaudit.load.kinds import ProgramError
from robaudit.load.onnx_operators import OPERATORS, Operator
from robaudit.load.unchanged import Stamp, stamped

DOMAINS = ("", "ai.onnx")
MAX_NODES = 200_000
MAX_GROWTH = 2**28
"""Bytes by which a graph may grow when its functions are written out; those of exporters hold few numbers."""
_N_OUTPUTS = ("Split", "BatchNormalization")
"""Operators that must know how many outputs the node names."""
_OPSET = ("Softmax", "LogSoftmax", "Resize", "Upsample")
"""Operators that changed their meaning, and must know the opset."""
_FLOAT32, _WIDENED = 1, (10, 11)
"""Types of numbers, as ONNX counts them; float16 and float64."""
MIN_OPSET = 7
"""Before it, broadcasting had to be asked for, and BatchNormalization and Dropout were told to be in training."""


class _Node(NamedTuple):
    function: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class OnnxNetwork(nn.Module):
    """The graph as a network; its weights are parameters, by their order in the file."""

    def __init__(self, graph: _Graph) -> None:
        super().__init__()
        self._graph = graph
        for index, tensor in enumerate(graph.trained.values()):
            self.register_parameter(f"weight_{index}", nn.Parameter(tensor))

    def forward(self, x: Tensor) -> Any:
        """(B, C, H, W) -> the one output, or all of them by name."""
        graph = self._graph
        values: dict[str, Any] = {"": None, graph.input: x, **graph.fixed}
        values.update(zip(graph.trained, self._parameters.values(), strict=True))
        for node in graph.nodes:
            inputs = [_beside(values[name], x) for name in node.inputs]
            answer = node.function(*inputs, **node.attributes)
            values.update(zip(node.outputs, answer if isinstance(answer, tuple | list) else (answer,), strict=False))
        outputs = {name: values[name] for name in graph.outputs}
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs


class _Graph:
    """What is computed, in order; never changed once made."""

    def __init__(self, model: Any, numbers: _Numbers) -> None:
        graph = model.graph
        named = {tensor.name for tensor in graph.initializer}
        inputs = [value for value in graph.input if value.name not in named]
        if len(inputs) != 1:
            raise ProgramError(f"it takes {len(inputs)} inputs, wanted one")
        numbers.in_float32 = _is_widened(inputs[0])
        tensors = {tensor.name: numbers.tensor(tensor) for tensor in graph.initializer}
        statistics = {name for node in graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
        self.trained = {
            name: tensor
            for name, tensor in tensors.items()
            if tensor.is_floating_point() and tensor.numel() > 1 and name not in statistics
        }
        self.fixed = {name: tensor for name, tensor in tensors.items() if name not in self.trained}
        self.input = inputs[0].name
        self.input_shape = _shape(inputs[0])
        self.outputs = [value.name for value in graph.output]
        opset = _opset(model)
        self.nodes = [_node(node, numbers, opset) for node in graph.node]

    def __deepcopy__(self, memo: object) -> _Graph:
        return self


class _Numbers:
    """The numbers of a graph: in the file, or in files beside it."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._size_bytes = path.stat().st_size
        self.files: dict[Path, Stamp] = {}
        """Beside the file, that numbers were read from, as each was before."""
        self.in_float32 = False
        """Whether numbers of half or double precision become float32."""

    def tensor(self, described: Any) -> Tensor:
        """The numbers of an initialiser, which must be there in full."""
        from onnx import TensorProto, numpy_helper

        shape = tuple(described.dims)
        if any(size < 0 for size in shape):
            raise ProgramError(f"{described.name}: a tensor with a malformed shape")
        if described.data_location == TensorProto.EXTERNAL:
            self._fetch(described)
        n_bytes = prod(shape) * np.dtype(_numpy_type(described.data_type)).itemsize
        if n_bytes > max(self._size_bytes, len(described.raw_data)):
            raise ProgramError(f"{described.name}: a tensor of shape {shape} does not fit into the file")
        tensor = torch.from_numpy(np.array(numpy_helper.to_array(described)))
        return tensor.float() if self.in_float32 and described.data_type in _WIDENED else tensor

    def _fetch(self, described: Any) -> None:
        """Read numbers that lie in another file of the same folder, and in no other place."""
        entries = {entry.key: entry.value for entry in described.external_data}
        name = entries.get("location", "")
        file = self._folder / name
        if not name or Path(name).name != name or name in (".", "..") or not file.is_file() or file.is_symlink():
            raise ProgramError(f"its numbers lie in {name!r}, which is no file beside it")
        offset, size = int(entries.get("offset", 0)), file.stat().st_size
        length = int(entries.get("length", size - offset))
        if not 0 <= offset <= offset + length <= size:
            raise ProgramError(f"{name}: holds {size} bytes, the file wants {length} from {offset}")
        self.files = stamped([file]) | self.files
        with file.open("rb") as opened:
            opened.seek(offset)
            described.raw_data = opened.read(length)
        described.ClearField("external_data")
        described.ClearField("data_location")


def read_onnx(path: Path) -> tuple[OnnxNetwork, tuple[int | None, ...], dict[Path, Stamp]]:
    """The network of an ONNX file, the sizes of its input (None where they may vary), and files its numbers lie in.

    Raises:
        ModelError: the package `onnx` is not installed.
        ProgramError: it is no ONNX file, or uses what robaudit does not compute.
    """
    return network_of(parsed(path), path)


def parsed(path: Path) -> Any:
    """The `ModelProto` of an ONNX file, its functions written out; numbers in other files stay there.

    Raises:
        ModelError: the package `onnx` is not installed.
        ProgramError: it is no ONNX file.
    """
    try:
        import onnx
        import onnx.inliner
        from google.protobuf.message import DecodeError
        from onnx.checker import ValidationError
    except ImportError:
        raise ModelError(f"{path}: is an ONNX graph; pip install 'robaudit[onnx]' to read it") from None
    try:
        model = onnx.load(path, load_external_data=False)
        return onnx.inliner.inline_local_functions(_not_bomb(model)) if model.functions else model
    except (DecodeError, ValidationError, ValueError, RuntimeError, RecursionError, OSError, TypeError) as error:
        raise ProgramError(f"no ONNX file: {first_line(error)}") from None


def operators_of(model: Any) -> tuple[str, ...]:
    """Names of the operators of a parsed file."""
    return tuple(sorted({_name(node) for node in model.graph.node}))


def network_of(model: Any, path: Path) -> tuple[OnnxNetwork, tuple[int | None, ...], dict[Path, Stamp]]:
    """What `read_onnx` makes of the file at `path` once that is parsed; likewise.

    Raises:
        ProgramError: it uses what robaudit does not compute.
    """
    if len(model.graph.node) > MAX_NODES:
        raise ProgramError(f"more than {MAX_NODES} nodes")
    missing = [name for name in operators_of(model) if name not in OPERATORS and name != "Constant"]
    if missing:
        raise ProgramError(f"robaudit computes no {', '.join(missing[:8])}")
    numbers = _Numbers(path)
    try:
        graph = _Graph(model, numbers)
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ProgramError(f"{type(error).__name__} {first_line(error)}") from None
    return OnnxNetwork(graph), graph.input_shape, numbers.files


def _not_bomb(model: Any) -> Any:
    """The model, where its functions can be written out; functions that call functions can double at every step."""
    functions = {_called(function, function.name): function for function in model.functions}
    if len(functions) < len(model.functions):
        raise ProgramError("two functions of one name")
    if _expanded(model.graph.node, functions, lambda _: 1, {}) > MAX_NODES:
        raise ProgramError(
            f"more than {MAX_NODES} nodes with its functions written out, or a function that calls itself"
        )
    most = model.ByteSize() + MAX_GROWTH
    if _expanded(model.graph.node, functions, lambda node: int(node.ByteSize()), {}) > most:
        raise ProgramError(f"more than {most} bytes with its functions written out")
    return model


def _expanded(
    nodes: Iterable[Any], functions: Mapping[Any, Any], size: Callable[[Any], int], known: dict[Any, float]
) -> float:
    """Size of nodes with the functions that they call, however deep; infinite where one calls itself."""
    total = 0.0
    for node in nodes:
        total += size(node)
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                total += _expanded(graph.node, functions, size, known)
        called = _called(node, node.op_type)
        if called in functions:
            if called not in known:
                known[called] = inf
                known[called] = _expanded(functions[called].node, functions, size, known)
            total += known[called]
    return total


def _called(by: Any, name: str) -> tuple[Any, ...]:
    return "" if by.domain in DOMAINS else by.domain, name, by.overload


def _name(node: Any) -> str:
    domain, name = _text(node.domain), _text(node.op_type)
    return name if domain in DOMAINS else f"{domain}.{name}"


def _text(value: str | bytes) -> str:
    """Protobuf hands over bytes where a file's text is no UTF-8."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _is_widened(value: Any) -> bool:
    """Whether a graph with this input is computed in float32 instead of its half or double precision.

    float32 holds every number of half precision, in which small gradients are 0.
    """
    from onnx import TensorProto

    held = value.type.tensor_type.elem_type
    if held not in (_FLOAT32, *_WIDENED):
        raise ProgramError(
            f"its input is {TensorProto.DataType.Name(held).lower()}, wanted float32; export it with such an input"
        )
    return held in _WIDENED


def _opset(model: Any) -> int:
    """The version of ONNX whose operators are meant."""
    opset = max((int(entry.version) for entry in model.opset_import if _text(entry.domain) in DOMAINS), default=0)
    if opset < MIN_OPSET:
        raise ProgramError(f"its operators are of opset {opset}, wanted {MIN_OPSET} or later")
    return opset


def _node(node: Any, numbers: _Numbers, opset: int) -> _Node:
    attributes = {attribute.name: _attribute(attribute, numbers) for attribute in node.attribute}
    if node.op_type == "Constant":
        value = _constant(attributes)
        return _Node(lambda: value, (), tuple(node.output), {})
    if node.op_type in _N_OUTPUTS:
        attributes["n_outputs"] = len(node.output)
    if node.op_type == "Cast" and numbers.in_float32 and attributes["to"] in _WIDENED:
        attributes["to"] = _FLOAT32
    if node.op_type in _OPSET:
        attributes["opset"] = opset
    return _Node(OPERATORS[node.op_type], tuple(node.input), tuple(node.output), attributes)


def _constant(attributes: Mapping[str, Any]) -> Tensor:
    [(kind, value)] = attributes.items()
    if kind == "value" and isinstance(value, Tensor):
        return value
    if kind in ("value_float", "value_floats"):
        return torch.tensor(value, dtype=torch.float32)
    if kind in ("value_int", "value_ints"):
        return torch.tensor(value, dtype=torch.int64)
    raise ProgramError(f"a Constant with {kind}")


def _attribute(attribute: Any, numbers: _Numbers) -> Any:
    from onnx import AttributeProto

    if attribute.type == AttributeProto.TENSOR:
        return numbers.tensor(attribute.t)
    simple = {
        AttributeProto.FLOAT: "f", AttributeProto.INT: "i", AttributeProto.STRING: "s",
        AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints", AttributeProto.STRINGS: "strings",
    }  # fmt: skip
    if attribute.type not in simple:
        raise ProgramError(f"the attribute {attribute.name}, a graph of its own")
    value = getattr(attribute, simple[attribute.type])
    return value if isinstance(value, int | float | bytes) else list(value)


def _numpy_type(data_type: int) -> Any:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(data_type)


def _shape(value: Any) -> tuple[int | None, ...]:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.HasField("dim_value") and size.dim_value > 0 else None for size in sizes)


def _beside(value: Any, x: Tensor) -> Any:
    """Floating-point numbers where the picture is; shapes and indices stay on the CPU, where they are read."""
    if isinstance(value, Tensor) and value.is_floating_point() and value.device != x.device:
        return value.to(x.device)
    return value
