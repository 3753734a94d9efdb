"""A TorchScript file -> a network that robaudit itself computes, step by step, from the operators of `aten.py`.

torch's own loader would hand the file to a virtual machine that knows files and processes. Here the parsed program is
walked: what can happen is what this file can do.
"""

from __future__ import annotations

import ast
import math
import operator
from collections import namedtuple
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.load.archive import Archive, open_archive
from robaudit.load.aten import INERT_OPERATORS, is_pure
from robaudit.load.inert_pickle import Call, Global, Value, read_entry
from robaudit.load.kinds import ProgramError
from robaudit.load.scripted_code import Program, ScriptClass, dotted, read_program
from robaudit.load.tensors import StorageReader
from robaudit.load.torch_pickle import TensorReader, as_mapping

MAX_STEPS = 2_000_000
"""Statements of one forward pass and items of the lists it makes; a large network has some ten thousand."""
MAX_DEPTH = 60
MAX_LENGTH = 1_000_000
_TOO_LARGE = 2**63


class ScriptedModule(nn.Module):
    """One module of the file: its tensors as parameters and buffers, its other attributes as values."""

    def __init__(self, made_of: ScriptClass, values: Mapping[str, Any]) -> None:
        super().__init__()
        self.made_of = made_of
        self.values = {**made_of.constants, **values}

    def attribute(self, name: str) -> Any:
        """What the program reads as `self.name`."""
        if name == "training":
            return self.training
        for held in (self._parameters, self._buffers, self._modules, self.values):
            if name in held:
                return held[name]
        raise ProgramError(f"{self.made_of.name} has no attribute {name}")


class ScriptedNetwork(nn.Module):
    """The whole file as a network."""

    def __init__(self, program: Program, network: ScriptedModule, constants: list[Tensor]) -> None:
        super().__init__()
        self.program = program
        self.network = network
        self.n_constants = len(constants)
        for index, constant in enumerate(constants):
            self.register_buffer(f"constant_{index}", constant, persistent=False)

    def forward(self, x: Tensor) -> Any:
        """(B, C, H, W) -> whatever the program answers."""
        constants = [self.get_buffer(f"constant_{index}") for index in range(self.n_constants)]
        return _Run(self.program, constants).method(self.network, "forward", [x])


def read_scripted(path: Path) -> ScriptedNetwork:
    """The network of a TorchScript file whose program is pure.

    Raises:
        ArchiveError: an entry is damaged.
        PickleError: an entry is no pickle.
        ProgramError: its code is none, or more than pure.
    """
    with open_archive(path) as archive:
        root = archive.matching(r"[^/]+/data\.pkl")[0].removesuffix("data.pkl")
        program = read_program(archive, root)
        if program.not_pure:
            raise ProgramError(f"its program uses {', '.join(sorted(program.not_pure)[:5])}")
        builder = _Builder(program, archive, root)
        return ScriptedNetwork(program, builder.module(), builder.constants())


