"""Does blind luck find what gradients miss?"""

from robaudit.checks.evidence import Evidence, is_random, is_white_box
from robaudit.checks.saying import share_check
from robaudit.records import Check

RANDOM_CORNERS = "random-corners"


def gradients_beat_luck(evidence: Evidence) -> Check:
    """Fails where random corners fool an image that every attack with gradients left (Athalye et al. 2018)."""
    return share_check(
        RANDOM_CORNERS,
        evidence.gained_where_run(RANDOM_CORNERS, is_random, is_white_box),
        0.0,
        finding="fell to random corners of the ball and to no attack that follows a gradient",
        meaning="Gradients mislead.",
        remedy="Look for rounding and other steps without a slope in the model, and attack around them.",
        beyond_chance=False,
    )
