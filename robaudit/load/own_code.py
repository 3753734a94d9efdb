"""The user's own code that a network computes with: an edited `forward` over the same weights is another model."""

from __future__ import annotations

import ast
import gc
import hashlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import resolve_name
from itertools import accumulate
from pathlib import Path
from types import ModuleType

from torch import nn

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STDLIB = sysconfig.get_path("stdlib")
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""Where a statement has others in it; no expression has any."""


def code_sha256(network: nn.Module, factory: str | None) -> str | None:
    """Hash of the source that a network is made of, as far as no installed library holds it; None where one does.

    That is the modules of the factory and of each layer's class, and what their import statements name. Code that was
    typed into a session has no file, and is not seen; nor is what code imports by a name that it works out.

    Args:
        network: with or without its weights.
        factory: `package.module:function` that made it, whose package counts wherever it lies.
    """
    made_in = factory.partition(":")[0] if factory else ""
    found: dict[str, str] = {}
    waiting = [sys.modules.get(name) for name in {made_in, *(type(layer).__module__ for layer in network.modules())}]
    while waiting:
        module = waiting.pop()
        if not isinstance(module, ModuleType) or module.__name__ in found:  # anything may stand among modules
            continue
        file = _own_file(module, made_in.partition(".")[0])
        if file is not None:
            content = file.read_bytes()
            found[module.__name__] = hashlib.sha256(content).hexdigest()
            waiting += map(sys.modules.get, _imported_by(content, module.__package__))
    lines = [f"{name} {sha256}\n" for name, sha256 in sorted(found.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else None


def _own_file(module: ModuleType, package: str) -> Path | None:
    """The source of a module; None where it is a library's, and no part of `package`."""
    if not isinstance(named := getattr(module, "__file__", None), str) or not (file := Path(named)).is_file():
        return None
    top, *below = module.__name__.split(".")
    depth = len(below) + (file.stem == "__init__")
    is_library = (
        _INSTALLED & set(file.parts)
        or file.is_relative_to(_STDLIB)
        or _holds_installed(file.parents[min(depth, len(file.parents) - 1)])
    )
    return None if top == "robaudit" or (is_library and top != package) else file


@cache
def _holds_installed(folder: Path) -> bool:
    """Whether an installer puts its packages into a folder, whatever its name: `pip install --target`."""
    return any(folder.glob("*.dist-info"))


def _imported_by(content: bytes, package: str | None) -> Iterator[str]:
    """Names of what a source file imports, modules and others: to ask its values would run the user's code."""
    for statement in _imports(content):
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield from accumulate(alias.name.split("."), "{}.{}".format)  # `import a.b` gives a
        else:
            with suppress(ImportError):  # from above the top, where nobody got to
                origin = resolve_name("." * statement.level + (statement.module or ""), package)
                yield from (origin, *(f"{origin}.{alias.name}" for alias in statement.names))


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the garbage collector from looking through a growing tree again and again: most of the time went there."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@cache
@_without_collection()
def _imports(content: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The import statements of a source file, wherever they stand in it."""
    found: list[ast.Import | ast.ImportFrom] = []
    waiting: list[ast.AST] = [_parsed(content)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        for block in _BLOCKS:
            waiting += getattr(node, block, ())
    return tuple(found)


def _parsed(content: bytes) -> ast.AST:
    """A source file; empty where it is no Python, as a compiled module is not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's code, told when it was imported
            return ast.parse(content)
    except (SyntaxError, ValueError):
        return ast.Module([], [])
