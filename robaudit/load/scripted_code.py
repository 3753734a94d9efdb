"""The program of a TorchScript file, parsed and never run: its classes, its functions, and what they call.

TorchScript prints its programs as a small part of Python, so Python's own parser reads them into a tree. What the
tree may hold is listed here; anything else, and every operator that does more than compute, is told by name.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from robaudit.errors import first_line
from robaudit.load.archive import Archive
from robaudit.load.aten import INERT_OPERATORS, PURE_PRIMITIVES, is_pure
from robaudit.load.kinds import ProgramError

MAX_CODE_BYTES = 8 * 2**20
MAX_NODES = 400_000
BUILTINS = frozenset({"annotate", "unchecked_cast", "uninitialized", "getattr", "isinstance", "range", "len"}) | {
    "int", "float", "bool", "str",
}  # fmt: skip
"""Functions that TorchScript calls by a bare name; all of them only look at or convert values."""

_STATEMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.If, ast.For, ast.While, ast.Pass, ast.Return, ast.Expr)
_EXPRESSIONS = (
    ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.Tuple, ast.List, ast.Dict, ast.Subscript, ast.IfExp,
    ast.UnaryOp, ast.BoolOp, ast.Compare,
)  # fmt: skip
_GRAMMAR = (
    *_STATEMENTS, *_EXPRESSIONS, ast.expr_context, ast.unaryop, ast.boolop, ast.cmpop, ast.keyword, ast.operator,
    ast.arguments, ast.arg, ast.FunctionDef,
)  # fmt: skip


@dataclass(frozen=True)
class ScriptClass:
    """A class of the program."""

    name: str
    bases: tuple[str, ...]
    methods: Mapping[str, ast.FunctionDef]
    fields: tuple[str, ...]
    parameters: frozenset[str]
    constants: Mapping[str, object]
    """Attributes whose value stands in the code; of an enumeration, its members."""

    def __deepcopy__(self, memo: object) -> "ScriptClass":
        return self


@dataclass
class Program:
    """Everything the code of a file defines, and what it calls; never changed once read."""

    classes: dict[str, ScriptClass] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    operators: set[str] = field(default_factory=set)
    not_pure: set[str] = field(default_factory=set)
    """What takes a person's consent."""

    def __deepcopy__(self, memo: object) -> "Program":
        return self


def read_program(archive: Archive, root: str) -> Program:
    """Parse all code of a TorchScript archive.

    Raises:
        ArchiveError: an entry is damaged or too long.
        ProgramError: an entry is no code.
    """
    program = Program()
    left = MAX_CODE_BYTES
    for name in archive.matching(re.escape(root) + r"code/.*\.py"):
        code = archive.read(name, left)
        left -= len(code)
        unit = name.removeprefix(f"{root}code/").removesuffix(".py").replace("/", ".")
        _read_unit(program, unit, _tree(unit, code))
    return program


def _tree(unit: str, code: bytes) -> ast.Module:
    # Only what both Python's lexer and TorchScript's read alike.
    if re.search(rb"[^\n\x20-\x7e]", code):
        raise ProgramError(f"{unit}: characters that TorchScript does not write")
    try:
        return ast.parse(code.decode("ascii"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ProgramError(f"{unit}: {first_line(error)}") from None


def _read_unit(program: Program, unit: str, tree: ast.Module) -> None:
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            program.functions[f"{unit}.{statement.name}"] = statement
            _note_calls(program, statement)
        elif isinstance(statement, ast.ClassDef):
            read = _class(f"{unit}.{statement.name}", statement)
            program.classes[read.name] = read
            if not {"Module", "NamedTuple", "Enum"} & set(read.bases):
                program.not_pure.add(f"class {statement.name}")
            for method in read.methods.values():
                _note_calls(program, method)
        elif not isinstance(statement, ast.ImportFrom | ast.Import | ast.Pass):
            raise ProgramError(f"{unit}: a statement outside a function")


def _class(name: str, tree: ast.ClassDef) -> ScriptClass:
    methods: dict[str, ast.FunctionDef] = {}
    fields: list[str] = []
    parameters: frozenset[str] = frozenset()
    constants: dict[str, object] = {}
    bases = tuple(base.id for base in tree.bases if isinstance(base, ast.Name))
    is_enum = "Enum" in bases
    for statement in tree.body:
        match statement:
            case ast.FunctionDef():
                methods[statement.name] = statement
            case ast.AnnAssign(target=ast.Name(attribute), value=value):
                fields.append(attribute)
                if value is not None:
                    constants[attribute] = _literal(name, value)
            case ast.Assign(targets=[ast.Name("__parameters__")], value=ast.List(listed)):
                parameters = frozenset(str(item.value) for item in listed if isinstance(item, ast.Constant))
            case ast.Assign(targets=[ast.Name("__buffers__")]) | ast.Pass():
                pass
            case ast.Assign(targets=[ast.Subscript(value=ast.Name("__annotations__"))]):
                pass
            case ast.Assign(targets=[ast.Name(member)], value=value) if is_enum:
                constants[member] = _literal(name, value)
            case _:
                raise ProgramError(f"{name}: a statement that is neither a method nor an attribute")
    return ScriptClass(name, bases, methods, tuple(fields), parameters, constants)


def _literal(name: str, value: ast.expr) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise ProgramError(f"{name}: an attribute whose value is no constant") from None


def _note_calls(program: Program, function: ast.FunctionDef) -> None:
    if function.name in ("__setstate__", "__getstate__"):
        program.not_pure.add(function.name)
    if function.decorator_list:
        program.not_pure.add("a decorator")
    # A local variable may hold a function of the program.
    known = BUILTINS | {node.id for node in ast.walk(function) if _is_assigned(node)}
    for number, node in enumerate(_code_of(function)):
        if number > MAX_NODES:
            raise ProgramError(f"{function.name}: more than {MAX_NODES} parts")
        if not isinstance(node, _GRAMMAR):
            program.not_pure.add(type(node).__name__.lower())
        if isinstance(node, ast.Attribute):
            _note_attribute(program, node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in known:
            program.not_pure.add(node.func.id)


def _is_assigned(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _code_of(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Everything in a function but its annotations: types compute nothing."""
    for statement in function.body:
        yield from ast.walk(statement)
    yield from (node for default in function.args.defaults for node in ast.walk(default))


def _note_attribute(program: Program, node: ast.Attribute) -> None:
    match dotted(node):
        case ["torch", operator]:
            program.operators.add(operator)
            if not is_pure(operator) and operator not in INERT_OPERATORS:
                program.not_pure.add(f"torch.{operator}")
        case ["ops", "prim", operator]:
            if operator not in PURE_PRIMITIVES:
                program.not_pure.add(f"ops.prim.{operator}")
        case ["ops", "aten", operator]:
            program.operators.add(operator)
            if not is_pure(operator):
                program.not_pure.add(f"ops.aten.{operator}")
        case ["ops", space, operator]:
            program.not_pure.add(f"ops.{space}.{operator}")
        case ["__torch__", "torch", "classes", *rest]:
            program.not_pure.add(".".join(["torch.classes", *rest]))


def dotted(node: ast.expr) -> list[str]:
    """The parts of a dotted name; empty where the expression is something else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []
