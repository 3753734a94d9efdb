"""Do the attacks find an adversarial example that is known to be there?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import left_out, not_applicable, share_check
from robaudit.records import Check

PLANTED = "planted-adversary"
MAX_SHARE = 0.05
"""Share of planted adversarials that may be missed (Zimmermann et al. 2022)."""


def planted_are_found(evidence: Evidence) -> Check:
    """Fails where attacks miss adversarials planted in the ball by a new head on the model's own features.

    The binarisation test of Zimmermann et al. 2022: every sampled image then has an adversarial, so attacks that follow
    the features' gradients must find one.
    """
    if not evidence.sample_size:
        return left_out(PLANTED)
    asked = [probe for probe in evidence.probes.get(PLANTED, ()) if probe.answer is not None]
    if not asked:
        return not_applicable(PLANTED, "The model's last layer was not found, so no head can be put on its features.")
    return share_check(
        PLANTED,
        sum(probe.answer is False for probe in asked),
        len(asked),
        MAX_SHARE,
        why="have an adversarial planted in their ball that the attacks did not find: they are too weak here.",
        remedy="Look for masked gradients between the image and the last layer, or take more steps.",
        quiet="have an adversarial planted in their ball that the attacks did not find.",
        sampled=True,
        beyond_chance=False,
    )
