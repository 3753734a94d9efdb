"""Does a larger budget ever make an attack worse?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check

MONOTONE = "monotone"
MAX_SHARE = 0.01


def larger_budgets_fool_more(evidence: Evidence) -> Check:
    """Fails where PGD fools an image at an eps and not at a larger one: then it loses its way as it moves further.

    The curve itself cannot rise, being nested; this asks the attack at every eps above the one that fooled.
    """
    return share_check(
        MONOTONE,
        evidence.answered_no(MONOTONE),
        MAX_SHARE,
        finding="fell to PGD at one eps and withstood it at a larger one",
        remedy="Take more steps and restarts (--attacks fgsm,bim,mifgsm,pgd-100x5), and look for masked gradients.",
        nothing="No attack of many steps was run on all images, or no sampled image fell to it below the largest eps.",
    )
