"""What a network answers with (logits, probabilities, log-probabilities, one number), and how logits are had of it.

Attacks want logits. A softmax that the network ends with rounds them to 0 and 1 and takes the gradient with it; where
it can be seen, it is left out of the computation, and what comes before it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from math import log
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, handle_torch_function, has_torch_function_unary

from robaudit.load.affine import is_sum_of_layers

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
    """Which call of softmax or sigmoid in a forward pass the answers come from; None: none was seen."""
    every: int = field(default=1, compare=False)
    """How many such calls one asking takes: a program of one size of batch is asked several times in a pass."""
    threshold: float = DEFAULT_THRESHOLD
    """Probability, within (0, 1), above which one output decides for the second class; others have none."""

    @property
    def is_one(self) -> bool:
        """Whether the network has one output, which tells two classes apart."""
        return self.kind in (OutputKind.ONE_LOGIT, OutputKind.ONE_PROBABILITY)

    @property
    def shift(self) -> float:
        """What is taken from one output z, so that it decides at 0: logit(threshold)."""
        return log(self.threshold / (1 - self.threshold))

    def logits(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Logits (B, K), two columns where the network has one output.

        One output z becomes [-s/2, s/2] with s = z - logit(threshold): at a threshold of 0.5 the same probability, at
        any other the same decision; and a gradient that fades at neither end.
        """
        with nullcontext() if self.behind is None else _Behind(self.behind, self.every):
            answers = _numbers(network(x))
        if self.behind is None:
            answers = _undone(answers, self.kind)
        return two_columns(answers, self.shift) if answers.shape[1] == 1 else answers

    def unshifted(self, logits: Tensor) -> Tensor:
        """The same logits (B, K) as at a threshold of 0.5, where their softmax is the network's own probability."""
        return logits + logits.new_tensor([-self.shift / 2, self.shift / 2]) if self.is_one and self.shift else logits

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
        if self.kind is OutputKind.ONE_PROBABILITY and self.behind is None:
            return f"the model answers with a number in [0, 1], taken for a probability; its logarithm is attacked{at}"
        how = "what it computes before that is attacked" if self.behind is not None else "their logarithm is attacked"
        one = " (one)" if self.kind is OutputKind.ONE_PROBABILITY else ""
        return f"the model answers with probabilities{one}; {how}{at}"


def find_outputs(network: nn.Module, x: Tensor) -> Outputs:
    """Look at a network's answers to pictures `x`, as it takes them, and find how logits are had from them."""
    with torch.no_grad():
        with _Counting() as counting:
            answers = _numbers(network(x))
        if counting.is_of_a_layer(answers):
            return Outputs(OutputKind.ONE_LOGIT if answers.shape[1] == 1 else OutputKind.LOGITS)
        kind = output_kind(answers)
        squash: Callable[[Tensor], Tensor] = Tensor.sigmoid
        if kind is OutputKind.PROBABILITIES:
            squash = _softmax
        elif kind is not OutputKind.ONE_PROBABILITY and not (kind is OutputKind.LOGITS and _within(answers)):
            return Outputs(kind)
        found = _last_squash(network, x, answers, squash, counting.n_calls)
        if kind is OutputKind.ONE_PROBABILITY and found is None and is_sum_of_layers(network, x[:1]):
            return Outputs(OutputKind.ONE_LOGIT)
    if kind is OutputKind.LOGITS:
        return Outputs(kind if found is None else OutputKind.FINDINGS)
    return Outputs(kind) if found is None else Outputs(kind, *found)


MAX_CANDIDATES = 4
"""Calls of softmax or sigmoid, from the last, that are tried: the others are gates and attention."""


def _last_squash(
    network: nn.Module, x: Tensor, answers: Tensor, squash: Callable[[Tensor], Tensor], n_calls: int
) -> tuple[int, int] | None:
    """The call without which a network answers what, squashed, are its answers, and how many calls one picture takes.

    What stands between that call and the answers (a reshape, a dictionary, one column of several) is left in.
    """
    with _Counting() as counting:
        network(x[:1])
    every = counting.n_calls
    if not every or n_calls % every:
        return None
    for call in range(every - 1, max(-1, every - 1 - MAX_CANDIDATES), -1):
        try:
            with _Behind(call, every):
                before = network(x)
        except Exception:  # what follows that call may take nothing but its result
            continue
        if before.shape == answers.shape and not torch.equal(before, answers):
            again = squash(before)
            if torch.allclose(again, answers, atol=TOLERANCE, rtol=0, equal_nan=True):
                return call, every
    return None


def two_columns(z: Tensor, shift: float = 0.0) -> Tensor:
    """One output z (B, 1) as logits [-s/2, s/2], s = z - shift; whoever watches calls sees it as one."""
    if has_torch_function_unary(z):
        return handle_torch_function(two_columns, (z,), z, shift)
    decided = z - shift if shift else z
    return torch.cat([-decided / 2, decided / 2], 1)


def _numbers(answers: Tensor) -> Tensor:
    """Answers to calculate with: a network may end in whole numbers."""
    return answers if answers.is_floating_point() else answers.float()


def _softmax(rows: Tensor) -> Tensor:
    return rows.softmax(1)


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


LAYERS: frozenset[Any] = frozenset(
    {F.linear, torch.addmm, torch.ops.aten.linear, torch.ops.aten.linear.default, torch.ops.aten.addmm.default}
)
"""Linear layers, as networks and programs name them."""


def version(tensor: Tensor) -> int:
    """How often a tensor was written to in place; 0 where nobody counts, as under `torch.inference_mode`."""
    return 0 if tensor.is_inference() else tensor._version


def are_still(answers: Tensor, result: Tensor, version_then: int) -> bool:
    """Whether answers are, or are some of, what a layer returned, at its version of then."""
    # An activation in place leaves the numbers where they were, and counts as another version of them.
    is_unchanged = version(result) == version_then
    return is_unchanged and answers.untyped_storage().data_ptr() == result.untyped_storage().data_ptr()


class _Counting(TorchFunctionMode):
    """Counts the softmaxes and sigmoids of a forward pass, and keeps what its last linear layer returned."""

    def __init__(self) -> None:
        super().__init__()
        self.n_calls = 0
        self._last: tuple[Tensor, int] | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.n_calls += func in _SQUASHES
        result = func(*args, **(kwargs or {}))
        if func in LAYERS:
            # A tensor made in inference mode does not tell how often it was written to: then its numbers must tell.
            self._last = None if result.is_inference() else (result, result._version)
        return result

    def is_of_a_layer(self, answers: Tensor) -> bool:
        """Whether answers are, or are some of, what a linear layer returned: logits, whatever their values are."""
        return self._last is not None and are_still(answers, *self._last)


class _Behind(TorchFunctionMode):
    """Leaves out one softmax or sigmoid of every few in a forward pass, and returns what it was given."""

    def __init__(self, call: int, every: int) -> None:
        super().__init__()
        self._call, self._every = call, every
        self._n_calls = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in _SQUASHES:
            self._n_calls += 1
            if (self._n_calls - 1) % self._every == self._call:
                return args[0] if args else (kwargs or {})["input"]
        return func(*args, **(kwargs or {}))
