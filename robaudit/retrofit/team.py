"""Processes that train one model together: each takes a part of every batch, all end a step with the same weights.

A step is that of one process with the whole batch: an image gets the random numbers that it would have got there, the
gradients of the parts are averaged, each weighed by its images, and the losses are summed. Batch-norm alone differs
where it trains: it normalises by the images of a part, not of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robaudit.retrofit.draws import Draws
from robaudit.retrofit.loss import LossParts, NotFiniteError
from robaudit.retrofit.settings import Trains

T = TypeVar("T")
Step = Callable[..., LossParts]
"""Batch, attack and random numbers -> the loss of a training step."""


@dataclass(frozen=True)
class Part:
    """What one process takes of a batch."""

    indices: list[int]
    """Of its images; parts differ by one image at most."""
    first: int
    """Where they begin in the batch."""
    whole: int
    """Images of the batch."""

    @property
    def share(self) -> float:
        """Of the batch."""
        return len(self.indices) / self.whole

    def draws(self, random: torch.Generator) -> Draws:
        """Random numbers for these images."""
        return Draws(random, self.first, self.whole)


@dataclass(frozen=True)
class Team:
    """The processes of a training, as one of them sees them; here, the only one."""

    rank: int = 0
    size: int = 1

    def part(self, indices: list[int]) -> Part:
        """What this process takes of a batch."""
        first, end = (len(indices) * rank // self.size for rank in (self.rank, self.rank + 1))
        return Part(indices[first:end], first, len(indices))

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Let layers that draw from torch's own generator, such as dropout, draw otherwise than in other processes."""

    def step(self, classifier: nn.Module, loss: Step) -> Step:
        """The loss of a training step, whose gradients with respect to the classifier all processes will share."""
        del classifier
        return loss

    def agreed(self, work: Callable[[], T]) -> T:
        """What the work comes to here.

        Raises:
            NotFiniteError: the loss is NaN or infinite in one of the processes; raised in all.
        """
        return work()

    def gathered(self, value: T) -> list[T]:
        """What all processes have, by rank."""
        return [value]

    def backward(self, loss: Tensor, part: Part) -> None:
        """The gradients of a mean over the part, as those of the mean over the batch."""
        del part
        loss.backward()  # type: ignore[no-untyped-call]

    def share_statistics(self, classifier: nn.Module, part: Part) -> None:
        """Bring the running statistics of batch-norm layers that train to their mean over the batch."""


ALONE = Team()


class Together(Team):
    """Several processes, joined by torch.distributed's default group."""

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Seed torch's generator by seed, epoch and rank, so that a training goes on the same after an interruption."""
        torch.manual_seed(seed + 1_000_003 * epoch + 1_000_000_007 * self.rank)

    def step(self, classifier: nn.Module, loss: Step) -> Step:
        """By DistributedDataParallel, which averages gradients while others are still computed."""
        parallel = nn.parallel.DistributedDataParallel
        # Statistics are shared after the step; torch 2.14 has a new name for leaving them alone before it.
        names = signature(parallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
        untouched: dict[str, Any] = {name: False}
        # Some networks have weights that no answer depends on.
        shared = parallel(_Step(classifier, loss), find_unused_parameters=True, **untouched)

        def step(*given: object) -> LossParts:
            total, parts = shared(*given)
            joined: LossParts = replace(parts, total=total)
            return joined

        return step

    def agreed(self, work: Callable[[], T]) -> T:
        """What the work comes to here, once it has come to something everywhere."""
        results: list[T] = []
        with suppress(NotFiniteError):
            results.append(work())
        if not all(self.gathered(bool(results))):
            raise NotFiniteError
        return results[0]

    def gathered(self, value: T) -> list[T]:
        """What all processes have, by rank."""
        values: list[T] = [value] * self.size
        distributed.all_gather_object(values, value)
        return values

    def backward(self, loss: Tensor, part: Part) -> None:
        """The gradients of a mean over the part, weighed so that their mean over processes is that over the batch."""
        (part.share * self.size * loss).backward()  # type: ignore[no-untyped-call]

    def share_statistics(self, classifier: nn.Module, part: Part) -> None:
        """Average them over processes, weighed likewise."""
        statistics = [
            statistic
            for module in classifier.modules()
            if isinstance(module, _BatchNorm) and module.training
            for statistic in (module.running_mean, module.running_var)
            if statistic is not None
        ]
        if statistics:
            means = part.share * torch.cat([statistic.flatten() for statistic in statistics])
            distributed.all_reduce(means)
            sizes = [statistic.numel() for statistic in statistics]
            for statistic, mean in zip(statistics, torch.split(means, sizes), strict=True):
                statistic.copy_(mean.view_as(statistic))


def depends_on_sharing(network: nn.Module, trains: Trains) -> bool:
    """Whether what a network learns depends on how many processes share a batch, beyond rounding.

    It does with batch-norm, which normalises by the images that a process has, and with layers that draw, such as
    dropout, where these are in training mode.
    """
    return trains in ("all", "network") and any(
        isinstance(module, _BatchNorm) or any(_is_chance(getattr(module, name, 0)) for name in ("p", "drop_prob"))
        for module in network.modules()
    )


def _is_chance(value: object) -> bool:
    """Whether it is a number that something can be drawn by; the `p` of pooling is a parameter, or an exponent."""
    return isinstance(value, int | float) and 0 < value <= 1


class _Step(nn.Module):
    """A loss as a module, which is what DistributedDataParallel takes."""

    def __init__(self, classifier: nn.Module, loss: Step) -> None:
        super().__init__()
        self.classifier = classifier
        self._loss = loss

    def forward(self, *given: object) -> tuple[Tensor, LossParts]:
        parts = self._loss(*given)
        return parts.total, parts
