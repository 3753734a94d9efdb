"""How long a training will take, from one step measured on this machine with the very network, T and C included."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from robaudit.attack.prepare import channels_last
from robaudit.load.classifier import Classifier
from robaudit.retrofit.adversary import pgd
from robaudit.retrofit.diagnostics import AT_A_TIME, FORWARDS, GRADIENTS
from robaudit.retrofit.diagnostics import N_IMAGES as N_EXAMINED
from robaudit.retrofit.draws import Draws
from robaudit.retrofit.moved import N_IMAGES as N_MOVED
from robaudit.retrofit.objective import Objective
from robaudit.retrofit.samples import Batch
from robaudit.retrofit.settings import TrainConfig
from robaudit.retrofit.sharpness import largest_curvature
from robaudit.retrofit.train import before_the_first_step, choose_trained, set_mode

MEASURED_IMAGES = 8
"""Images of the step that is timed on a CPU, where larger batches take about as long per image; on a GPU, all."""


@dataclass(frozen=True)
class Pace:
    """About how long the parts of a training take, in seconds."""

    learning: float
    """Once over the training images."""
    validation: float
    once: float
    """What comes once, epochs aside: the validation before the first step, and the diagnostics before and after."""

    @property
    def epoch(self) -> float:
        """One epoch, validation included."""
        return self.learning + self.validation

    def all_epochs(self, n: int) -> float:
        """That many epochs, and what comes once."""
        return n * self.epoch + self.once


@torch.random.fork_rng()
@before_the_first_step()
def measured_pace(
    classifier: Classifier, config: TrainConfig, size: tuple[int, int], image_channels: int, n_train: int, n_val: int
) -> Pace:
    """Time one step, one validation batch, and a few gradients. The classifier is left as it is.

    Raises:
        TrainingError: its loss is not finite.
    """
    copied = copy.deepcopy(classifier)
    channels_last(copied)
    objective = Objective(copied, config)
    batch = _some_batch(config, size, image_channels, copied.device)
    choose_trained(copied, config.trains, batch.pixels)
    random = Draws(torch.Generator().manual_seed(0))
    adversary = config.adversary

    def step() -> None:
        set_mode(copied, config.trains)
        objective.in_training(batch, adversary.robust, random).total.backward()  # type: ignore[no-untyped-call]

    def climb() -> None:
        pgd(objective.logits, batch.pixels, batch.labels, adversary.eps, 1, random)

    def curvature() -> None:
        largest_curvature(copied, batch.pixels[:AT_A_TIME], batch.labels[:AT_A_TIME], iterations=1)

    def seconds(work: Callable[[], object], n_images: int = len(batch)) -> float:
        """Per image."""
        return fastest(work, copied.device) / n_images

    learning = seconds(step)
    copied.eval()
    forward = seconds(lambda: objective.in_validation(batch))
    gradient = seconds(curvature, 2 * min(AT_A_TIME, len(batch)))
    validation, single_step = forward, 0.0
    if adversary.on:
        attacked = seconds(climb)
        validation += adversary.val_steps * attacked + forward
        single_step = attacked + forward if adversary.robust == "fgsm" else 0.0
    examined = 2 * min(N_EXAMINED, n_val) * (GRADIENTS * gradient + FORWARDS * forward)
    moved = min(N_MOVED, n_val) * forward  # its texture costs about as much as a pass
    # Epoch 0, and the single steps that it and the first epoch are tried by.
    first = n_val * (validation + 2 * single_step)
    return Pace(learning * n_train, validation * n_val, first + examined + moved)


def duration(seconds: float) -> str:
    """Words for a duration: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that work on a device takes, the faster of two runs: the first one warms up."""
    return min(seconds_of(work, device) for _ in range(2))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one run, until the device is done."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _some_batch(config: TrainConfig, size: tuple[int, int], channels: int, device: torch.device) -> Batch:
    n = min(MEASURED_IMAGES, config.batch_size) if device.type == "cpu" else config.batch_size
    pixels = torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(0)).to(device)
    texture = config.texture.features(pixels) if config.alpha < 1 else torch.empty(n, 0)
    return Batch(pixels, torch.zeros(n, dtype=torch.long, device=device), texture)
