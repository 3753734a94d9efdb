"""A torch.export file (.pt2) -> a network that robaudit itself computes, from the operators of `aten.py`.

torch's own loader unpickles parts of the file and has expressions in it evaluated as Python. Here only the JSON is
read, and only operators that compute are called.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robaudit.errors import first_line
from robaudit.load.archive import Archive, open_archive
from robaudit.load.exported_json import DTYPES, LEGACY_WEIGHTS, Exported, describe_exported
from robaudit.load.inert_pickle import read_entry
from robaudit.load.kinds import ProgramError
from robaudit.load.scripted import on_values
from robaudit.load.tensors import StorageReader
from robaudit.load.torch_pickle import TensorReader, dictionary_groups

_CHECKS = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range", "sym_constrain_range_for_size")
"""Operators that answer nothing."""
_MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}

Values = dict[str, Any]
Argument = Callable[[Values], Any]


class _Step(NamedTuple):
    function: Callable[..., Any]
    positional: tuple[Argument, ...]
    keyword: tuple[tuple[str, Argument], ...]
    outputs: tuple[str, ...]


class ExportedNetwork(nn.Module):
    """The program as a network; its weights go by the names they had in the network it was exported from."""

    def __init__(self, exported: Exported, weights: Mapping[str, Tensor], parameters: frozenset[str]) -> None:
        super().__init__()
        self._plan = _Plan(exported)
        for name, tensor in weights.items():
            _register(self, name, tensor, is_parameter=name in parameters)

    def forward(self, x: Tensor) -> Any:
        """(B, C, H, W) -> whatever the program answers."""
        values: Values = {self._plan.input: x}
        for name, holder in self._plan.holders.items():
            values[name] = _held(self, holder)
        for step in self._plan.steps:
            answer = step.function(
                *(argument(values) for argument in step.positional),
                **{name: argument(values) for name, argument in step.keyword},
            )
            if len(step.outputs) == 1:
                values[step.outputs[0]] = answer
            else:
                values.update(zip(step.outputs, answer or (), strict=False))
        return self._plan.answer([values[name] for name in self._plan.outputs])


class _Plan:
    """What is computed, in order; never changed once made."""

    def __init__(self, exported: Exported) -> None:
        [self.input] = exported.inputs
        self.holders = dict(_holders(exported.signature["input_specs"]))
        self.steps = [step for node in exported.graph["nodes"] if (step := _step(node)) is not None]
        self.outputs = [
            spec["user_output"]["arg"]["as_tensor"]["name"]
            for spec in exported.signature["output_specs"]
            if "user_output" in spec
        ]
        self._keys = _output_names(exported.answer, len(self.outputs))

    def __deepcopy__(self, memo: object) -> _Plan:
        return self

    def answer(self, outputs: list[Any]) -> Any:
        """The outputs as the program's caller sees them."""
        if self._keys:
            return dict(zip(self._keys, outputs, strict=True))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def read_exported(path: Path) -> tuple[ExportedNetwork, tuple[int | None, ...]]:
    """The network of a torch.export file whose program is pure, and the sizes of its input (None where they may vary).

    Raises:
        ArchiveError: an entry is damaged.
        PickleError: its weights are no pickle (before torch 2.8).
        ProgramError: it is none that robaudit reads, or more than pure.
    """
    with open_archive(path) as archive:
        exported = describe_exported(archive)
        if exported.not_pure:
            raise ProgramError(f"its program uses {', '.join(sorted(exported.not_pure)[:5])}")
        weights, parameters = exported.weights, exported.parameters
        tensors = StorageReader(archive, "").tensors(weights) if weights else _legacy_weights(archive)
        if not weights:
            parameters = frozenset(name for name, _ in _parameters(exported.signature["input_specs"]))
    try:
        return ExportedNetwork(exported, tensors, parameters), exported.input_shape
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ProgramError(f"{type(error).__name__} {first_line(error)}") from None


def _legacy_weights(archive: Archive) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name in (name for part in LEGACY_WEIGHTS for name in archive.matching(rf"([^/]+/)?{re.escape(part)}")):
        content = archive.read(name, archive.size_bytes)
        if not content.startswith(b"PK"):
            continue  # a program without constants
        with open_archive(content) as inner:
            root = inner.matching(r"[^/]+/data\.pkl")[0].removesuffix("data.pkl")
            as_tensor = TensorReader(lambda key, inner=inner, root=root: inner.room(f"{root}data/{key}"))  # type: ignore[misc]
            groups = dictionary_groups(read_entry(inner.read(f"{root}data.pkl")).value, as_tensor)
            tensors |= StorageReader(inner, f"{root}data/").tensors(groups.get((), {}))
    return tensors


def _register(network: nn.Module, name: str, tensor: Tensor, *, is_parameter: bool) -> None:
    """Put a tensor where its dotted name says, as in the network it was exported from."""
    *parts, attribute = name.split(".")
    holder = network
    for part in parts:
        if part not in holder._modules:
            holder.add_module(part, nn.Module())
        holder = holder.get_submodule(part)
    if is_parameter:
        holder.register_parameter(attribute, nn.Parameter(tensor, requires_grad=tensor.is_floating_point()))
    else:
        holder.register_buffer(attribute, tensor)


def _held(network: nn.Module, name: str) -> Tensor:
    holder, _, attribute = name.rpartition(".")
    module = network.get_submodule(holder)
    tensor = module._parameters[attribute] if attribute in module._parameters else module._buffers[attribute]
    assert tensor is not None
    return tensor


