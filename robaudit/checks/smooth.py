"""Is a way through the ball as long in fine steps as in coarse ones?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from robaudit.attack.batching import Dialogue, Work, query
from robaudit.attack.climb import Target
from robaudit.attack.examine import gradient_in_place, kind_of
from robaudit.attack.losses import Loss
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.threats import AnyAttack, Source, Square
from robaudit.checks.asking import Ask
from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check, ImageRow

SMOOTH = "smooth"
MAX_SHARE = 0.1
WALK_255 = 4
"""How far a pixel is moved at most, in grey levels."""
N_FINE, N_COARSE = 64, 8
"""Steps of the two walks."""
MAX_RATIO = 1.5
"""Rise and fall of the margin in fine steps over that in coarse ones: about 1 where it is smooth at this scale."""
LEAST = 0.01
"""The difference counts only where it is more than this share of the margin: float rounding is jagged too."""
MANY_QUERIES = 2000
"""Queries of Square Attack that make up for gradients of a jagged function, as far as anything does here."""
MAX_WALKED = 8
"""Images that are walked away from: each walk is many pictures."""


def margin_is_smooth(evidence: Evidence) -> Check:
    """Fails where the margin is jagged within the ball: its gradient at a point tells nothing of the points beside it.

    A warning where Square Attack had many queries, which climb over small jumps.
    """
    return share_check(
        SMOOTH,
        evidence.answered_no(SMOOTH),
        MAX_SHARE,
        finding=f"have a margin that is jagged within {WALK_255}/255",
        meaning="Gradients tell little of what a step does.",
        remedy="Read the worst case with Square Attack of many queries in it (--attacks fgsm,bim,mifgsm,pgd,"
        f"+apgd-margin,+square-{MANY_QUERIES}); look for jumps in the model: rounding, winners taking all, noise "
        "made of the image.",
        loud="warning" if evidence.names(asks_much) else "failed",
        nothing="No sampled image got finite answers all the way.",
    )


def asks_much(attack: AnyAttack) -> bool:
    """Whether an attack climbs by many queries."""
    return isinstance(attack, Square) and attack.queries >= MANY_QUERIES


def is_smooth(source: Source | None) -> Ask:
    """Whether the margin rises and falls no more in fine steps than in coarse ones, on two ways through the ball.

    To a point at random, and along the gradient, for waves along it are all but still on the way to any other point.
    Every pixel goes its own length: steps of one length would miss a ripple of as many to a grey level.
    """

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        dice = derived_seed(target.seed, target.sha256, SMOOTH)
        gradient = yield from gradient_in_place(target.origin, target.label, Loss.MARGIN, source or Source.EXACT)
        share = uniform(target.origin.shape, 1.0, dice).to(target.origin.device)
        ways = [share, (1 + share / 2) * gradient.sign()] if kind_of(gradient) == "fine" else [share]
        for way in ways:
            walk = [(target.origin + WALK_255 / 255 * way * step / N_FINE).clamp(0, 1) for step in range(N_FINE + 1)]
            sights = yield from query(walk, source)
            if any(sight.prediction is None for sight in sights):
                return None
            margins = [sight.margin(target.label) for sight in sights]
            fine, coarse = (_rise_and_fall(margins[::every]) for every in (1, N_FINE // N_COARSE))
            if fine > MAX_RATIO * coarse and fine - coarse > LEAST * max(map(abs, margins)):
                return False
        return True

    return ask


def _rise_and_fall(values: Sequence[float]) -> float:
    return sum(abs(after - before) for before, after in pairwise(values))
