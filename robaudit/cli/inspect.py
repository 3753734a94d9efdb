"""`robaudit inspect`: say what a model file holds, without running anything from it."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robaudit.cli import options
from robaudit.inert import inert
from robaudit.typed import flag

if TYPE_CHECKING:
    from robaudit.load.description import Description

SHOWN_LAYERS = 3
SHOWN_NAMES = 12
Line = tuple[str, str]


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file or folder.")],
    as_json: options.AsJson = False,
) -> None:
    """Say what a model file holds, without running anything from it."""
    from dataclasses import replace

    from robaudit.load.contents import read_contents
    from robaudit.load.description import describe
    from robaudit.load.hub import local_folder

    description = describe(replace(read_contents(local_folder(model)), path=model))
    if as_json:
        typer.echo(json.dumps(description.document(), indent=2))
        return

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if _is_terminal() else 10_000)
    for title, lines in _sections(description):
        table = Table.grid(padding=(0, 2))
        table.add_column(width=14)
        table.add_column(overflow="fold")
        for label, value in lines:
            # A Text, not a string: whatever the file's strings hold, rich reads no markup in them.
            table.add_row(Text(label, "dim"), Text(inert(value), "yellow" if label in _WARNING else ""))
        if table.row_count:
            console.print(Text(title, "bold"))
            console.print(table)
    if description.command is not None:
        console.print(Text("Audit", "bold"))
        # On one line however narrow the terminal: it is there to be copied.
        console.print(Text(inert(description.command)), soft_wrap=True)


_METADATA = {"epoch": "epoch", "pytorch-lightning_version": "lightning", "best_acc": "best_acc", "arch": "arch"}
"""Entries of a training checkpoint worth a line, and what the line is called."""
_WARNING = ("would run", "left out", "not computed", "not clear")


def _is_terminal() -> bool:
    import sys

    return sys.stdout.isatty()


def _sections(description: "Description") -> Iterator[tuple[str, list[Line]]]:
    yield "File", list(_file(description))
    yield "Network", list(chain(_network(description), _layers(description)))
    yield "What it says of itself", list(_statements(description))
    yield "Code", list(_code(description))
    if description.obstacle is not None:
        yield "Audit", [("scan refuses", description.obstacle)]


def _file(description: "Description") -> Iterator[Line]:
    contents = description.contents
    yield "path", str(contents.path)
    yield "kind", contents.kind + (f", weights in {contents.weights_kind}" if contents.weights_kind else "")
    yield "sha256", contents.sha256
    yield "size", f"{contents.size_bytes:,} bytes"


def _network(description: "Description") -> Iterator[Line]:
    from robaudit.load.kinds import PROGRAMS

    state = description.state
    yield "architecture", _architecture(description)
    if description.input_size is not None:
        (height, width), source = description.input_size
        yield "input size", f"{height} x {width}, by its {source}"
    if state is None:
        return
    dtypes = ", ".join(sorted({tensor.dtype for tensor in state.tensors.values()}))
    yield "parameters", f"{description.n_parameters:,} in {len(state.tensors)} tensors ({dtypes})"
    if state.nesting or state.prefix:
        yield "weights", f"under {'.'.join(state.nesting) or 'the top'}, prefix {state.prefix or 'none'}"
    if state.normalizer is not None and description.contents.file_kind not in PROGRAMS:  # a program normalises itself
        yield (
            "normalises",
            f"in a layer in front ({', '.join(state.normalizer)}), which scan takes for its mean and std",
        )
    if state.alternatives:
        places = [".".join(path) or "tensors at the top" for path in state.alternatives]
        yield "also holds", f"{', '.join(places)}; {flag('--weights', places[0])} takes it instead"


def _architecture(description: "Description") -> str:
    names = description.architectures
    if description.operators and not names:
        return "the file carries its own program"
    if len(names) > 1:
        return f"one of {', '.join(names)}; --arch settles it"
    return names[0] if names else "not recognised; --arch or --factory names it"


def _layers(description: "Description") -> Iterator[Line]:
    weights = [(name, tensor) for name, tensor in description.tensors.items() if len(tensor.shape) > 1]
    first, last = weights[:SHOWN_LAYERS], weights[SHOWN_LAYERS:][-SHOWN_LAYERS:]
    for label, layers in (("begins with", first), ("ends with", last)):
        for name, tensor in layers:
            yield label, f"{name} {' x '.join(map(str, tensor.shape))}"
            label = ""


def _statements(description: "Description") -> Iterator[Line]:
    own = description.stated
    if own.contradiction:
        yield (
            "classes",
            f"{' or '.join(map(_some, own.contradiction))}, which contradict each other; --classes settles it",
        )
    elif own.labels:
        yield "classes", _some(own.labels)
    elif own.possible_labels:
        yield "classes", f"{_some(own.possible_labels)}, if it has as many outputs"
    if own.many_findings:
        yield "findings", "do not exclude each other; --label-index chooses one"
    if own.threshold is not None:
        yield "threshold", f"its one output means the second class above a probability of {own.threshold:g}"
    if own.mean is not None and own.std is not None:
        yield "mean", _numbers(own.mean)
        yield "std", _numbers(own.std)
    for unclear in (own.unclear_normalization, own.unclear_size):
        if unclear is not None:
            yield "not clear", unclear
    for key, label in _METADATA.items():
        value = description.contents.metadata.get(key)
        if isinstance(value, str | int | float):
            yield label, str(value)


def _code(description: "Description") -> Iterator[Line]:
    contents = description.contents
    if description.operators:
        yield "computes with", _some(description.operators)
    if contents.not_pure:
        yield "not computed", _some(contents.not_pure)
    if description.left_out:
        yield "left out", f"{_some(description.left_out)}: the weights load without running it"
    elif contents.foreign_globals:
        yield "would run", _some(contents.foreign_globals)


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