class _Builder:
    """Makes modules of what the pickles describe."""

    def __init__(self, program: Program, archive: Archive, root: str) -> None:
        self._program, self._archive, self._root = program, archive, root
        self._as_tensor = TensorReader(lambda key: archive.room(f"{root}data/{key}"))
        self._storages = StorageReader(archive, f"{root}data/")
        self._made: dict[int, ScriptedModule] = {}

    def module(self) -> ScriptedModule:
        described = read_entry(self._archive.read(f"{self._root}data.pkl")).value
        if not isinstance(described, Call):
            raise ProgramError("its data holds no module")
        return self._module(described, MAX_DEPTH)

    def constants(self) -> list[Tensor]:
        name = f"{self._root}constants.pkl"
        listed = read_entry(self._archive.read(name)).value if name in self._archive else ()
        as_tensor = TensorReader(lambda key: self._archive.room(f"{self._root}constants/{key}"))
        storages = StorageReader(self._archive, f"{self._root}constants/")
        infos = [as_tensor(item) for item in listed] if isinstance(listed, tuple | list) else []
        if None in infos:
            raise ProgramError("a constant that is no tensor")
        return [storages.tensor(info) for info in infos if info is not None]

    def _module(self, described: Call, depth: int) -> ScriptedModule:
        if id(described) in self._made:
            return self._made[id(described)]
        name = described.function.name if isinstance(described.function, Global) else ""
        made_of, state = self._program.classes.get(name), as_mapping(described.state)
        if made_of is None or state is None or depth < 0:
            raise ProgramError(f"an object of class {name or 'unknown'}, which the code does not define")
        made = self._made[id(described)] = ScriptedModule(made_of, {})
        for attribute, item in state.items():
            try:
                self._attach(made, str(attribute), item, depth)
            except (KeyError, TypeError) as error:
                raise ProgramError(f"{name}.{attribute}: {error}") from None
        return made

    def _attach(self, module: ScriptedModule, name: str, item: Value, depth: int) -> None:
        info = self._as_tensor(item)
        if info is not None:
            tensor = self._storages.tensor(info)
            if name in module.made_of.parameters:
                module.register_parameter(name, nn.Parameter(tensor, requires_grad=tensor.is_floating_point()))
            else:
                module.register_buffer(name, tensor)
        elif (member := self._member(item)) is not None:
            module.values[name] = member
        elif isinstance(item, Call) and isinstance(item.function, Global) and item.function.name[:9] == "__torch__":
            module.add_module(name, self._module(item, depth - 1))
        elif name != "training":
            module.values[name] = _plain(item)

    def _member(self, item: Value) -> str | None:
        """A member of an enumeration by its full name, as the program calls it; None for anything else."""
        if not isinstance(item, Call) or not isinstance(item.function, Global):
            return None
        made_of = self._program.classes.get(item.function.name)
        if made_of is None or "Enum" not in made_of.bases:
            return None
        found = [name for name, value in made_of.constants.items() if (value,) == tuple(item.arguments)]
        if not found:
            raise ProgramError(f"{made_of.name} has no such member")
        return f"{made_of.name}.{found[0]}"


def _plain(item: Value, depth: int = 8, made: dict[int, Any] | None = None) -> Any:
    """An attribute that is a number, text, or a container of these; what a file holds once is copied once."""
    made = {} if made is None else made
    if id(item) not in made:
        made[id(item)] = _copied(item, depth, made)
    return made[id(item)]


def _copied(item: Value, depth: int, made: dict[int, Any]) -> Any:
    if depth < 0:
        raise ProgramError("an attribute nested too deeply")
    if isinstance(item, Call) and isinstance(item.function, Global) and item.arguments:
        kind = item.function.name.removeprefix("torch.jit._pickle.")
        if kind in ("build_intlist", "build_doublelist", "build_boollist", "restore_type_tag"):
            return _plain(item.arguments[0], depth - 1, made)
    if isinstance(item, list | tuple):
        return type(item)(_plain(part, depth - 1, made) for part in item)
    if isinstance(item, dict):
        return {key: _plain(value, depth - 1, made) for key, value in item.items()}
    if item is None or isinstance(item, bool | int | float | str):
        return item
    raise ProgramError("an attribute that is neither a number, text, tensor nor module")


