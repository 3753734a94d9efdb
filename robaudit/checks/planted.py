"""Do the attacks find an adversarial example that is known to be there?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check

PLANTED = "planted-adversary"
MAX_SHARE = 0.05
"""Share of planted adversarials that may be missed (Zimmermann et al. 2022)."""


def planted_are_found(evidence: Evidence) -> Check:
    """Fails where attacks miss adversarials planted in the ball by a new head on the model's own features.

    The binarisation test of Zimmermann et al. 2022: every sampled image then has an adversarial, so attacks that follow
    the features' gradients must find one.
    """
    return share_check(
        PLANTED,
        evidence.answered_no(PLANTED),
        MAX_SHARE,
        finding="have an adversarial planted in their ball that the attacks did not find",
        meaning="They are too weak here.",
        remedy="Look for masked gradients between the image and the last layer, or take more steps.",
        beyond_chance=False,
        nothing="No head could be put on the last features: none were found, or too few.",
    )
