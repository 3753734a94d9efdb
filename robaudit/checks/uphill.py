"""Does a step along the gradient lead up?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check

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
