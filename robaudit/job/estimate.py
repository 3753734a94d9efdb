"""How long the whole job will take, from a few passes measured on this machine with this model."""

from __future__ import annotations

import torch

from robaudit.attack.curve import Engine
from robaudit.attack.threats import AnyAttack, Attack, Corners, FoolboxAttack, Source, Square
from robaudit.attack.trial import Plan
from robaudit.retrofit.pace import fastest

SEARCH_FACTOR = 1.5
"""Gradients a nested search spends, against one resisted climb per attack: successes on the way to it come on top."""
CHECK_GRADIENTS = 400
"""What the checks ask of an image of their sample, in gradients: 80, of one eps at which everything falls, to 510, of
eight (benchmarks/README.md, "What the checks cost")."""
FORWARD_SHARE = 0.45
"""Cost of a forward pass, against one with a gradient (measured on ResNet18, 2 CPU cores)."""


def gradient_seconds(engine: Engine) -> float:
    """Seconds per image of an attack's gradient, from one batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((engine.width, engine.channels, *engine.size), generator=generator).to(engine.device)
    x.requires_grad_()
    return fastest(lambda: torch.autograd.grad(engine.sources[Source.MODEL](x).sum(), x), engine.device) / engine.width


def gradients_per_image(plan: Plan, n_classes: int) -> float:
    """About how many gradients an image will cost; an image that falls early costs less."""
    spent = [_gradients_of_one_climb(attack, n_classes) for attack in plan.attacks]
    if plan.protocol == "paper":
        return sum(spent) * len(plan.grid)
    return sum(spent) * SEARCH_FACTOR


def _gradients_of_one_climb(attack: AnyAttack, n_classes: int) -> float:
    """What resisting an attack at one eps costs, in gradients; foolbox's attacks are anybody's guess."""
    match attack:
        case Attack():
            return attack.steps * attack.restarts * attack.n_targets(n_classes)
        case Square():
            return attack.queries * FORWARD_SHARE
        case Corners():
            return attack.draws * FORWARD_SHARE
        case FoolboxAttack():
            return 0


def scan_seconds(per_gradient: float, plan: Plan, n_classes: int, n_images: int, sample_size: int) -> float:
    """About how long a scan takes, with its checks."""
    n_checked = min(sample_size, n_images)
    return per_gradient * (gradients_per_image(plan, n_classes) * n_images + CHECK_GRADIENTS * n_checked)
