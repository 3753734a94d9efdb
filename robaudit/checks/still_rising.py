"""Had the attacks arrived when their steps ran out?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check, Observed

STILL_RISING = "still-rising"
MAX_SHARE = 0.1
"""Pintor et al. 2022, as their indicator is used: one image in ten."""


def attacks_arrived(evidence: Evidence) -> Check:
    """Fails where the loss still rose in the last steps of every longer attack that an image resisted."""
    share = evidence.observed_share(_never_arrived, lambda each: bool(each.climbed))
    if not share.n_images:
        return not_applicable(STILL_RISING, "No image was climbed on for 20 steps or more.")
    return share_check(
        STILL_RISING,
        share,
        MAX_SHARE,
        finding="resisted every longer attack while its loss still rose",
        meaning="More steps may find more.",
        remedy="Take more steps (--attacks fgsm,bim,mifgsm,pgd-100,+apgd-margin-100).",
    )


def _never_arrived(observed: Observed) -> bool:
    return set(observed.unfinished) == set(observed.climbed)
