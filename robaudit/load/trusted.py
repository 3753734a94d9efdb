"""Loading what runs code, for the one file whose hash a person has named."""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.errors import ModelError, first_line
from robaudit.load.kinds import Kind


def require_trust(path: Path, found: str, trust: str | None) -> None:
    """Refuse a pin that is not the file's.

    Args:
        path: of the file, for the message.
        found: its hash.
        trust: the hash a person named; None where they named none.

    Raises:
        ModelError: the two differ.
    """
    if trust is not None and trust.strip().lower().removeprefix("sha256:").lstrip() != found:
        raise ModelError(f"{path}: has the hash {found}, --trust names another; check where the file comes from")


def load_trusted(file: Path, kind: Kind, sha256: str) -> nn.Module:
    """Load a file whose code may run. The bytes that are run are the bytes that were hashed.

    Raises:
        ModelError: the file has changed since it was hashed, its code cannot be imported, or it holds no network.
    """
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{file}: has changed since its hash was taken; start again")
    with own_code_importable(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the loaders of programs are deprecated, the files are not
        try:
            loaded = _unpickled(content, kind)
        except (ImportError, AttributeError) as error:
            raise ModelError(
                f"{file}: its code cannot be imported ({error}); run robaudit where that module is"
            ) from None
        except Exception as error:
            # Somebody's code has run: it can fail in any way.
            raise ModelError(f"{file}: cannot be loaded ({type(error).__name__}: {first_line(error)})") from None
    return _module_in(file, loaded)


def _module_in(file: Path, loaded: Any) -> nn.Module:
    """The network itself, or the only one among the entries of a checkpoint."""
    if isinstance(loaded, nn.Module):
        return loaded
    entries = loaded if isinstance(loaded, dict) else {}
    modules = {key: value for key, value in entries.items() if isinstance(value, nn.Module)}
    if len(modules) > 1:
        raise ModelError(f"{file}: holds networks {', '.join(map(str, modules))}; save the one meant on its own")
    if not modules:
        raise ModelError(f"{file}: holds a {type(loaded).__name__}, wanted a torch module")
    return next(iter(modules.values()))


def _unpickled(content: bytes, kind: Kind) -> Any:
    match kind:
        case Kind.TORCHSCRIPT:
            return torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]
        case Kind.EXPORTED_PROGRAM:
            return TrustedProgram(torch.export.load(io.BytesIO(content)).module())
        case Kind.PICKLE:
            return pickle.loads(content)
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)


class TrustedProgram(nn.Module):
    """An exported program, which has no modes: it computes as it was exported."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> TrustedProgram:
        """Note the mode; torch refuses it on the program itself."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> Any:
        """(B, C, H, W) -> whatever the program answers."""
        return self.program(x)


def call_factory(name: str) -> nn.Module:
    """A network from the user's own code: `package.module:function`, called without arguments.

    Raises:
        ModelError: there is no such function, it fails, or what it returns is no network.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise ModelError(f"--factory {name}: wanted package.module:function")
    with own_code_importable(), torch.random.fork_rng():
        try:
            made = getattr(importlib.import_module(module_name), function_name)()
        except Exception as error:
            # The user's code: it can fail in any way, and where it does is theirs to know.
            raise ModelError(
                f"--factory {name}: {type(error).__name__}: {first_line(error)}; wanted a function without arguments "
                "that returns the network"
            ) from None
    if not isinstance(made, nn.Module):
        raise ModelError(f"--factory {name}: returned a {type(made).__name__}, wanted a torch module")
    return made


@contextmanager
def own_code_importable() -> Iterator[None]:
    """Let modules of the current folder be imported, as `python` itself would."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