class _Returned(Exception):  # noqa: N818 - no error: how a function ends
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _Run:
    """One forward pass."""

    def __init__(self, program: Program, constants: list[Tensor]) -> None:
        self._program, self._constants = program, constants
        self._steps = 0
        self._depth = 0

    def method(self, module: ScriptedModule, name: str, arguments: list[Any], **keywords: Any) -> Any:
        """Call a method of a module."""
        function = module.made_of.methods.get(name)
        if function is None:
            raise ProgramError(f"{module.made_of.name} has no method {name}")
        return self._function(function, [module, *arguments], keywords)

    def _function(self, function: ast.FunctionDef, arguments: list[Any], keywords: Mapping[str, Any]) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ProgramError("calls nested too deeply")
        names = [argument.arg for argument in function.args.args]
        defaults = function.args.defaults
        scope = {
            name: self.value(default, {})
            for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True)
        }
        scope |= {**dict(zip(names, arguments, strict=False)), **keywords}
        try:
            self._block(function.body, scope)
        except _Returned as returned:
            return returned.value
        finally:
            self._depth -= 1
        return None

    # Statements

    def _block(self, body: list[ast.stmt], scope: dict[str, Any]) -> None:
        for statement in body:
            self._count(1)
            self._statement(statement, scope)

    def _count(self, n_steps: int) -> None:
        self._steps += n_steps
        if self._steps > MAX_STEPS:
            raise ProgramError(f"more than {MAX_STEPS} steps")

    def _statement(self, statement: ast.stmt, scope: dict[str, Any]) -> None:
        match statement:
            case ast.Assign(targets=[target], value=value):
                self._assign(target, self.value(value, scope), scope)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self._assign(target, self.value(value, scope), scope)
            case ast.Expr(value=value):
                self.value(value, scope)
            case ast.Return(value=value):
                raise _Returned(None if value is None else self.value(value, scope))
            case ast.If(test=test, body=body, orelse=orelse):
                self._block(body if self.value(test, scope) else orelse, scope)
            case ast.For(target=target, iter=over, body=body):
                for item in self.value(over, scope):
                    self._assign(target, item, scope)
                    self._block(body, scope)
            case ast.While(test=test, body=body):
                while self.value(test, scope):
                    self._block(body, scope)
            case ast.Pass():
                pass
            case _:
                raise ProgramError(f"a statement of kind {type(statement).__name__}")

    def _assign(self, target: ast.expr, value: Any, scope: dict[str, Any]) -> None:
        match target:
            case ast.Name(id=name):
                scope[name] = value
            case ast.Tuple(elts=targets):
                for part, item in zip(targets, value, strict=True):
                    self._assign(part, item, scope)
            case ast.Attribute(value=holder, attr=name):
                module = self.value(holder, scope)
                if not isinstance(module, ScriptedModule) or name not in module.values:
                    raise ProgramError(f"it sets {name}")
                module.values[name] = value
            case _:
                raise ProgramError(f"an assignment to {type(target).__name__}")

    # Expressions

    def value(self, node: ast.expr, scope: dict[str, Any]) -> Any:
        """What an expression stands for."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return scope[name] if name in scope else _named(name)
            case ast.Attribute():
                return self._attribute(node, scope)
            case ast.Call():
                return self._call(node, scope)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                self._count(len(parts))
                values = [self.value(part, scope) for part in parts]
                return tuple(values) if isinstance(node, ast.Tuple) else values
            case ast.Dict(keys=keys, values=parts):
                self._count(len(parts))
                pairs = zip(keys, parts, strict=True)
                return {_key(self.value(key, scope)): self.value(part, scope) for key, part in pairs if key is not None}
            case ast.Subscript(value=held, slice=index):
                return self.value(held, scope)[self.value(index, scope)]
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.value(body if self.value(test, scope) else orelse, scope)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.value(operand, scope)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self.value(operand, scope)
        raise ProgramError(f"an expression of kind {type(node).__name__}")

    def _attribute(self, node: ast.Attribute, scope: dict[str, Any]) -> Any:
        parts = dotted(node)
        if parts[:1] == ["CONSTANTS"]:
            return self._constants[int(parts[1].removeprefix("c"))]
        if parts[:1] == ["__torch__"]:
            return ".".join(parts)  # a function or class of the program, by its name
        held = self.value(node.value, scope)
        if isinstance(held, ScriptedModule):
            return held.attribute(node.attr)
        if isinstance(held, tuple) and node.attr in getattr(held, "_fields", ()):
            return getattr(held, node.attr)
        raise ProgramError(f"the attribute {node.attr} of {type(held).__name__}")

    def _call(self, node: ast.Call, scope: dict[str, Any]) -> Any:
        match node.func, node.args:
            case ast.Name("annotate" | "unchecked_cast"), [_, value]:
                return self.value(value, scope)
            case ast.Name("uninitialized"), _:
                return None
            case ast.Name("getattr"), [held, ast.Constant(str(name))]:
                module = self.value(held, scope)
                if not isinstance(module, ScriptedModule):
                    raise ProgramError(f"the attribute {name} of {type(module).__name__}")
                return module.attribute(name)
            case ast.Name("isinstance"), [value, kind]:
                return _is_instance(self.value(value, scope), kind)
        arguments = [self.value(argument, scope) for argument in node.args]
        keywords = {str(keyword.arg): self.value(keyword.value, scope) for keyword in node.keywords}
        match dotted(node.func):
            case ["torch", name] | ["ops", "aten", name]:
                answer = _operator(name, arguments, keywords)
                made = arguments[-1] if name == "extend" else answer
                self._count(len(made) if isinstance(made, list | str) else 0)
                return answer
            case ["ops", "prim", name]:
                return _primitive(name, arguments)
            case ["__torch__", *_] as parts:
                return self._program_call(".".join(parts), arguments, keywords)
        if isinstance(node.func, ast.Attribute):
            return self._method_call(self.value(node.func.value, scope), node.func.attr, arguments, keywords)
        called = self.value(node.func, scope)
        if any(called is builtin for builtin in _BUILTINS.values()):
            return called(*arguments)
        return self._program_call(str(called), arguments, keywords)

    def _method_call(self, held: Any, name: str, arguments: list[Any], keywords: Mapping[str, Any]) -> Any:
        if isinstance(held, ScriptedModule):
            return self.method(held, name, arguments, **keywords)
        raise ProgramError(f"the method {name} of {type(held).__name__}")

    def _program_call(self, name: str, arguments: list[Any], keywords: Mapping[str, Any]) -> Any:
        function, made_of = self._program.functions.get(name), self._program.classes.get(name)
        if function is not None:
            return self._function(function, arguments, keywords)
        if made_of is not None and "NamedTuple" in made_of.bases:
            return namedtuple("Answer", made_of.fields, rename=True)(*arguments, **keywords)
        raise ProgramError(f"{name} is no function of the program")


def _bounded_range(*limits: int) -> range:
    counted = range(*limits)
    if len(counted) > MAX_STEPS:
        raise ProgramError(f"a loop of {len(counted)} rounds")
    return counted


def _text(value: Any) -> str:
    if not _is_flat(value):
        raise ProgramError("the text of a list of lists")
    return str(value)


def _key(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise ProgramError(f"a dictionary with a key that is a {type(value).__name__}")
    return value


def _is_flat(value: Any) -> bool:
    """Whether it holds no containers: those in containers in containers take time without end to compare or write."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return not any(isinstance(part, list | tuple | dict) for part in parts)


