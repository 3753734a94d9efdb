"""Training by workers of a Ray cluster: Ray Train starts and joins them, and starts all anew when one dies."""

from __future__ import annotations

import copy
import pickle
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robaudit.errors import RobauditError, SettingsError, first_line
from robaudit.files import replacing
from robaudit.fleet.choice import EngineName
from robaudit.fleet.cluster import Cluster
from robaudit.load.classifier import Classifier
from robaudit.load.provenance import versions
from robaudit.progress import Progress
from robaudit.retrofit.desk import Desk
from robaudit.retrofit.ray_worker import Job, work
from robaudit.retrofit.state import StateFile
from robaudit.retrofit.task import Task
from robaudit.retrofit.train import Trained
from robaudit.retrofit_records import EpochMetrics

MAX_RESTARTS = 3
"""Of all workers, after which it is not chance."""
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 30.0
"""Without workers, after which the person is told."""


class RayTrainers:
    """Workers of a cluster, for one training."""

    name: EngineName = "ray"

    def __init__(self, address: str | None, gpus_per_worker: float | None) -> None:
        """Find Ray; `Cluster` says what the arguments may be."""
        self._cluster = Cluster(address, gpus_per_worker)
        self._ray = self._cluster.ray
        self.size = 0

    def open(self, device: str, workers: int | None, most: int) -> None:
        """Meet the cluster.

        Args:
            device: type of the driver's device, cpu or cuda.
            workers: wanted; None takes as many as there is room for, and no more than `most`.
            most: workers that every step has an image for.

        Raises:
            SettingsError: there is no cluster, no room, less than a GPU or than an image a step for each worker.
        """
        if workers is not None and workers > most:
            raise SettingsError(
                f"--workers {workers}: a step has but {most} images to share out; use fewer, or a larger --batch-size"
            )
        self._cluster.meet(device, torch.get_num_threads())
        if 0 < self._cluster.gpus < 1:
            raise SettingsError(
                f"--gpus-per-worker {self._cluster.gpus:g}: training needs 1 or more, workers cannot share a GPU"
            )
        self.size = workers or min(self._cluster.room(), most)

    def train(
        self,
        classifier: Classifier,
        task: Task,
        *,
        progress: Progress,
        on_epoch: Callable[[EpochMetrics], None],
        state: StateFile,
    ) -> Trained:
        """Have the workers train, and take their weights over.

        Raises:
            RobauditError: as `train` does, in one of the workers; or they died too often, or the model cannot be sent.
        """
        job = Job(
            copy.deepcopy(classifier).cpu(), task, torch.get_num_threads(), str(Path.cwd()), str(state.path),
        )  # fmt: skip
        progress.say(
            f"{self.size} workers, engine ray: each takes an equal part of every batch of {task.config.batch_size}"
        )
        listener = Listener(progress, on_epoch, state)
        failure = self._run(self._desk(job, state), listener)
        if listener.refusal is not None:
            raise listener.refusal
        if listener.outcome is None:
            raise SettingsError(
                f"--engine ray: workers died or failed {MAX_RESTARTS + 1} times ({_why(failure)}); "
                "the same command continues after the last complete epoch"
            )
        trained, weights = listener.outcome
        classifier.load_state_dict(weights)
        classifier.eval()
        return trained

    def close(self) -> None:
        """Leave the cluster if it was met here."""
        self._cluster.leave()

    def _desk(self, job: Job, state: StateFile) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=True)
        stands = state.path.read_bytes() if state.path.exists() else None
        desk = self._ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here)
        return desk.remote([self._ray.put(job.sealed())], versions(), stands)

    def _run(self, desk: Any, listener: Listener) -> BaseException | None:
        """Let Ray Train do its work, and listen; returns what it failed with."""
        failures: list[BaseException] = []
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            # In the main thread it would take Ctrl-C for itself.
            fitting = threading.Thread(target=self._fit, args=(desk, scratch, failures), daemon=True)
            fitting.start()
            try:
                is_alive = True
                while is_alive:
                    is_alive = fitting.is_alive()  # asked first, so that the last words are heard
                    told = desk.told.remote()
                    while not self._ray.wait([told], timeout=PATIENCE_SECONDS)[0]:
                        listener.hear([])
                    listener.hear(self._ray.get(told))
                    fitting.join(POLL_SECONDS)
            finally:
                desk.close.remote()
        return failures[0] if failures else None

    def _fit(self, desk: Any, scratch: str, failures: list[BaseException]) -> None:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        cpus, gpus = self._cluster.cpus, self._cluster.gpus
        trainer = TorchTrainer(
            work,
            train_loop_config={"desk": desk},
            scaling_config=ScalingConfig(
                num_workers=self.size,
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus},
            ),
            run_config=RunConfig(storage_path=scratch, failure_config=FailureConfig(max_failures=MAX_RESTARTS)),
        )
        try:
            trainer.fit()
        except BaseException as error:  # told by the main thread
            failures.append(error)


class Listener:
    """What the driver makes of what workers tell: the very things that happen when it trains by itself."""

    def __init__(self, progress: Progress, on_epoch: Callable[[EpochMetrics], None], state: StateFile) -> None:
        self._progress, self.epoch, self._file = progress, on_epoch, state.path
        self._n_beginnings = 0
        self._is_running = False
        self._asked: dict[int, Sequence[str]] = {}
        self._last = time.monotonic()
        self.outcome: tuple[Trained, dict[str, Tensor]] | None = None
        self.refusal: RobauditError | None = None

    def hear(self, events: Sequence[bytes]) -> None:
        """Do what was told; say so where nothing is."""
        for what, *told in map(pickle.loads, events):
            getattr(self, what)(*told)
        now = time.monotonic()
        if events or self._n_beginnings:
            self._last = now
        elif now - self._last > PATIENCE_SECONDS:
            self._last = now
            self.say("no worker is ready: waiting for them to start, or for room on the cluster; Ctrl-C ends this")

    def begun(self) -> None:
        """All workers begin."""
        self._n_beginnings += 1
        self._asked.clear()
        if self._n_beginnings > 1:
            self.say("a worker was lost: all begin again after the last complete epoch")

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage, again where a worker was lost in it."""
        if self._is_running:
            self.finish()
        self._is_running = True
        self._progress.start(stage, total, done)

    def advance(self, n: int, note: str) -> None:
        """Report finished units."""
        self._progress.advance(n, note)

    def finish(self) -> None:
        """End the stage."""
        self._is_running = False
        self._progress.finish()

    def say(self, line: str) -> None:
        """Tell the person one thing."""
        self._progress.say(line)

    def asking(self, rank: int, images: Sequence[str]) -> None:
        """A worker shows its model some images."""
        self._asked[rank] = images
        self._progress.asking([image for asked in self._asked.values() for image in asked])

    def stands(self, state: bytes) -> None:
        """Keep where training stands."""
        with replacing(self._file) as temporary:
            temporary.write_bytes(state)

    def trained(self, trained: Trained, weights: dict[str, Tensor]) -> None:
        """It is done."""
        self.outcome = trained, weights

    def refused(self, error: RobauditError) -> None:
        """It cannot be done."""
        self.refusal = error


def _why(failure: BaseException | None) -> str:
    """The first line of what a worker failed with."""
    failures = getattr(failure, "worker_failures", None)
    error = next(iter(failures.values())) if failures else failure
    return "without a word" if error is None else first_line(error)
