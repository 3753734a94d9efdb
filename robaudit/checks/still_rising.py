"""Had the attacks arrived when their steps ran out?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check

STILL_RISING = "still-rising"
MAX_SHARE = 0.1
"""Pintor et al. 2022, as their indicator is used: one image in ten."""


def attacks_arrived(evidence: Evidence) -> Check:
    """Fails where the loss still rose in the last ten steps of every attack that an image resisted."""
    climbed = [each for each in evidence.observed if each.climbed]
    if not climbed:
        return not_applicable(STILL_RISING, "No attack took more than 20 steps.")
    n_unfinished = sum(set(each.unfinished) == set(each.climbed) for each in climbed)
    return share_check(
        STILL_RISING,
        n_unfinished,
        len(climbed),
        MAX_SHARE,
        why="resisted every longer attack while its loss still rose: more steps may find more.",
        remedy="Take more steps (--attacks fgsm,bim,mifgsm,pgd-100,+apgd-margin-100).",
        quiet="resisted every longer attack while its loss still rose.",
    )
