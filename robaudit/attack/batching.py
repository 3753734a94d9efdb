"""Images ask for gradients, answers and judgements; this gives them in full batches of one fixed shape.

Every image is a coroutine that yields requests. The scheduler keeps a queue per kind of request and always runs a full
batch where it can, starting further images whenever no queue is full: a finished image's place is refilled at
once. Batches are padded to one shape, so what an image is told never depends on its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from robaudit.attack.losses import Loss, ascent_loss
from robaudit.attack.step import Iterate, take_steps
from robaudit.attack.threats import Source
from robaudit.errors import ModelError, first_line
from robaudit.memory import ran_out
from robaudit.progress import Progress, Silent

T = TypeVar("T")

NO_MEMORY = "memory ran out on this image alone"


@dataclass(frozen=True)
class Ascend:
    """Ask for the gradient at an iterate's point, and for its next step."""

    iterate: Iterate
    source: Source = Source.MODEL


@dataclass(frozen=True)
class Sight:
    """What a model sees in one picture."""

    logits: tuple[float, ...]
    prediction: int | None
    """Class index; None: no finite answer."""
    error: str | None = None
    """Why there is no answer at all, where there is none."""

    def margin(self, label: int) -> float:
        """Best wrong logit minus the true one; above 0 the model errs."""
        return max(logit for index, logit in enumerate(self.logits) if index != label) - self.logits[label]


@dataclass(frozen=True)
class Evaluation:
    """What was seen at an iterate's point before it moved on. Views into a batch: clone what is to be kept."""

    point: Tensor
    gradient: Tensor
    loss: float
    sight: Sight
    """Of the source of the gradient."""


@dataclass(frozen=True)
class Query:
    """Ask for logits of pictures, without a gradient: of a working copy, or of the untouched model."""

    pictures: Sequence[Tensor]
    source: Source | None = None
    """None: the untouched model, in float32, which alone decides."""


Answer = Evaluation | list[Sight]
Dialogue = Generator[Ascend | Query, Answer | None, T]
"""A coroutine that asks and is answered (`Ascend` by `Evaluation`, `Query` by a list of `Sight`), and returns a T."""


def ascend(iterate: Iterate, source: Source = Source.MODEL) -> Dialogue[Evaluation]:
    """Ask for a gradient and a step."""
    answer = yield Ascend(iterate, source)
    assert isinstance(answer, Evaluation)
    return answer


def query(pictures: Sequence[Tensor], source: Source | None = None) -> Dialogue[list[Sight]]:
    """Ask what a model sees in pictures; None is the untouched one."""
    answer = yield Query(pictures, source)
    assert isinstance(answer, list)
    return answer


Logits = Callable[[Tensor], Tensor]
"""(B, C, H, W) in [0, 1] -> logits (B, K)."""


@dataclass
class Work:
    """What an image has cost, and how many of its gradients were useless."""

    gradients: int = 0
    forwards: int = 0
    own_gradients: int = 0
    """Of `gradients`, those of the model by attacks of ours; a surrogate's, and foolbox's, say nothing of it."""
    margin_gradients: int = 0
    """Of `own_gradients`, those of the margin of the answers, which cannot fade with confidence."""
    zero_gradients: int = 0
    zero_margin_gradients: int = 0
    non_finite_gradients: int = 0
    gradients_behind: int = 0
    """Of `own_gradients`, those of what the last linear layer returns: counted here, and not among those above."""
    useless_gradients_behind: int = 0


@dataclass(frozen=True)
class Task(Generic[T]):
    """A dialogue, and what it has spent so far."""

    dialogue: Dialogue[T]
    work: Work
    image: str = ""
    """Id of the image it is about."""


class UnanswerableError(ModelError):
    """The model fails on one image, asked about it alone."""

    def __init__(self, image: str, error: Exception) -> None:
        self.image = image
        named = f"{type(error).__name__}: {first_line(error)}"
        self.why = NO_MEMORY if ran_out(error) else f"the model fails on this image ({named})"
        super().__init__(f"{image}: {self.why}; mend the model, or leave the image out")


@dataclass
class _Open(Generic[T]):
    """A task waiting for its answer."""

    task: Task[T]
    request: Ascend | Query
    seen: list[Sight] = field(default_factory=list)
    error: UnanswerableError | None = None


Asked = tuple[_Open[T], Tensor]
"""A task, and one of the pictures that it asks about."""
Ready = list[tuple[Task[T], Answer | UnanswerableError | None]]


