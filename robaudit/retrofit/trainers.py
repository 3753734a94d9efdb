"""Who trains: this process, or the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from robaudit.errors import SettingsError
from robaudit.fleet.choice import EngineName, Workforce
from robaudit.load.classifier import Classifier
from robaudit.progress import Progress
from robaudit.retrofit.on_ray import RayTrainers
from robaudit.retrofit.state import StateFile
from robaudit.retrofit.task import Task
from robaudit.retrofit.train import Trained, smallest_step, train
from robaudit.retrofit_records import EpochMetrics


class InProcess:
    """This process, alone."""

    name: EngineName = "local"
    """As it is chosen with --engine."""
    size = 1
    """How many processes."""

    def train(
        self,
        classifier: Classifier,
        task: Task,
        *,
        progress: Progress,
        on_epoch: Callable[[EpochMetrics], None],
        state: StateFile,
    ) -> Trained:
        """Train as `robaudit.retrofit.train.train` does; it is this classifier that is trained."""
        samples = task.samples(classifier.device, progress)
        return train(classifier, *samples, task.config, progress=progress, on_epoch=on_epoch, state=state)


def require_trainable(workforce: Workforce) -> None:
    """Refuse workers that training cannot use.

    Raises:
        SettingsError: several processes without Ray.
    """
    if workforce.engine == "local" and workforce.workers is not None and workforce.workers > 1:
        raise SettingsError(f"--workers {workforce.workers}: training is shared out by --engine ray; add that")


@contextmanager
def trainers(
    workforce: Workforce, device: torch.device, n_images: int, batch_size: int
) -> Iterator[InProcess | RayTrainers]:
    """Whoever was chosen, while they are needed.

    Args:
        workforce: what a person chose.
        device: that this process computes on.
        n_images: to train on.
        batch_size: images per step.

    Raises:
        SettingsError: there is no such cluster, no room, or less than an image a step for each worker.
    """
    if workforce.engine == "local":
        yield InProcess()
        return
    crew = RayTrainers(workforce.ray_address, workforce.gpus_per_worker)
    try:
        crew.open(device.type, workforce.workers, smallest_step(n_images, batch_size))
        yield crew
    finally:
        crew.close()
