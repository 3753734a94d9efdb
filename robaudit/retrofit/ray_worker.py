"""What a worker of a Ray cluster does: the training of one process, on its part of every batch."""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from robaudit.errors import RobauditError, SettingsError
from robaudit.fleet.parcel import seal, unseal, work_in
from robaudit.load.classifier import Classifier
from robaudit.load.provenance import versions
from robaudit.progress import Silent
from robaudit.retrofit.desk import event
from robaudit.retrofit.state import Standing, copied
from robaudit.retrofit.task import Task
from robaudit.retrofit.team import Together
from robaudit.retrofit.train import train
from robaudit.retrofit_records import EpochMetrics


@dataclass(frozen=True)
class Job:
    """What every worker starts from."""

    classifier: Classifier
    """On the CPU: what is sent knows no device of the sender's."""
    task: Task
    n_threads: int
    folder: str
    """Where the driver runs: paths of images may be relative to it."""
    state_name: str
    """For messages."""

    def sealed(self) -> bytes:
        """As it is sent.

        Raises:
            ModelError: the model cannot be sent to another process.
        """
        return seal(self, "train with --engine local")


class ClosedError(Exception):
    """Nobody wants the training any more."""


class _Caller(Silent):
    """One worker, as it speaks at the desk; progress and file of the training in it. Only the first speaks for all."""

    def __init__(self, desk: Any, rank: int, state: bytes | None, state_name: str) -> None:
        self.desk, self._rank, self._state, self._state_name = desk, rank, state, state_name

    def tell(self, what: str, *told: object) -> None:
        """Leave something at the desk, and do not wait: calls arrive in their order."""
        if self._rank == 0:
            self.desk.tell.remote(event(what, *told))

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.tell("start", stage, total, done)

    def advance(self, n: int = 1, note: str = "") -> None:
        self.tell("advance", n, note)

    def finish(self) -> None:
        self.tell("finish")

    def say(self, line: str) -> None:
        self.tell("say", line)

    def asking(self, images: Sequence[str]) -> None:
        self.desk.tell.remote(event("asking", self._rank, images))  # each shows its model other ones

    def on_epoch(self, metrics: EpochMetrics) -> None:
        self.tell("epoch", metrics)

    def restore(self, now: Standing) -> bool:
        """Go to where training stood when this worker began."""
        if self._state is None:
            return False
        now.restore(self._state_name, io.BytesIO(self._state))
        return True

    def save(self, now: Standing) -> None:
        """Have the driver keep where training stands.

        Raises:
            ClosedError: there is no use any more.
        """
        if self._rank == 0:
            content = io.BytesIO()
            now.write(content)
            if not _answer(self.desk.keep.remote(content.getvalue())):
                raise ClosedError


def work(given: Mapping[str, Any]) -> None:
    """Train with the other workers; what one of them runs.

    Args:
        given: `desk`, an actor of `Desk`.
    """
    from ray.train import get_context
    from ray.train.torch import get_device

    desk, rank = given["desk"], get_context().get_world_rank()
    if (told := _answer(desk.work.remote())) is None:
        return
    (sealed,), needs, state = told
    try:
        _require_versions(needs)
        job: Job = unseal(_answer(sealed))
        _train(job, _Caller(desk, rank, state, job.state_name), get_device(), rank, get_context().get_world_size())
    except RobauditError as error:
        _answer(desk.end.remote(event("refused", error)))
        raise  # so that the others, who may be waiting for this one, are ended


def _train(job: Job, caller: _Caller, device: torch.device, rank: int, size: int) -> None:
    work_in(job.folder)
    torch.set_num_threads(job.n_threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    classifier = job.classifier.to(device)
    samples = job.task.samples(device, caller)
    caller.tell("begun")
    trained = train(
        classifier, *samples, job.task.config,
        progress=caller, on_epoch=caller.on_epoch, state=caller, team=Together(rank, size),
    )  # fmt: skip
    if rank == 0:
        weights = {name: weight.cpu() for name, weight in copied(classifier).items()}
        _answer(caller.desk.end.remote(event("trained", trained, weights)))


def _require_versions(needs: Mapping[str, str]) -> None:
    found = versions()
    if different := [name for name, version in needs.items() if found.get(name) != version]:
        name = different[0]
        raise SettingsError(
            f"--engine ray: {platform.node()} has {name} {found.get(name)}, the driver {needs[name]}; "
            "start driver and workers in one environment"
        )


def _answer(reference: Any) -> Any:
    import ray

    return ray.get(reference)
