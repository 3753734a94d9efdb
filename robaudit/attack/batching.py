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
    """Ask for the gradient at an iterate's point, and its next step."""

    iterate: Iterate


@dataclass(frozen=True)
class Judge:
    """Ask the untouched model, in float32, what it sees in these pictures: answered with their predictions."""

    pictures: Sequence[Tensor]


Request = Ascend | Judge
Answer = list[int | None] | None
"""Predictions for `Judge` (None: no finite answer); nothing for `Ascend`, which fills in the iterate."""
Dialogue = Generator[Request, Answer, T]
"""A coroutine that asks and is answered, and returns a T."""


class Logits(Protocol):
    """(B, C, H, W) in [0, 1] -> logits (B, K)."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Answer a batch."""


@dataclass
class Work:
    """Image-gradients and image-forwards done so far."""

    gradients: int = 0
    forwards: int = 0


@dataclass(frozen=True)
class Task(Generic[T]):
    """A dialogue, and what it has spent so far."""

    dialogue: Dialogue[T]
    work: Work


@dataclass
class _Open(Generic[T]):
    """A task waiting for its answer."""

    task: Task[T]
    request: Request
    predictions: list[int | None] = field(default_factory=list)


class Batches:
    """Answers the requests of many tasks in batches of `width` images."""

    def __init__(self, working: Logits, judge: Logits, width: int) -> None:
        self.working = working
        """The model gradients are taken from."""
        self.judge = judge
        """The untouched model, which alone decides whether an image is fooled."""
        self.width = width

    def run(self, tasks: Iterable[Task[T]]) -> Iterator[T]:
        """Conduct all tasks, yielding each one's result as it ends."""
        waiting = iter(tasks)
        exhausted = False
        climbing: deque[_Open[T]] = deque()
        judging: deque[tuple[_Open[T], Tensor]] = deque()
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

    def _judge(self, asked: list[tuple[_Open[T], Tensor]]) -> list[tuple[Task[T], Answer]]:
        with torch.no_grad():
            logits = self.judge(self._padded([picture for _, picture in asked]))
        ready: list[tuple[Task[T], Answer]] = []
        for (opened, _), prediction in zip(asked, _predictions(logits), strict=False):
            assert isinstance(opened.request, Judge)
            opened.task.work.forwards += 1
            opened.predictions.append(prediction)
            if len(opened.predictions) == len(opened.request.pictures):
                ready.append((opened.task, opened.predictions))
        return ready

    def _ascend(self, asked: list[_Open[T]]) -> list[tuple[Task[T], Answer]]:
        iterates = [opened.request.iterate for opened in asked if isinstance(opened.request, Ascend)]
        x = self._padded([it.x for it in iterates]).requires_grad_()
        labels = self._padded([torch.tensor(it.label, device=x.device) for it in iterates])
        margins = self._padded([torch.tensor(it.loss is Loss.MARGIN, device=x.device) for it in iterates])
        logits = self.working(x)
        losses = ascent_loss(logits, labels, margins)
        (gradients,) = torch.autograd.grad(losses.sum(), x)
        values = losses.tolist()
        for index, (it, prediction) in enumerate(zip(iterates, _predictions(logits), strict=False)):
            it.evaluated, it.gradient, it.loss_value, it.prediction = it.x, gradients[index], values[index], prediction
        take_steps(iterates, gradients[: len(iterates)])
        for opened in asked:
            opened.task.work.gradients += 1
        return [(opened.task, None) for opened in asked]

    def _padded(self, rows: list[Tensor]) -> Tensor:
        return torch.stack(rows + rows[:1] * (self.width - len(rows)))


def _predictions(logits: Tensor) -> list[int | None]:
    finite = logits.isfinite().all(1).tolist()
    return [index if ok else None for index, ok in zip(logits.argmax(1).tolist(), finite, strict=True)]