_BUILTINS: Mapping[str, Any] = {
    "range": _bounded_range, "len": len, "int": int, "float": float, "bool": bool, "str": _text,
    "inf": float("inf"), "nan": float("nan"),
}  # fmt: skip


def _named(name: str) -> Any:
    if name not in _BUILTINS:
        raise ProgramError(f"the name {name}")
    return _BUILTINS[name]


def _is_instance(value: Any, kind: ast.expr) -> bool:
    names = {"Tensor": Tensor, "int": int, "float": float, "str": str, "bool": bool, "NoneType": type(None)}
    listed = [part.id for part in ast.walk(kind) if isinstance(part, ast.Name)]
    if not set(listed) <= names.keys():
        raise ProgramError("isinstance of another type")
    return any(isinstance(value, names[name]) for name in listed)


def _power(base: float, exponent: float) -> float:
    small = isinstance(exponent, int) and 0 <= exponent < 64
    return base**exponent if small else math.pow(base, exponent)


_ON_VALUES: Mapping[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "floordiv": operator.floordiv, "remainder": operator.mod, "neg": operator.neg,
    "pow": _power, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le,
    "gt": operator.gt, "ge": operator.ge,
    "__and__": operator.and_, "__or__": operator.or_, "__xor__": operator.xor, "abs": abs,
    "slice": lambda held, start=None, end=None, step=1: held[start:end:step],
    "ceil": math.ceil, "floor": math.floor, "sqrt": math.sqrt, "exp": math.exp, "log": math.log,
    "round": lambda number: round(number),
    "insert": list.insert, "pop": list.pop, "reverse": list.reverse, "copy": list,
    "__getitem__": operator.getitem, "__contains__": operator.contains, "len": len,
    "append": list.append, "extend": list.extend, "list": list, "keys": list,
    "values": lambda held: list(held.values()), "items": lambda held: list(held.items()),
    "dict": lambda pairs=(): {_key(key): value for key, value in dict(pairs).items()},
    "format": lambda text, *values: _text(text), "str": _text,
    "_set_item": lambda held, key, value: operator.setitem(held, key if isinstance(held, list) else _key(key), value),
}  # fmt: skip
"""The same operators where no tensor takes part."""