class Batches:
    """Answers the requests of many tasks in batches of `width` images."""

    def __init__(
        self, sources: Mapping[Source, Logits], untouched: Logits, width: int, progress: Progress | None = None
    ) -> None:
        self.sources = sources
        """Where gradients, and answers that decide nothing, are taken from."""
        # Two sources may be one function: their requests then share a queue, and fill a batch sooner.
        self._same = {source: next(s for s in sources if sources[s] is sources[source]) for source in sources}
        self.untouched = untouched
        """The model that alone decides whether an image is fooled."""
        self.width = width
        self.progress = progress or Silent()

    def run(self, tasks: Iterable[Task[T]]) -> Iterator[T]:
        """Conduct all tasks, yielding each one's result as it ends.

        Where the model fails on a single image, its dialogue is told so by an `UnanswerableError`. Where memory runs
        out on more, the caller is.
        """
        waiting = iter(tasks)
        exhausted = False
        climbing: dict[Source, deque[Asked[T]]] = {source: deque() for source in self.sources}
        asking: dict[Source | None, deque[Asked[T]]] = {None: deque(), **{source: deque() for source in self.sources}}
        ready: Ready[T]
        while True:
            queue = max(asking, key=lambda source: len(asking[source]))
            climb = max(climbing, key=lambda source: len(climbing[source]))
            n_asking, n_climbing = len(asking[queue]), len(climbing[climb])
            # A judgement frees whole climbs, so a full batch of them comes first; at the end, whatever is fuller.
            if n_asking >= self.width or (exhausted and n_asking >= max(n_climbing, 1)):
                asked = [asking[queue].popleft() for _ in range(min(self.width, n_asking))]
                ready = self._told(asked, partial(self._answer, queue))
            elif n_climbing >= self.width or (exhausted and n_climbing):
                asked = [climbing[climb].popleft() for _ in range(min(self.width, n_climbing))]
                ready = self._told(asked, partial(self._ascend, climb))
            elif exhausted:
                return
            else:
                ready = [(task, None) for task in islice(waiting, 1)]
                exhausted = not ready
            for task, answer in ready:
                try:
                    told = task.dialogue.throw if isinstance(answer, UnanswerableError) else task.dialogue.send
                    request = told(answer)  # type: ignore[arg-type]
                except StopIteration as stop:
                    yield stop.value
                    continue
                opened = _Open(task, request)
                if isinstance(request, Ascend):
                    climbing[self._same[request.source]].append((opened, request.iterate.x))
                else:
                    source = None if request.source is None else self._same[request.source]
                    asking[source].extend((opened, picture) for picture in request.pictures)

    def _told(self, asked: list[Asked[T]], answer: Callable[[list[Asked[T]]], Ready[T]]) -> Ready[T]:
        """What a pass answers. Where it fails, its images are asked about one by one, in a batch of the same shape."""
        self.progress.asking([opened.task.image for opened, _ in asked])
        try:
            return answer(asked)
        except Exception as error:
            if ran_out(error) and self.width > 1:
                raise
            if len(asked) == 1:
                ((opened, _),) = asked
                opened.error = UnanswerableError(opened.task.image, error)
                return _completed(opened, Sight((), None, opened.error.why))
        finally:
            self.progress.asking(())  # pictures may be read next, from slow storage
        return [told for one in asked for told in self._told([one], answer)]

    def _answer(self, source: Source | None, asked: list[Asked[T]]) -> Ready[T]:
        model = self.untouched if source is None else self.sources[source]
        with torch.no_grad():
            sights = _sights(model(self._padded([picture for _, picture in asked])))
        ready: Ready[T] = []
        for (opened, _), seen in zip(asked, sights, strict=False):
            opened.task.work.forwards += 1
            ready += _completed(opened, seen)
        return ready

    def _ascend(self, source: Source, asked: list[Asked[T]]) -> Ready[T]:
        iterates = [opened.request.iterate for opened, _ in asked if isinstance(opened.request, Ascend)]
        x = self._padded([point for _, point in asked]).requires_grad_()
        logits = self.sources[source](x)
        losses = ascent_loss(logits, *self._columns(iterates, x.device))
        gradients = gradients_at(x, losses)
        sizes = gradients.flatten(1).abs().amax(1).tolist()
        ready: Ready[T] = []
        answers = zip(asked, iterates, gradients, losses.tolist(), _sights(logits), sizes, strict=False)
        for (opened, point), iterate, gradient, loss, sight, size in answers:
            _count(opened.task.work, source, iterate.loss, size)
            ready.append((opened.task, Evaluation(point, gradient, loss, sight)))
        take_steps(iterates, gradients[: len(iterates)])
        return ready

    def _columns(self, iterates: list[Iterate], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Labels, whether each climbs a margin, and the classes moved towards."""
        rows = [(it.label, it.loss is not Loss.CROSS_ENTROPY, it.towards) for it in iterates]
        rows += rows[:1] * (self.width - len(rows))
        labels, climbs_margin, towards = torch.tensor(rows, device=device).T
        return labels, climbs_margin.bool(), towards

    def _padded(self, rows: list[Tensor]) -> Tensor:
        return torch.stack(rows + rows[:1] * (self.width - len(rows)))


def _completed(opened: _Open[T], seen: Sight) -> Ready[T]:
    """What is told to a task once all its pictures were asked about; nothing before."""
    opened.seen.append(seen)
    if isinstance(opened.request, Query) and len(opened.seen) < len(opened.request.pictures):
        return []
    return [(opened.task, opened.error or opened.seen)]


def gradients_at(x: Tensor, losses: Tensor) -> Tensor:
    """Gradients of each image's loss (B, C, H, W); zero where the model has cut the path back to its input."""
    if not losses.requires_grad:
        return torch.zeros_like(x)
    (gradients,) = torch.autograd.grad(losses.sum(), x, allow_unused=True)
    return torch.zeros_like(x) if gradients is None else gradients


def _count(work: Work, source: Source, loss: Loss, size: float) -> None:
    """Count a gradient whose largest entry is `size`."""
    work.gradients += 1
    if source is Source.SURROGATE:
        return
    work.own_gradients += 1
    if source is Source.HEAD:
        work.gradients_behind += 1
        work.useless_gradients_behind += not 0 < size < float("inf")  # NaN included
        return
    of_margin = loss is not Loss.CROSS_ENTROPY
    work.margin_gradients += of_margin
    work.zero_gradients += size == 0
    work.zero_margin_gradients += of_margin and size == 0
    work.non_finite_gradients += not size < float("inf")  # NaN included


def _sights(logits: Tensor) -> list[Sight]:
    logits = logits.detach().cpu()  # once: every number asked of a GPU waits for all that it has to do
    rows: list[Any] = logits.tolist()
    finite = logits.isfinite().all(1).tolist()
    predictions = zip(logits.argmax(1).tolist(), finite, strict=True)
    return [Sight(tuple(row), index if ok else None) for row, (index, ok) in zip(rows, predictions, strict=True)]
