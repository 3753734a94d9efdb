"""Does a step along the gradient lead up?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check

UPHILL = "uphill"
MAX_SHARE = 0.1
STEP_255 = 1
"""Length of the step, in grey levels: the smallest eps there is."""


def gradients_lead_up(evidence: Evidence) -> Check:
    """Fails where the margin is no larger one signed step along its gradient than one step against it.

    Such a gradient is there, and is not that of what the model computes at the scale of the attacks: a backward pass of
    its own, or waves too short to follow.
    """
    return share_check(
        UPHILL,
        evidence.answered_no(UPHILL),
        MAX_SHARE,
        finding="have a margin no larger one step along its gradient than one step against it",
        meaning="The gradients are not those of what the model computes.",
        remedy="Look for a backward pass that differs from the forward one, and for steps that shatter gradients.",
        nothing="No sampled image has a gradient of the margin to follow.",
    )
