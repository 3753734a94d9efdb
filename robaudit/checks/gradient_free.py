"""Does a search without gradients find what gradients miss?"""

from robaudit.checks.evidence import Evidence, is_gradient_free, is_white_box
from robaudit.checks.saying import share_check
from robaudit.records import Check

GRADIENT_FREE = "gradient-free"
MAX_SHARE = 0.002
"""AutoAttack's (Croce & Hein 2020): 0.2 points of accuracy."""


def gradients_beat_queries(evidence: Evidence) -> Check:
    """Fails where Square Attack fools images that every attack with gradients left: then gradients mislead."""
    return share_check(
        GRADIENT_FREE,
        evidence.gained_where_run(GRADIENT_FREE, is_gradient_free, is_white_box),
        MAX_SHARE,
        finding="fell, at one eps, to Square Attack, which needs no gradient, and to no attack that follows one",
        meaning="Gradients mislead.",
        remedy="Look for masked gradients in the model, and attack around what masks them.",
        beyond_chance=False,
    )
