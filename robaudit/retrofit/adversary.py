"""The attacker that training faces: batches of perturbed images, cheap rather than strong.

Success under these attacks is no audit: they climb the loss that training minimises. `scan` measures with others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from robaudit.attack.step import within_ball
from robaudit.retrofit.draws import Draws

Attack = Literal["none", "fgsm", "pgd", "trades"]

FGSM_STEP = 1.25
"""Step of fast FGSM as a fraction of eps, from a random start (Wong, Rice & Kolter, ICLR 2020)."""
REACH = 2.5
"""Total way of PGD's steps as a fraction of eps (Madry et al., ICLR 2018)."""

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Adversary:
    """Which attacks training and its validation face."""

    robust: Attack = "none"
    """`fgsm`: one step from a random start; `pgd`: few steps; `trades`: few steps that raise the divergence from the
    clean answer, which is then part of the loss (Zhang et al., ICML 2019)."""
    robust_eps_255: int = 4
    robust_steps: int = 3
    """Of pgd and trades, and of pgd where it takes over from an fgsm that has gone blind."""
    trades_beta: float = 6.0
    """Weight of the divergence in trades."""
    val_steps: int = 5
    """Of the PGD that validation runs after every epoch."""

    @property
    def eps(self) -> float:
        """Radius of the ball, in [0, 1] units."""
        return self.robust_eps_255 / 255

    @property
    def on(self) -> bool:
        """Whether training is adversarial."""
        return self.robust != "none"


def perturbed(
    logits: Logits, pixels: Tensor, labels: Tensor, adversary: Adversary, attack: Attack, random: Draws
) -> Tensor:
    """The images as the attack of one training step leaves them.

    Args:
        logits: (B, C, H, W) in [0, 1] -> (B, K), in evaluation mode.
        pixels: (B, C, H, W) in [0, 1].
        labels: (B,), class indices.
        adversary: with which constants.
        attack: which one.
        random: of the start.

    Returns:
        (B, C, H, W) in [0, 1], within eps of `pixels`, carrying no gradient.
    """
    if attack == "fgsm":
        return _climb(_cross_entropy(logits, labels), pixels, adversary.eps, 1, FGSM_STEP, random)
    if attack == "pgd":
        return pgd(logits, pixels, labels, adversary.eps, adversary.robust_steps, random)
    with torch.no_grad():
        clean = F.log_softmax(logits(pixels), 1)

    def diverged(x: Tensor) -> Tensor:
        return divergence(clean, logits(x)).sum()

    return _climb(diverged, pixels, adversary.eps, adversary.robust_steps, REACH, random)


def pgd(logits: Logits, pixels: Tensor, labels: Tensor, eps: float, steps: int, random: Draws) -> Tensor:
    """Projected gradient descent on the cross-entropy from a random start; the last iterate."""
    return _climb(_cross_entropy(logits, labels), pixels, eps, steps, REACH, random)


def divergence(clean_log_probabilities: Tensor, logits: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the perturbed from the clean answers (B, K) of each image, (B,) >= 0."""
    return F.kl_div(F.log_softmax(logits, 1), clean_log_probabilities, reduction="none", log_target=True).sum(1)


def _cross_entropy(logits: Logits, labels: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: F.cross_entropy(logits(x), labels, reduction="sum")


def _climb(
    loss: Callable[[Tensor], Tensor], pixels: Tensor, eps: float, steps: int, reach: float, random: Draws
) -> Tensor:
    """Sign steps uphill, `reach` times eps long together, kept inside the ball."""
    noise = (2 * random.uniform(pixels.shape) - 1) * eps
    x = within_ball(pixels + noise.to(pixels.device), pixels, eps)
    for _ in range(steps):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x), x)
        x = within_ball(x.detach() + reach / steps * eps * gradient.sign(), pixels, eps)
    return x
