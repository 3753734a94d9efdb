"""How long the whole job will take, from a few passes measured on this machine with this model."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from robaudit.attack.curve import Engine
from robaudit.attack.threats import AnyAttack, Attack, Corners, FoolboxAttack, Source, Square
from robaudit.attack.trial import Plan

SEARCH_FACTOR = 1.5
"""Gradients a nested search spends, against one resisted climb per attack: successes on the way to it come on top."""


FORWARD_SHARE = 0.45
"""Cost of a forward pass, against one with a gradient (measured on ResNet18, 2 CPU cores)."""


@dataclass(frozen=True)
class Pace:
    """Measured seconds per image."""

    gradient: float
    """Of an attack's gradient."""
    training: float
    """Of a training step."""


def measure_pace(engine: Engine, train_batch_size: int) -> Pace:
    """Time one batch of each kind; the model is left as it is."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((engine.width, engine.channels, *engine.size), generator=generator).to(engine.device)
    n = min(engine.width, train_batch_size)
    return Pace(_gradient_seconds(engine, x) / engine.width, _training_seconds(engine, x[:n]) / n)


def gradients_per_image(plan: Plan) -> float:
    """About how many gradients an image will cost; an image that falls early costs less."""
    spent = [_gradients_of_one_climb(attack) for attack in plan.attacks]
    if plan.protocol == "paper":
        return sum(spent) * len(plan.grid)
    return sum(spent) * SEARCH_FACTOR


def _gradients_of_one_climb(attack: AnyAttack) -> float:
    """What resisting an attack at one eps costs, in gradients; foolbox's attacks are anybody's guess."""
    match attack:
        case Attack():
            return attack.steps * attack.restarts
        case Square():
            return attack.queries * FORWARD_SHARE
        case Corners():
            return attack.draws * FORWARD_SHARE
        case FoolboxAttack():
            return 0


def scan_seconds(pace: Pace, plan: Plan, n_images: int) -> float:
    """About how long a scan takes."""
    return pace.gradient * gradients_per_image(plan) * n_images


def training_seconds(pace: Pace, epochs: int, n_train: int, n_val: int) -> float:
    """About how long training takes if it is not stopped early; validation costs a third of a step."""
    return pace.training * epochs * (n_train + n_val / 3)


def duration(seconds: float) -> str:
    """Words for a duration: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _gradient_seconds(engine: Engine, x: torch.Tensor) -> float:
    x = x.clone().requires_grad_()
    return _fastest(lambda: torch.autograd.grad(engine.sources[Source.MODEL](x).sum(), x), engine.device)


def _training_seconds(engine: Engine, x: torch.Tensor) -> float:
    trained = copy.deepcopy(engine.model).train().requires_grad_(True)
    return _fastest(lambda: trained(x).sum().backward(), engine.device)


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """The faster of two runs: the first one warms up."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)
