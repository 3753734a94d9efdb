"""What the outputs of a model stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robaudit.errors import ModelError
from robaudit.load.stated import REGRESSION, Stated

SHOWN = 10
"""Names of classes that a message quotes."""


def class_names(
    path: Path,
    n_outputs: int,
    given: Sequence[str] | None,
    own: Sequence[str],
    of_the_data: Sequence[str] | None,
    *,
    is_finding: bool = False,
) -> tuple[str, ...]:
    """Names in the order of the logits: those given, else the model's own, else the data's, else numbers.

    Args:
        path: of the model, for the message.
        n_outputs: of the network; one output tells two classes apart.
        given: by the person.
        own: what the file or folder says.
        of_the_data: class folders, sorted.
        is_finding: whether the one output is one of several findings, and `own` names all of them; a retrofit of one
            finding has two classes of its own.

    Raises:
        ModelError: there are more or fewer than the outputs tell apart, or a name repeats.
    """
    n_classes = max(2, n_outputs)
    usable = () if is_finding or (n_outputs == 1 and len(own) != n_classes) else own
    names = tuple(map(str, given or usable or of_the_data or range(n_classes)))
    if len(names) != n_classes:
        whose = "--classes lists" if given else "its configuration lists" if names == tuple(own) else "the data has"
        outputs = f"{n_outputs} outputs" if n_outputs > 1 else "one output, which tells two classes apart"
        raise ModelError(
            f"{path}: has {outputs}, {whose} {len(names)} classes ({', '.join(names)}); "
            "pass the model's own classes with --classes, or join folders with --merge; if its outputs are findings "
            "that do not exclude each other, audit one with --label-index"
        )
    if names == tuple(of_the_data or ()) and not (given or usable) and _is_order_of_digits(names):
        raise ModelError(
            f"{path}: classes {', '.join(names)} are numbers, and names of folders have another order than numbers; "
            f"pass --classes with the order of the outputs, such as {','.join(sorted(names, key=int))}"
        )
    if len(set(names)) < len(names):
        raise ModelError(f"{path}: classes {', '.join(names)} repeat a name; pass different ones with --classes")
    return names


def require_one_order(path: Path, own: Stated) -> None:
    """Make sure that the file does not state the same classes in two orders.

    Raises:
        ModelError: it does.
    """
    if own.contradiction is None:
        return
    one, other = (",".join(names[:SHOWN]) + ("..." if len(names) > SHOWN else "") for names in own.contradiction)
    raise ModelError(
        f"{path}: states its classes in two orders, {one} and {other}; pass the order of the outputs with --classes"
    )


def _is_order_of_digits(names: Sequence[str]) -> bool:
    """Whether 10 comes before 2: as folders are sorted, and as a table of numbers does not mean it."""
    return all(name.isascii() and name.isdecimal() for name in names) and list(names) != sorted(names, key=int)


def require_one_output(path: Path, n_outputs: int, threshold: float | None) -> None:
    """Where a threshold is given, make sure that it is a probability and that one output is decided by it.

    Raises:
        ModelError: it is none, or the model has several outputs, of which the largest decides.
    """
    if threshold is None:
        return
    if not 0 < threshold < 1:
        raise ModelError(f"--threshold {threshold:g}: wanted a probability above 0 and below 1, such as 0.3")
    if n_outputs != 1:
        raise ModelError(
            f"{path}: has {n_outputs} outputs, and the largest decides; --threshold is for a model of one output "
            "(or one finding, with --label-index): leave it out"
        )


def require_finding(path: Path, n_outputs: int, label_index: int | None, own: Stated) -> None:
    """Where the outputs are findings, several of which can be true of one image, make sure that one is chosen.

    Raises:
        ModelError: none is chosen, or one that is not there; or the outputs are quantities.
    """
    if own.is_regression:
        raise ModelError(f"{path}: {REGRESSION}")
    listed = ", ".join(f"{index} {name}" for index, name in enumerate(own.labels)) or f"0 to {n_outputs - 1}"
    if label_index is not None and not 0 <= label_index < n_outputs:
        raise ModelError(f"{path}: has {n_outputs} outputs, got --label-index {label_index}; wanted one of {listed}")
    if label_index is None and own.many_findings and n_outputs > 1:
        raise ModelError(
            f"{path}: its outputs are findings that do not exclude each other, and an audit counts one right answer "
            f"per image; audit one of them with --label-index ({listed})"
        )
