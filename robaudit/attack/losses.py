"""What an attack climbs: per-image losses, larger when the model is closer to a wrong answer."""

from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor

NO_TARGET = -1
"""Target of a loss that takes whichever wrong class is nearest."""


class Loss(StrEnum):
    """The loss an attack maximises."""

    CROSS_ENTROPY = "ce"
    MARGIN = "margin"
    TARGETED = "targeted"
    """The margin towards one other class after the next."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in float32: (B, K), (B,) -> (B,). Its gradient underflows to 0 once the model is very sure."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def margin(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Best wrong logit, or that of `targets`, minus the true one; positive where the model errs.

    Defined from two classes up, and its gradient never saturates (Carlini & Wagner 2017, eq. f6, without the clamp).

    Args:
        logits: (B, K).
        labels: (B,), the true classes.
        targets: (B,), the class to move towards; None or `NO_TARGET` takes the best wrong one.

    Returns:
        (B,), float32.
    """
    logits = logits.float()
    true = logits.gather(1, labels[:, None])[:, 0]
    best_wrong = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    if targets is None:
        return best_wrong - true
    towards = logits.gather(1, targets.clamp_min(0)[:, None])[:, 0]
    return torch.where(targets == NO_TARGET, best_wrong, towards) - true


def ascent_loss(logits: Tensor, labels: Tensor, climbs_margin: Tensor, targets: Tensor | None = None) -> Tensor:
    """Each image's own loss: margin where `climbs_margin` (B,) is true, cross-entropy elsewhere."""
    return torch.where(climbs_margin, margin(logits, labels, targets), cross_entropy(logits, labels))
