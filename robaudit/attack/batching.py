"""Images ask for gradients and judgements; this answers them in full batches of one fixed shape.

Every image is a coroutine that yields requests. The scheduler keeps a queue per kind of request and always runs a full
batch where it can, starting further images whenever neither queue is full: a finished image's place is refilled at
once. Batches are padded to one shape, so what an image is told never depends on its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from robaudit.attack.losses import Loss, ascent_loss
from robaudit.attack.step import Iterate, take_steps

T = TypeVar("T")


@dataclass(frozen=True)
class Ascend:
    """Ask for the gradient at an iterate's point, and for its next step."""

    iterate: Iterate


@dataclass(frozen=True)
class Evaluation:
    """What was seen at an iterate's point before it moved on. Views into a batch: clone what is to be kept."""

    point: Tensor
    gradient: Tensor
    loss: float
    prediction: int | None
    """Of the working copy; None where it gave no finite answer."""


@dataclass(frozen=True)
class Judge:
    """Ask the untouched model, in float32, what it sees in these pictures."""

    pictures: Sequence[Tensor]


Predictions = list[int | None]
"""Class indices; None: no finite answer."""
Dialogue = Generator[Ascend | Judge, Evaluation | Predictions | None, T]
"""A coroutine that asks and is answered (`Ascend` by `Evaluation`, `Judge` by `Predictions`), and returns a T."""


def ascend(iterate: Iterate) -> Dialogue[Evaluation]:
    """Ask for a gradient and a step."""
    answer = yield Ascend(iterate)
    assert isinstance(answer, Evaluation)
    return answer


def judge(pictures: Sequence[Tensor]) -> Dialogue[Predictions]:
    """Ask for the untouched model's predictions."""
    answer = yield Judge(pictures)
    assert isinstance(answer, list)
    return answer


class Logits(Protocol):
    """(B, C, H, W) in [0, 1] -> logits (B, K)."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Answer a batch."""


@dataclass
class Work:
    """What an image has cost, and how many of its gradients were useless."""

    gradients: int = 0
    forwards: int = 0
    margin_gradients: int = 0
    """Of `gradients`, those of the margin loss, which cannot fade with confidence."""
    zero_gradients: int = 0
    zero_margin_gradients: int = 0
    non_finite_gradients: int = 0


@dataclass(frozen=True)
class Task(Generic[T]):
    """A dialogue, and what it has spent so far."""

    dialogue: Dialogue[T]
    work: Work


@dataclass
class _Open(Generic[T]):
    """A task waiting for its answer."""

    task: Task[T]
    request: Ascend | Judge
    predictions: Predictions = field(default_factory=list)


class Batches:
    """Answers the requests of many tasks in batches of `width` images."""

    def __init__(self, working: Logits, untouched: Logits, width: int) -> None:
        self.working = working
        """The model gradients are taken from."""
        self.untouched = untouched
        """The model that alone decides whether an image is fooled."""
        self.width = width

    def run(self, tasks: Iterable[Task[T]]) -> Iterator[T]:
        """Conduct all tasks, yielding each one's result as it ends."""
        waiting = iter(tasks)
        exhausted = False
        climbing: deque[_Open[T]] = deque()
        judging: deque[tuple[_Open[T], Tensor]] = deque()
        ready: list[tuple[Task[T], Evaluation | Predictions | None]]
        while True:
            if len(judging) >= self.width or (exhausted and judging and len(climbing) < self.width):
                ready = self._judge([judging.popleft() for _ in range(min(self.width, len(judging)))])
            elif len(climbing) >= self.width or (exhausted and climbing):
                ready = self._ascend([climbing.popleft() for _ in range(min(self.width, len(climbing)))])
            elif exhausted:
                return
            else:
                ready = [(task, None) for task in islice(waiting, 1)]
                exhausted = not ready
            for task, answer in ready:
                try:
                    request = task.dialogue.send(answer)
                except StopIteration as stop:
                    yield stop.value
                    continue
                opened = _Open(task, request)
                if isinstance(request, Ascend):
                    climbing.append(opened)
                else:
                    judging.extend((opened, picture) for picture in request.pictures)

    def _judge(self, asked: list[tuple[_Open[T], Tensor]]) -> list[tuple[Task[T], Evaluation | Predictions | None]]:
        with torch.no_grad():
            logits = self.untouched(self._padded([picture for _, picture in asked]))
        ready: list[tuple[Task[T], Evaluation | Predictions | None]] = []
        for (opened, _), prediction in zip(asked, _predictions(logits), strict=False):
            assert isinstance(opened.request, Judge)
            opened.task.work.forwards += 1
            opened.predictions.append(prediction)
            if len(opened.predictions) == len(opened.request.pictures):
                ready.append((opened.task, opened.predictions))
        return ready

    def _ascend(self, asked: list[_Open[T]]) -> list[tuple[Task[T], Evaluation | Predictions | None]]:
        iterates = [opened.request.iterate for opened in asked if isinstance(opened.request, Ascend)]
        points = [it.x for it in iterates]
        x = self._padded(points).requires_grad_()
        logits = self.working(x)
        losses = ascent_loss(logits, *self._labels_and_losses(iterates, x.device))
        (gradients,) = torch.autograd.grad(losses.sum(), x)
        sizes = gradients.flatten(1).abs().amax(1).tolist()
        ready: list[tuple[Task[T], Evaluation | Predictions | None]] = []
        answers = zip(asked, iterates, points, gradients, losses.tolist(), _predictions(logits), sizes, strict=False)
        for opened, iterate, point, gradient, loss, prediction, size in answers:
            _count(opened.task.work, iterate.loss is Loss.MARGIN, size)
            ready.append((opened.task, Evaluation(point, gradient, loss, prediction)))
        take_steps(iterates, gradients[: len(iterates)])
        return ready

    def _labels_and_losses(self, iterates: list[Iterate], device: torch.device) -> tuple[Tensor, Tensor]:
        rows = [(it.label, it.loss is Loss.MARGIN) for it in iterates]
        rows += rows[:1] * (self.width - len(rows))
        columns = torch.tensor(rows, device=device).T
        return columns[0], columns[1].bool()

    def _padded(self, rows: list[Tensor]) -> Tensor:
        return torch.stack(rows + rows[:1] * (self.width - len(rows)))


def _count(work: Work, of_margin: bool, size: float) -> None:
    """Count a gradient whose largest entry is `size`."""
    work.gradients += 1
    work.margin_gradients += of_margin
    work.zero_gradients += size == 0
    work.zero_margin_gradients += of_margin and size == 0
    work.non_finite_gradients += not size < float("inf")  # NaN included


def _predictions(logits: Tensor) -> Predictions:
    finite = logits.isfinite().all(1).tolist()
    return [index if ok else None for index, ok in zip(logits.argmax(1).tolist(), finite, strict=True)]
