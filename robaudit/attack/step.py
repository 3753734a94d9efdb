"""One step uphill inside the L-inf ball, for a whole batch of images each with its own constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.attack.losses import NO_TARGET, Loss


@dataclass
class Iterate:
    """One image on its way uphill: where it is, and the constants of its next step."""

    origin: Tensor
    """(C, H, W) in [0, 1], the image as given."""
    label: int
    eps: float
    """Radius of the ball, in [0, 1] units."""
    step_size: float
    x: Tensor
    """(C, H, W), the point whose gradient is wanted next."""
    loss: Loss = Loss.CROSS_ENTROPY
    towards: int = NO_TARGET
    """Class that a targeted margin moves to."""
    decay: float = 0.0
    adaptive: bool = False
    """Whether steps have inertia, and so need the point before."""
    inertia: float = 1.0
    """Weight of the new step against the last one: 1, or 0.75 in APGD."""
    previous: Tensor = field(init=False)
    momentum: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Start at rest."""
        self.previous = self.x
        self.momentum = torch.zeros_like(self.x)

    def move_to(self, x: Tensor) -> None:
        """Go to a point of the ball, and be at rest there."""
        self.x = self.previous = within_ball(x, self.origin, self.eps)


def take_steps(iterates: Sequence[Iterate], gradients: Tensor) -> None:
    """Move every iterate one step along its gradient (n, C, H, W); at the start and at the end all are in their ball.

    With momentum m and inertia a (all attacks are constants of this one rule):
        m  <- decay * m + g / |g|_1                       Dong et al. 2018, eq. 6
        z  <- clip(x + step_size * sign(m))               eq. 7; with decay 0, FGSM, BIM and PGD
        x' <- clip(x + a (z - x) + (1 - a) (x - x_prev))  Croce & Hein 2020, eq. 4; a = 1 leaves z
    """
    origin = torch.stack([it.origin for it in iterates])
    x = torch.stack([it.x for it in iterates])
    eps, step_size, inertia, decay = _columns(iterates, x)
    lower, upper = ball(origin, eps)

    # A non-finite gradient says nothing about where to go; a check reports it.
    direction = torch.nan_to_num(gradients, nan=0.0, posinf=0.0, neginf=0.0)
    if any(it.decay for it in iterates):
        sizes = _row_sums(direction.abs().flatten(1)).clamp_min(torch.finfo(x.dtype).tiny)
        momentum = decay * torch.stack([it.momentum for it in iterates]) + direction / sizes[..., None, None]
        direction = torch.where(decay == 0, direction, momentum)
        for it, row in zip(iterates, momentum, strict=True):
            it.momentum = row if it.decay else it.momentum
    moved = direction.sign_().mul_(step_size).add_(x).clamp_(lower, upper)
    if any(it.inertia != 1 for it in iterates):
        previous = torch.stack([it.previous for it in iterates])
        blended = torch.clamp(x + inertia * (moved - x) + (1 - inertia) * (x - previous), lower, upper)
        moved = torch.where(inertia == 1, moved, blended)
    for index, it in enumerate(iterates):
        # A view keeps its whole batch in memory: only what the next step needs is kept.
        if it.adaptive:
            it.previous = it.x
        it.x = moved[index]


def ball(origin: Tensor, eps: float | Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each pixel within eps of `origin` and in [0, 1]."""
    return (origin - eps).clamp_(min=0), (origin + eps).clamp_(max=1)


def within_ball(x: Tensor, origin: Tensor, eps: float) -> Tensor:
    """The nearest point to `x` that is inside the ball around `origin` and in [0, 1]."""
    return torch.clamp(x, *ball(origin, eps))


def _row_sums(x: Tensor) -> Tensor:
    """Sum of each row: (n, k) -> (n, 1).

    By halves: a library's own sum may round a row in another way with more rows beside it.
    """
    while x.shape[1] > 1:
        left, right = F.pad(x, (0, x.shape[1] % 2)).chunk(2, dim=1)
        x = left + right
    return x


def _columns(iterates: Sequence[Iterate], like: Tensor) -> Tensor:
    """Each iterate's constants, as four (n, 1, 1, 1) columns."""
    rows = [(it.eps, it.step_size, it.inertia, it.decay) for it in iterates]
    return torch.tensor(rows, dtype=like.dtype, device=like.device).T[..., None, None, None]
