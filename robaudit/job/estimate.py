"""How long the whole job will take, from a few passes measured on this machine with this model."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from robaudit.attack.curve import Engine
from robaudit.attack.examine import Plan
from robaudit.attack.threats import Attack

SEARCH_FACTOR = 1.5
"""Gradients a nested search spends, against one resisted climb per attack: successes on the way to it come on top."""


def gradient_seconds(engine: Engine) -> float:
    """Seconds per image of an attack's gradient, from one batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((engine.width, engine.channels, *engine.size), generator=generator).to(engine.device)
    x.requires_grad_()
    return _fastest(lambda: torch.autograd.grad(engine.working(x).sum(), x), engine.device) / engine.width


def gradients_per_image(plan: Plan) -> float:
    """About how many gradients an image will cost; an image that falls early costs less."""
    steps = [attack.steps * attack.restarts for attack in plan.attacks if isinstance(attack, Attack)]
    if plan.protocol == "paper":
        return sum(steps) * len(plan.grid)
    return sum(steps) * SEARCH_FACTOR


def scan_seconds(per_gradient: float, plan: Plan, n_images: int) -> float:
    """About how long a scan takes."""
    return per_gradient * gradients_per_image(plan) * n_images


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
