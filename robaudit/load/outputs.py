"""What a network answers with (logits, probabilities, log-probabilities, one number), and how logits are had of it.

Attacks want logits. A softmax that the network ends with rounds them to 0 and 1 and takes the gradient with it; where
it can be seen, it is left out of the computation, and what comes before it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

DEFAULT_THRESHOLD = 0.5
TOLERANCE = 1e-5
"""How far probabilities may leave [0, 1] and sum to other than 1 (Croce & Hein 2020, as AutoAttack checks it)."""


class OutputKind(StrEnum):
    """What a network answers with."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log-probabilities"
    ONE_LOGIT = "one-logit"
    """One number, of which the sigmoid is the probability of the second class."""
    ONE_PROBABILITY = "one-probability"
    FINDINGS = "findings"
    """Several sigmoids, each a probability by itself: more than one can be true of an image."""


def output_kind(outputs: Tensor) -> OutputKind:
    """Tell from a network's answers (N, K) to some pictures what they are; rows that are not finite are left out."""
    rows = outputs.detach().float()
    rows = rows[rows.isfinite().all(1)]
    within = _within(rows)
    if outputs.shape[1] == 1:
        return OutputKind.ONE_PROBABILITY if within else OutputKind.ONE_LOGIT
    if within and bool(((rows.sum(1) - 1).abs() <= TOLERANCE * rows.shape[1]).all()):
        return OutputKind.PROBABILITIES
    if len(rows) and bool((rows <= TOLERANCE).all()) and bool((rows.logsumexp(1).abs() <= 10 * TOLERANCE).all()):
        return OutputKind.LOG_PROBABILITIES
    return OutputKind.LOGITS


def _within(rows: Tensor) -> bool:
    """Whether there are numbers (N, K), and all of them could be probabilities."""
    return bool(len(rows)) and bool(((rows >= -TOLERANCE) & (rows <= 1 + TOLERANCE)).all())


@dataclass(frozen=True)
class Outputs:
    """How logits are had from a network: as they are, from before its last softmax, or by undoing it."""

    kind: OutputKind = OutputKind.LOGITS
    behind: int | None = None
    """Which call of softmax or sigmoid in a forward pass is the last thing the network does; None: none was seen."""
    threshold: float = DEFAULT_THRESHOLD
    """Probability, within (0, 1), above which one output decides for the second class; others have none."""

    @property
    def shift(self) -> float:
        """What is taken from one output z, so that it decides at 0: logit(threshold)."""
        return log(self.threshold / (1 - self.threshold))

    def logits(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Logits (B, K), two columns where the network has one output.

        One output z becomes [-s/2, s/2] with s = z - logit(threshold): at a threshold of 0.5 the same probability, at
        any other the same decision; and a gradient that fades at neither end.
        """
        with nullcontext() if self.behind is None else _Behind(self.behind):
            answers = network(x)
        if self.behind is None:
            answers = _undone(answers, self.kind)
        if answers.shape[1] == 1:
            decided = answers - self.shift if self.shift else answers
            return torch.cat([-decided / 2, decided / 2], 1)
        return answers

    @property
    def words(self) -> str:
        """What was done, for a person; empty where the answers were logits."""
        if self.kind is OutputKind.LOGITS:
            return ""
        if self.kind is OutputKind.LOG_PROBABILITIES:
            return "the model answers with log-probabilities, which serve as logits"
        at = f", at its threshold of {self.threshold:g}" if self.shift else ""
        if self.kind is OutputKind.ONE_LOGIT:
            s = f"[-s/2, s/2] with s = z {-self.shift:+.3f}" if self.shift else "[-z/2, z/2]"
            return f"the model answers with one logit z, attacked as {s}{at}"
        how = "what it computes before that is attacked" if self.behind is not None else "their logarithm is attacked"
        one = " (one)" if self.kind is OutputKind.ONE_PROBABILITY else ""
        return f"the model answers with probabilities{one}; {how}{at}"


def find_outputs(network: nn.Module, x: Tensor) -> Outputs:
    """Look at a network's answers to pictures `x`, as it takes them, and find how logits are had from them."""
    with torch.no_grad():
        with _Watching() as watching:
            answers = network(x)
        kind = output_kind(answers)
        if kind is OutputKind.LOGITS and _within(answers) and watching.call_that_returned(answers) is not None:
            return Outputs(OutputKind.FINDINGS)
        if kind not in (OutputKind.PROBABILITIES, OutputKind.ONE_PROBABILITY):
            return Outputs(kind)
        behind = watching.call_that_returned(answers)
        if behind is None:
            return Outputs(kind)
        with _Behind(behind):
            before = network(x)
    again = before.sigmoid() if kind is OutputKind.ONE_PROBABILITY else before.softmax(1)
    same = before.shape == answers.shape and torch.allclose(again, answers, atol=TOLERANCE, rtol=0, equal_nan=True)
    return Outputs(kind, behind if same else None)


def _undone(answers: Tensor, kind: OutputKind) -> Tensor:
    """The logits of probabilities, as far as rounding has left them; other answers as they are."""
    tiny = torch.finfo(answers.dtype).tiny
    if kind is OutputKind.PROBABILITIES:
        return answers.clamp_min(tiny).log()
    if kind is OutputKind.ONE_PROBABILITY:
        return answers.clamp_min(tiny).log() - (1 - answers).clamp_min(tiny).log()
    return answers


_SQUASHES: frozenset[Any] = frozenset(
    {
        *(torch.softmax, Tensor.softmax, F.softmax),
        *(torch.sigmoid, Tensor.sigmoid, F.sigmoid, torch.special.expit),
        # As programs (TorchScript, torch.export) name them.
        *(torch.ops.aten.softmax, torch.ops.aten.softmax.int, torch.ops.aten._softmax, torch.ops.aten._softmax.default),
        *(torch.ops.aten.sigmoid, torch.ops.aten.sigmoid.default),
    }
)


class _Watching(TorchFunctionMode):
    """Keeps what every softmax and sigmoid of a forward pass returned."""

    def __init__(self) -> None:
        super().__init__()
        self._returned: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _SQUASHES:
            self._returned.append(result)
        return result

    def call_that_returned(self, answers: Tensor) -> int | None:
        """Index of the call whose result the network handed on unchanged; None where there was none."""
        for index, result in reversed(list(enumerate(self._returned))):
            if result.data_ptr() == answers.data_ptr() and result.numel() == answers.numel():
                return index
        return None


class _Behind(TorchFunctionMode):
    """Leaves out one softmax or sigmoid of a forward pass, and returns what it was given."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self._calls_left = call

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _SQUASHES:
            self._calls_left -= 1
            if self._calls_left == -1:
                return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))
