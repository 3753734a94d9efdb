"""How long a training will take, from one step measured on this machine with the very network, T and C included."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from robaudit.load.classifier import Classifier
from robaudit.retrofit.adversary import pgd
from robaudit.retrofit.draws import Draws
from robaudit.retrofit.objective import Objective
from robaudit.retrofit.samples import Batch
from robaudit.retrofit.settings import TrainConfig
from robaudit.retrofit.train import choose_trained, set_mode

MEASURED_IMAGES = 8
"""Images of the step that is timed; larger batches take about as long per image."""


@dataclass(frozen=True)
class Pace:
    """About how long the parts of a training take, in seconds."""

    learning: float
    """Once over the training images."""
    validation: float

    @property
    def epoch(self) -> float:
        """One epoch, validation included."""
        return self.learning + self.validation

    def all_epochs(self, n: int) -> float:
        """That many epochs, and the validation of epoch 0."""
        return n * self.epoch + self.validation


@torch.random.fork_rng()
def measured_pace(
    classifier: Classifier, config: TrainConfig, size: tuple[int, int], image_channels: int, n_train: int, n_val: int
) -> Pace:
    """Time one step and one validation batch. The classifier is left as it is."""
    copied = copy.deepcopy(classifier).to(memory_format=torch.channels_last)
    objective = Objective(copied, config)
    batch = _some_batch(config, size, image_channels, copied.mean.device)
    choose_trained(copied, config.trains, batch.pixels)
    random = Draws(torch.Generator().manual_seed(0))
    adversary = config.adversary

    def step() -> None:
        set_mode(copied, config.trains)
        objective.in_training(batch, adversary.robust, random).total.backward()  # type: ignore[no-untyped-call]

    def validation() -> None:
        copied.eval()
        objective.in_validation(batch)
        if adversary.on:
            pgd(objective.logits, batch.pixels, batch.labels, adversary.eps, 1, random)

    device = copied.mean.device
    val_seconds = fastest(validation, device) * (adversary.val_steps if adversary.on else 1)
    return Pace(fastest(step, device) * n_train / len(batch), val_seconds * n_val / len(batch))


def duration(seconds: float) -> str:
    """Words for a duration: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that work on a device takes, the faster of two runs: the first one warms up."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _some_batch(config: TrainConfig, size: tuple[int, int], channels: int, device: torch.device) -> Batch:
    n = min(MEASURED_IMAGES, config.batch_size)
    pixels = torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(0)).to(device)
    texture = config.texture.features(pixels) if config.alpha < 1 else torch.empty(n, 0)
    return Batch(pixels, torch.zeros(n, dtype=torch.long, device=device), texture)
