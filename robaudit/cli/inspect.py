"""`robaudit inspect`: say what a model file holds, without running anything from it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robaudit.inert import inert

if TYPE_CHECKING:
    from robaudit.load.description import Description

SHOWN_LAYERS = 3


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file or folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a model file holds, without running anything from it."""
    from robaudit.load.contents import read_contents
    from robaudit.load.description import describe

    description = describe(read_contents(model))
    if as_json:
        typer.echo(json.dumps(description.document(), indent=2))
        return

    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for label, value in _lines(description):
        # A Text, not a string: whatever the file's strings hold, rich reads no markup in them.
        console.print(Text.assemble((f"{label:<14}", "bold"), inert(value)), soft_wrap=True)


def _lines(description: "Description") -> Iterator[tuple[str, str]]:
    contents, state = description.contents, description.state
    yield "file", str(contents.path)
    yield "kind", contents.kind
    yield "sha256", contents.sha256
    yield "size", f"{contents.size_bytes:,} bytes"
    if state is not None:
        dtypes = ", ".join(sorted({tensor.dtype for tensor in state.tensors.values()}))
        yield "parameters", f"{description.n_parameters:,} in {len(state.tensors)} tensors ({dtypes})"
    if state is not None and (state.nesting or state.prefix):
        yield "weights", f"under {'.'.join(state.nesting) or 'the top'}, prefix {state.prefix or 'none'}"
    if state is not None and state.alternatives:
        yield "also holds", ", ".join(".".join(path) or "tensors at the top" for path in state.alternatives)
    yield "architecture", _architecture(description.architectures)
    if description.classes:
        yield "classes", ", ".join(description.classes)
    for key, value in description.normalization.items():
        yield key, str(value)
    yield from _layers(description)
    if contents.foreign_globals:
        yield "imports", ", ".join(contents.foreign_globals)
    if description.command is not None:
        yield "scan", description.command
    else:
        yield "scan refuses", description.obstacle or ""


def _architecture(names: tuple[str, ...]) -> str:
    if len(names) > 1:
        return f"one of {', '.join(names)}; --arch settles it"
    return names[0] if names else "not recognised; --arch names it"


def _layers(description: "Description") -> Iterator[tuple[str, str]]:
    weights = [(name, tensor) for name, tensor in description.tensors.items() if len(tensor.shape) > 1]
    first, last = weights[:SHOWN_LAYERS], weights[SHOWN_LAYERS:][-SHOWN_LAYERS:]
    for label, layers in (("begins with", first), ("ends with", last)):
        for name, tensor in layers:
            yield label, f"{name} {' x '.join(map(str, tensor.shape))}"
            label = ""