_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "__contains__")


_TO_VALUES: Mapping[str, Callable[[Any], Any]] = {
    "Int": int, "Float": float, "Bool": bool, "IntImplicit": int, "FloatImplicit": float, "len": len,
    "ScalarImplicit": lambda tensor: tensor.item(),
}  # fmt: skip


def on_values(name: str, arguments: list[Any]) -> Any:
    """Compute without tensors: numbers have 64 bits, and lists are short.

    Raises:
        ProgramError: the result would be too large, or there is none.
    """
    held = arguments[0] if arguments and isinstance(arguments[0], list) else []
    if name in _COMPARISONS and not all(map(_is_flat, arguments)):
        raise ProgramError(f"torch.{name} of a list of lists")
    try:
        # Of a text or a list, either may be made as long as a number of the file says.
        lengthens = name in ("mul", "remainder") and any(isinstance(value, str | list | tuple) for value in arguments)
        result = _TOO_LARGE if lengthens else _ON_VALUES[name](*arguments)
    except ArithmeticError as error:
        raise ProgramError(f"torch.{name}: {error}") from None
    large = isinstance(result, int) and abs(result) >= 2**63
    if large or any(isinstance(made, str | list | tuple) and len(made) > MAX_LENGTH for made in (result, held)):
        raise ProgramError(f"torch.{name} of something too large")
    return result


_TRANSPOSED = 6
"""Place of `_convolution`'s argument of that name, behind those that it shares with conv2d."""


def _operator(name: str, arguments: list[Any], keywords: Mapping[str, Any]) -> Any:
    if name in INERT_OPERATORS:
        return False
    if not is_pure(name):
        raise ProgramError(f"torch.{name}")
    match name:
        case "__is__":
            return arguments[0] is arguments[1]
        case "__isnot__":
            return arguments[0] is not arguments[1]
        case "__not__":
            return not arguments[0]
        case "append" | "extend" | "insert" | "_set_item" | "format":
            return on_values(name, arguments)
        case "_convolution" if not arguments[_TRANSPOSED]:
            # What tracing leaves of conv2d, under the name that exporters know.
            groups = arguments[_TRANSPOSED + 2]
            return getattr(torch.ops.aten, f"conv{len(arguments[3])}d")(*arguments[:_TRANSPOSED], groups)
    if name in _ON_VALUES and not any(isinstance(value, Tensor) for value in arguments):
        return on_values(name, arguments)
    if name in _TO_VALUES:
        return _TO_VALUES[name](arguments[0])
    return getattr(torch.ops.aten, name)(*arguments, **keywords)


def _primitive(name: str, arguments: list[Any]) -> Any:
    match name, arguments:
        case "RaiseException", [message, *_]:
            raise ModelError(f"the program refuses the image ({_text(message)})")
        case "NumToTensor", [number]:
            return torch.tensor(number)
        case "min", values:
            return min(*values)
        case "max", values:
            return max(*values)
        case "abs", [value]:
            return abs(value)
        case "type", [torch.device() as device]:
            return device.type
        case "requires_grad" | "is_nested", _:  # as when nobody attacks: what it computes must not depend on that
            return False
        case "unchecked_cast", [*_, value]:
            return value
        case (
            ("device" | "dtype" | "layout" | "is_cuda" | "shape" | "data" | "itemsize" | "ndim"),
            [Tensor() as tensor],
        ):
            return getattr(tensor, name)
    raise ProgramError(f"ops.prim.{name}")
