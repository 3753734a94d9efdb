"""Does a search without gradients find what gradients miss?"""

from robaudit.checks.evidence import Evidence, is_gradient_free, is_white_box
from robaudit.checks.saying import left_out, share_check
from robaudit.records import Check

GRADIENT_FREE = "gradient-free"
MAX_SHARE = 0.002
"""AutoAttack's (Croce & Hein 2020): 0.2 points of accuracy."""


def gradients_beat_queries(evidence: Evidence) -> Check:
    """Fails where Square Attack fools images that every attack with gradients left: then gradients mislead."""
    quiet = "fell, at one eps, to Square Attack, which needs no gradient, and to no attack that follows one."
    why = f"{quiet} Gradients mislead."
    remedy = "Look for masked gradients in the model, and attack around what masks them."
    queries = evidence.names(is_gradient_free)
    if queries:
        gain, n = evidence.gain(queries, evidence.names(is_white_box)), evidence.n_images
        return share_check(GRADIENT_FREE, gain, n, MAX_SHARE, why=why, remedy=remedy, quiet=quiet, beyond_chance=False)
    if not evidence.sample_size:
        return left_out(GRADIENT_FREE)
    gain, n = evidence.probed_gain(GRADIENT_FREE), evidence.n_probed(GRADIENT_FREE)
    return share_check(
        GRADIENT_FREE, gain, n, MAX_SHARE, why=why, remedy=remedy, quiet=quiet, sampled=True, beyond_chance=False
    )
