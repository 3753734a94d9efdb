"""Does a step along the gradient lead up?"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

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
MAX_SHARE = 0.05
N_DRAWS = 2
"""Times that an image has to say no."""
STEP_255 = (0.5, 1.0)
"""Shortest and longest step, in grey levels: up to the smallest eps there is."""
AROUND_255 = 4
"""Radius of the ball, in grey levels, in which the slope is measured."""
STRAIGHT_255 = (1 / 256, 1 / 64, 1 / 16, 1 / 4)
"""Lengths over which it is measured, in grey levels, until one is straight."""
MULTIPLES = (1, 2, 4)
"""Of each length, over which it is measured."""
MAX_BEND = 0.1
"""Largest difference between the slopes to both sides, over a length and its multiples, that counts as straight."""
MAX_MISSTATED = 0.1
"""Largest difference between the slope along the gradient and what the gradient says of it, relative to that."""
N_ASTRAY = 4
"""Random directions in which slopes are measured too."""
MAX_MISSED = 0.2
"""Largest difference there, root mean square, relative to the gradient's Euclidean length."""


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
        beyond_chance=False,
        nothing="No sampled image has a gradient of the margin to follow.",
    )


def leads_up(source: Source | None) -> Ask:
    """Whether the margin rises along its gradient, and as the gradient says; None without a gradient.

    Where it does not, once more with other dice: a kink of an honest model is not met twice.
    """

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        for draw in range(N_DRAWS):
            dice = partial(derived_seed, target.seed, target.sha256, UPHILL, draw)
            rises = yield from _rises(target, source, dice)
            if rises is None:
                return None
            if rises and (yield from _is_as_stated(target, source, dice)):
                return True
        return False

    return ask


def _rises(target: Target, source: Source | None, dice: Callable[..., int]) -> Dialogue[bool | None]:
    """Whether the margin is larger a step along its gradient than at the image, or one against it; None without one.

    Every image has a length of its own: of one length, steps could fit the waves of a model. Either will do: of a
    model that bends sharply the margin may rise both ways, and faster against its gradient.
    """
    low, high = STEP_255
    step = (low + (high - low) * (float(uniform(torch.Size([1]), 0.5, dice("step"))) + 0.5)) / 255
    iterate = Iterate(target.origin, target.label, eps=step, step_size=step, x=target.origin, loss=Loss.MARGIN)
    seen = yield from ascend(iterate, source or Source.MODEL)
    if kind_of(seen.gradient) != "fine":
        return None
    back = within_ball(target.origin - step * seen.gradient.sign(), target.origin, step)
    sights = yield from query([iterate.x, target.origin, back], source)
    ahead, *others = (sight.margin(target.label) for sight in sights)
    return any(ahead > other for other in others)


def _is_as_stated(target: Target, source: Source | None, dice: Callable[..., int]) -> Dialogue[bool]:
    """Whether the margin's slopes at a random point of the ball are those that its gradient there states.

    Along the gradient, where a part that is missing shows by what it would have added; and at random, where pixels
    move whose gradient is zero. At the image itself background of one grey makes maxima tie, and a gradient is one of
    many. Every pixel goes its own length, from half of it to one and a half: of one length, steps could miss a ripple.
    """
    shape, device = target.origin.shape, target.origin.device
    room = 1.5 * MULTIPLES[-1] * STRAIGHT_255[-1] / 255
    low, high = ((target.origin + move / 255).clamp(room, 1 - room) for move in (-AROUND_255, AROUND_255))
    point = low + (high - low) * (uniform(shape, 0.5, dice("point")) + 0.5).to(device)
    gradient = yield from gradient_in_place(point, target.label, Loss.MARGIN, source or Source.EXACT)
    if kind_of(gradient) != "fine":
        return True
    pace = (uniform(shape, 0.5, dice("pace")) + 1).to(device)
    along = pace * gradient.sign()
    stated = float((gradient * along).sum())
    slope = yield from _slope(target, source, point, along, stated)
    if slope is not None and abs(slope - stated) > MAX_MISSTATED * stated:
        return False
    size = float((gradient * pace).norm())  # root mean square of the slope in a random direction
    missed = []
    for index in range(N_ASTRAY):
        astray = pace * uniform(shape, 1.0, dice("astray", index)).sign().to(device)
        slope = yield from _slope(target, source, point, astray, size)
        missed += [] if slope is None else [(slope - float((gradient * astray).sum())) / size]
    return math.hypot(*missed) <= MAX_MISSED * math.sqrt(len(missed))


def _slope(target: Target, source: Source | None, point: Tensor, way: Tensor, size: float) -> Dialogue[float | None]:
    """The margin's slope at a point, over the shortest length at which the model is straight and does not round.

    There the slopes from the point to either side agree, over that length and its multiples, to a share of what a slope
    is expected to be; rounded ones agree by chance, but not on both sides. None: nowhere.
    """
    for length_255 in STRAIGHT_255:
        steps = [sign * n * length_255 / 255 for n in MULTIPLES for sign in (1, -1)]
        here, *there = yield from query([point, *(point + step * way for step in steps)], source)
        rises = [sight.margin(target.label) - here.margin(target.label) for sight in there]
        slopes = [rise / step for rise, step in zip(rises, steps, strict=True)]
        slope = sum(slopes[:2]) / 2
        if slope != 0 and all(abs(slope - other) <= MAX_BEND * max(abs(slope), size) for other in slopes):
            return slope
    return None
