"""From whatever a network answers to one row of numbers per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.typed import flag

LOGITS = "logits"
"""What Hugging Face and many others call the answer of a classifier."""


class Head(nn.Module):
    """A network with one of its outputs picked, and of these, where asked for, one finding."""

    def __init__(self, network: nn.Module, n_outputs: int, output: str | None, label_index: int | None) -> None:
        super().__init__()
        self.network = network
        self.n_outputs = n_outputs
        self.output = output
        self.label_index = label_index

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K)."""
        answer = self.network(x)
        picked = answer if self.output is None else named_outputs(answer)[self.output]
        # `.squeeze()` drops the batch of one image as well. No question is asked here: an export, which sees one
        # batch, would keep the answer for that length alone.
        row: Tensor = picked.reshape(-1, self.n_outputs)
        return row if self.label_index is None else row[:, self.label_index : self.label_index + 1]


def named_outputs(answer: Any) -> dict[str, Any]:
    """The parts of a structured answer: by key, by field, or by place."""
    if isinstance(answer, Mapping):
        return {str(key): value for key, value in answer.items()}
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        return dict(zip(answer._fields, answer, strict=True))
    if isinstance(answer, Sequence):
        return {str(index): value for index, value in enumerate(answer)}
    return {}


def as_row(answer: Any) -> Tensor | None:
    """(B, K) from (B, K), (B,) or (B, K, 1, 1); None where it is nothing of the kind."""
    if not isinstance(answer, Tensor) or not answer.is_floating_point() or answer.dim() == 0:
        return None
    if answer.dim() == 1:
        return answer.unsqueeze(1)
    return answer.flatten(1) if all(size == 1 for size in answer.shape[2:]) else None


def choose_output(path: Path, answer: Any, wanted: str | None) -> str | None:
    """Which part of an answer holds a number per class; None where the answer is no more than that.

    Raises:
        ModelError: none does, several do and none is called logits, or the one wanted is not there.
    """
    if isinstance(answer, Tensor):
        if wanted is not None:
            raise ModelError(f"{path}: has one output; leave {flag('--output', wanted)} out")
        if as_row(answer) is None:
            raise ModelError(
                f"{path}: answers {_shape(answer)} for a batch of images, wanted a number per class; {_way_out(answer)}"
            )
        return None
    outputs = named_outputs(answer)
    rows = [name for name, value in outputs.items() if as_row(value) is not None]
    shown = ", ".join(f"{name} {_shape(value)}" for name, value in outputs.items()) or type(answer).__name__
    if wanted is not None:
        if wanted not in rows:
            raise ModelError(f"{path}: has no output {wanted} of a number per class (it answers {shown})")
        return wanted
    if LOGITS in rows:
        return LOGITS
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise ModelError(f"{path}: answers {shown}, wanted a number per class; {_way_out(*outputs.values())}")
    raise ModelError(f"{path}: answers {shown}; say which holds a number per class with {flag('--output', rows[0])}")


def _way_out(*values: Any) -> str:
    """What to do with a network of such answers."""
    if any(isinstance(value, Tensor) and not value.is_floating_point() for value in values):
        return "these are whole numbers, decisions already: save it without its last argmax or threshold"
    return "save it so that it answers (images, classes), or pass --factory for a network that does"


def _shape(value: Any) -> str:
    return f"({', '.join(map(str, value.shape))})" if isinstance(value, Tensor) else type(value).__name__
