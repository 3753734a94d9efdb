"""What an attack climbs: per-image losses, larger when the model is closer to a wrong answer."""

from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor


class Loss(StrEnum):
    """The loss an attack maximises."""

    CROSS_ENTROPY = "ce"
    MARGIN = "margin"


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in float32: (B, K), (B,) -> (B,). Its gradient underflows to 0 once the model is very sure."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Best wrong logit minus the true one: (B, K), (B,) -> (B,); positive where the model errs.

    Defined from two classes up, and its gradient never saturates (Carlini & Wagner 2017, eq. f6, without the clamp).
    """
    logits = logits.float()
    true = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - true


def ascent_loss(logits: Tensor, labels: Tensor, climbs_margin: Tensor) -> Tensor:
    """Each image's own loss: margin where `climbs_margin` (B,) is true, cross-entropy elsewhere."""
    return torch.where(climbs_margin, margin(logits, labels), cross_entropy(logits, labels))
