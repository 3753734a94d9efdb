"""Attacks that need no gradient: Square Attack, and random corners of the ball."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robaudit.attack.batching import Dialogue, query
from robaudit.attack.climb import Adversarial, Target, judged, screened
from robaudit.attack.seeding import derived_seed
from robaudit.attack.step import within_ball
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
    eps = eps_255 / 255
    proposal = _stripes(target.origin, eps, dice)
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
        proposal = _with_square(best, target.origin, eps, share, dice)
    return None


def random_corners(target: Target, attack: Corners, eps_255: int) -> Dialogue[Adversarial | None]:
    """Ask about corners of the ball drawn at random, until one fools."""
    dice = torch.Generator().manual_seed(derived_seed(target.seed, target.sha256, attack.name, eps_255))
    origin, eps = target.origin, eps_255 / 255
    for n_asked in range(0, attack.draws, CORNERS_AT_ONCE):
        n = min(CORNERS_AT_ONCE, attack.draws - n_asked)
        drawn = [_signs(origin.shape, dice).to(origin.device) for _ in range(n)]
        corners = [within_ball(origin + eps * signs, origin, eps) for signs in drawn]
        found = yield from screened(target, corners)
        if fooling := [each for each in found if each is not None]:
            return fooling[0]
    return None


def _stripes(origin: Tensor, eps: float, dice: torch.Generator) -> Tensor:
    """Vertical stripes, one pixel wide, of +eps or -eps: where the search begins."""
    channels, _, width = origin.shape
    signs = _signs(torch.Size((channels, 1, width)), dice).to(origin.device)
    return within_ball(origin + eps * signs, origin, eps)


def _with_square(best: Tensor, origin: Tensor, eps: float, share: float, dice: torch.Generator) -> Tensor:
    """`best` with one square, of about `share` of the image, set to +eps or -eps in each channel."""
    channels, height, width = origin.shape
    side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
    row, column = (int(torch.randint(0, extent - side + 1, (), generator=dice)) for extent in (height, width))
    window = (slice(None), slice(row, row + side), slice(column, column + side))
    signs = _signs(torch.Size((channels, 1, 1)), dice).to(origin.device)
    there = origin[window]
    square, flipped = (within_ball(there + by, there, eps) for by in (eps * signs, -eps * signs))
    proposal = best.clone()
    # Chosen where the picture lies: a GPU would be waited for by a question in every query of every image.
    proposal[window] = torch.where((square == best[window]).all(), flipped, square)
    return proposal


def _signs(shape: torch.Size, dice: torch.Generator) -> Tensor:
    """+1 or -1, drawn on the CPU so that every device sees the same."""
    return torch.randint(0, 2, shape, generator=dice).float() * 2 - 1
