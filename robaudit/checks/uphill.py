"""Does a step along the gradient lead up?"""

from __future__ import annotations

from robaudit.attack.batching import Dialogue, Work, ascend, query
from robaudit.attack.climb import Target
from robaudit.attack.examine import gradient_in_place, kind_of
from robaudit.attack.losses import Loss
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.step import Iterate, within_ball
from robaudit.attack.threats import Source
from robaudit.checks.asking import Ask
from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check, ImageRow

UPHILL = "uphill"
MAX_SHARE = 0.1
STEP_255 = 1
"""Length of the step, in grey levels: the smallest eps there is."""
AROUND_255 = 4
"""Radius of the ball, in grey levels, in which the slope is measured."""
STRAIGHT_255 = (1 / 256, 1 / 64, 1 / 16, 1 / 4)
"""Lengths over which it is measured, in grey levels, until one is straight."""
MULTIPLES = (1, 2, 4)
"""Of each length, over which it is measured."""
MAX_BEND = 0.05
"""Largest difference between the slopes over a length and over its multiples that counts as straight, relatively."""
MAX_MISSTATED = 0.1
"""Largest difference between the slope and what the gradient says of it, relative to that."""


def gradients_lead_up(evidence: Evidence) -> Check:
    """Fails where the margin does not rise along its gradient, or not as steeply as the gradient says.

    Such a gradient is there, and is not that of what the model computes, or not at the scale of the attacks: a backward
    pass of its own, a part of the network that gradients do not pass, or waves too short to follow.
    """
    return share_check(
        UPHILL,
        evidence.answered_no(UPHILL),
        MAX_SHARE,
        finding="have a margin that does not rise along its gradient, or not as steeply as the gradient says",
        meaning="The gradients are not those of what the model computes.",
        remedy="Look for a backward pass that differs from the forward one, for parts that are detached from it, and "
        "for steps that shatter gradients.",
        nothing="No sampled image has a gradient of the margin to follow.",
    )


def leads_up(source: Source | None) -> Ask:
    """Whether the margin rises along its gradient, and as steeply as the gradient says; None without a gradient."""

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        step = STEP_255 / 255
        iterate = Iterate(target.origin, target.label, eps=step, step_size=step, x=target.origin, loss=Loss.MARGIN)
        seen = yield from ascend(iterate, source or Source.MODEL)
        if kind_of(seen.gradient) != "fine":
            return None
        back = within_ball(target.origin - step * seen.gradient.sign(), target.origin, step)
        ahead, behind = yield from query([iterate.x, back], source)
        return ahead.margin(target.label) > behind.margin(target.label) and (yield from _is_as_steep(target, source))

    return ask


def _is_as_steep(target: Target, source: Source | None) -> Dialogue[bool]:
    """Whether the margin's slope, along its gradient at a random point of the ball, is the one that this states.

    At the image itself background of one grey makes maxima tie, and a gradient is one of many. The slope is taken over
    a length and its multiples, and counts where they agree: there the model is straight, and does not round. True where
    it is so nowhere. Every pixel goes its own length, from half of it to one and a half: of one length, steps could
    miss a ripple.
    """
    room = 1.5 * MULTIPLES[-1] * STRAIGHT_255[-1] / 255
    low, high = ((target.origin + move / 255).clamp(room, 1 - room) for move in (-AROUND_255, AROUND_255))
    share = uniform(target.origin.shape, 0.5, derived_seed(target.seed, target.sha256, UPHILL)) + 0.5
    point = low + (high - low) * share.to(low.device)
    gradient = yield from gradient_in_place(point, target.label, Loss.MARGIN, source or Source.EXACT)
    if kind_of(gradient) != "fine":
        return True
    pace = uniform(target.origin.shape, 0.5, derived_seed(target.seed, target.sha256, UPHILL, "pace")) + 1
    way = pace.to(low.device) * gradient.sign()
    stated = float((gradient * way).sum())
    for length_255 in STRAIGHT_255:
        steps = [n * length_255 / 255 for n in MULTIPLES]
        sights = yield from query([point + sign * step * way for step in steps for sign in (1, -1)], source)
        margins = [sight.margin(target.label) for sight in sights]
        ends = zip(steps, margins[::2], margins[1::2], strict=True)
        slope, *further = ((ahead - behind) / (2 * step) for step, ahead, behind in ends)
        if slope != 0 and all(abs(slope - other) <= MAX_BEND * abs(slope) for other in further):
            return abs(slope - stated) <= MAX_MISSTATED * stated
    return True
