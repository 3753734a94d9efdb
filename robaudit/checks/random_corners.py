"""Does blind luck find what gradients miss?"""

from robaudit.checks.evidence import Evidence, is_random, is_white_box
from robaudit.checks.saying import left_out, share_check
from robaudit.records import Check

RANDOM_CORNERS = "random-corners"


def gradients_beat_luck(evidence: Evidence) -> Check:
    """Fails where random corners fool an image that every attack with gradients left (Athalye et al. 2018)."""
    why = "fell to random corners of the ball and to no attack that follows a gradient: gradients mislead."
    quiet = "fell to random corners of the ball and to no attack that follows a gradient."
    remedy = "Look for rounding and other steps without a slope in the model, and attack around them."
    draws = evidence.names(is_random)
    if draws:
        gain, n = evidence.gain(draws, evidence.names(is_white_box)), evidence.n_images
        return share_check(RANDOM_CORNERS, gain, n, 0.0, why=why, remedy=remedy, quiet=quiet, beyond_chance=False)
    if not evidence.sample_size:
        return left_out(RANDOM_CORNERS)
    gain, n = evidence.probed_gain(RANDOM_CORNERS), evidence.n_probed(RANDOM_CORNERS)
    return share_check(
        RANDOM_CORNERS, gain, n, 0.0, why=why, remedy=remedy, quiet=quiet, sampled=True, beyond_chance=False
    )
