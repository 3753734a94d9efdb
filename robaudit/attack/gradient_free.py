"""Attacks that need no gradient: Square Attack, and random corners of the ball."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robaudit.attack.batching import Dialogue, query
from robaudit.attack.climb import Adversarial, Target, judged, screened
from robaudit.attack.seeding import derived_seed
from robaudit.attack.step import ball
from robaudit.attack.threats import Corners, Source, Square

# Fractions of the budget after which the squares' area halves: of 10,000 queries, the paper's schedule (section 3.2).
_HALVINGS = tuple(at / 10_000 for at in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))
CORNERS_AT_ONCE = 8


def square_attack(target: Target, attack: Square, eps_255: int) -> Dialogue[Adversarial | None]:
    """Random search over squares set to +eps or -eps (Andriushchenko et al. 2020, algorithms 1 and 2).

    A proposal is kept where it brings the best wrong logit closer to the true one. Queries go to the float32 working
    copy; what seems to fool is judged by the untouched model. Beside the paper: a square that would change
    nothing is flipped instead of being asked about, and squares shrink on the schedule scaled to the budget.
    """
    dice = torch.Generator().manual_seed(derived_seed(target.seed, target.sha256, attack.name, eps_255))
    lower, upper = ball(target.origin, eps_255 / 255)
    channels, _, width = target.origin.shape
    stripes = _heads((channels, 1, width), dice).to(lower.device)  # vertical, one pixel wide
    proposal = torch.where(stripes, upper, lower)
    best, best_margin = target.origin, -math.inf
    for n_asked in range(attack.queries):
        (seen,) = yield from query([proposal], Source.EXACT)
        if seen.prediction != target.label:
            (found,) = yield from judged(target, [proposal])
            if found is not None:
                return found
        margin = seen.margin(target.label)
        if margin > best_margin:
            best, best_margin = proposal, margin
        share = attack.p_init / 2 ** sum(n_asked + 1 > at * attack.queries for at in _HALVINGS)
        proposal = _with_square(best, lower, upper, share, dice)
    return None


def random_corners(target: Target, attack: Corners, eps_255: int) -> Dialogue[Adversarial | None]:
    """Ask about corners of the ball drawn at random, until one fools."""
    dice = torch.Generator().manual_seed(derived_seed(target.seed, target.sha256, attack.name, eps_255))
    lower, upper = ball(target.origin, eps_255 / 255)
    for n_asked in range(0, attack.draws, CORNERS_AT_ONCE):
        n = min(CORNERS_AT_ONCE, attack.draws - n_asked)
        corners = [torch.where(_heads(lower.shape, dice).to(lower.device), upper, lower) for _ in range(n)]
        found = yield from screened(target, corners)
        if fooling := [each for each in found if each is not None]:
            return fooling[0]
    return None


def _with_square(best: Tensor, lower: Tensor, upper: Tensor, share: float, dice: torch.Generator) -> Tensor:
    """`best` with one square, of about `share` of the image, set to +eps or -eps in each channel."""
    channels, height, width = best.shape
    side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
    row, column = (int(torch.randint(0, extent - side + 1, (), generator=dice)) for extent in (height, width))
    window = (slice(None), slice(row, row + side), slice(column, column + side))
    up = _heads((channels, 1, 1), dice).to(best.device)
    low, high = lower[window], upper[window]
    square, flipped = torch.where(up, high, low), torch.where(up, low, high)
    proposal = best.clone()
    # Chosen where the picture lies: a GPU would be waited for by a question in every query of every image.
    proposal[window] = torch.where((square == best[window]).all(), flipped, square)
    return proposal


def _heads(shape: Sequence[int], dice: torch.Generator) -> Tensor:
    """Tosses of a coin, on the CPU so that every device sees the same."""
    return torch.randint(0, 2, tuple(shape), generator=dice).bool()