def _parameters(specs: list[Any]) -> list[tuple[str, str]]:
    return [(s["parameter"]["parameter_name"], s["parameter"]["arg"]["name"]) for s in specs if "parameter" in s]


def _holders(specs: list[Any]) -> list[tuple[str, str]]:
    """Name of a value of the program, and of the tensor it stands for."""
    found = []
    for spec in specs:
        [(kind, entry)] = spec.items()
        if kind in ("parameter", "buffer", "tensor_constant"):
            found.append((entry["arg"]["name"], entry[f"{kind}_name"]))
        elif kind != "user_input":
            raise ProgramError(f"an input of kind {kind}")
    return found


def _step(node: Mapping[str, Any]) -> _Step | None:
    match node["target"].split("."):
        case ["torch", "ops", "aten", name, _] if name in _CHECKS:
            return None
        case ["torch", "ops", "aten", name, overload]:
            function = getattr(getattr(torch.ops.aten, name), overload)
            if not any("Tensor" in str(part.type) for part in function._schema.arguments + function._schema.returns):
                raise ProgramError(f"aten.{name}.{overload}, which is about no tensor")
            order = [argument.name for argument in function._schema.arguments if not argument.kwarg_only]
        case ["_operator", name]:
            function, order = partial(_arithmetic, name), [entry["name"] for entry in node["inputs"]]
        case other:
            raise ProgramError(".".join(other))
    arguments = {entry["name"]: _argument(entry["arg"]) for entry in node["inputs"]}
    # Arguments stand in the order of the schema, so those before the first one left out go by position.
    given = [name in arguments for name in order]
    n_positional = given.index(False) if False in given else len(given)
    positional = tuple(arguments.pop(name) for name in order[:n_positional])
    return _Step(function, positional, tuple(arguments.items()), _outputs(node["outputs"]))


_AS_SCRIPTED = {"and_": "__and__", "or_": "__or__", "getitem": "__getitem__", "mod": "remainder", "truediv": "div"}


def _arithmetic(name: str, *values: Any) -> Any:
    """One of Python's operators; on numbers of the file bounded as TorchScript's are."""
    if any(isinstance(value, Tensor) for value in values):
        return getattr(operator, name)(*values)
    return on_values(_AS_SCRIPTED.get(name, name), list(values))


def _outputs(outputs: list[Any]) -> tuple[str, ...]:
    if len(outputs) == 1 and "as_tensors" in outputs[0]:
        # A list of tensors: each gets its name, and the comma at the end tells a list of one from a tensor.
        return (*(tensor["name"] for tensor in outputs[0]["as_tensors"]), "")
    return tuple(_output(output) for output in outputs)


def _output(output: Mapping[str, Any]) -> str:
    [(kind, value)] = output.items()
    if kind in ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"):
        return str(value.get("name", value.get("as_name")))
    if kind == "as_none":
        return ""
    raise ProgramError(f"an output of kind {kind}")


def _argument(argument: Mapping[str, Any]) -> Argument:
    [(kind, value)] = argument.items()
    match kind:
        case "as_tensor":
            return _value_of(value["name"])
        case "as_tensors":
            return _list_of([_value_of(tensor["name"]) for tensor in value])
        case "as_optional_tensors":
            return _list_of([_argument(tensor) for tensor in value])
        case "as_optional_tensor":
            return _argument(value)
        case "as_sym_int" | "as_sym_bool" | "as_sym_float":
            return _symbol(value)
        case "as_sym_ints" | "as_sym_bools" | "as_sym_floats":
            return _list_of([_symbol(item) for item in value])
        case "as_none":
            return _constant(None)
        case "as_int" | "as_ints" | "as_float" | "as_floats" | "as_bool" | "as_bools" | "as_string" | "as_int_lists":
            return _constant(_number(value))
        case "as_scalar_type":
            return _constant(getattr(torch, DTYPES[value]))
        case "as_memory_format":
            return _constant(_MEMORY_FORMATS[value])
        case "as_layout":
            return _constant(torch.strided)
        case "as_device":
            return _input_device
    raise ProgramError(f"an argument of kind {kind}")


def _number(value: Any) -> Any:
    """JSON has no infinity, so torch.export writes it as text."""
    return float(value) if value in ("Infinity", "-Infinity", "NaN") else value


def _constant(value: Any) -> Argument:
    return lambda values: value


def _value_of(name: str) -> Argument:
    return lambda values: values[name]


def _list_of(parts: list[Argument]) -> Argument:
    return lambda values: [part(values) for part in parts]


def _symbol(value: Mapping[str, Any]) -> Argument:
    [(kind, named)] = value.items()
    return _value_of(named) if kind == "as_name" else _constant(named)


def _input_device(values: Values) -> torch.device:
    """The program runs where the picture is, wherever it was exported."""
    first = next(iter(values.values()))
    assert isinstance(first, Tensor)
    return first.device


def _output_names(spec: Any, n_outputs: int) -> list[str]:
    """Keys of a dictionary of outputs; empty for anything else."""
    described = spec[1] if isinstance(spec, list) and len(spec) == 2 else {}
    try:
        keys = json.loads(described.get("context") or "null")
    except (ValueError, AttributeError, TypeError):
        return []
    is_named = isinstance(keys, list) and len(keys) == n_outputs and all(isinstance(key, str) for key in keys)
    return keys if is_named else []
