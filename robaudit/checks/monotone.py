"""Does a larger budget ever make an attack worse?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import left_out, share_check
from robaudit.records import Check

MONOTONE = "monotone"
MAX_SHARE = 0.01


def larger_budgets_fool_more(evidence: Evidence) -> Check:
    """Fails where PGD fools an image at an eps and not at a larger one: then it loses its way as it moves further.

    The curve itself cannot rise, being nested; this asks the attack at every eps above the one that fooled.
    """
    if not evidence.sample_size:
        return left_out(MONOTONE)
    asked = [probe for probe in evidence.probes.get(MONOTONE, ()) if probe.answer is not None]
    return share_check(
        MONOTONE,
        sum(probe.answer is False for probe in asked),
        len(asked),
        MAX_SHARE,
        why="fell to PGD at one eps and withstood it at a larger one.",
        remedy="Take more steps and restarts (--attacks fgsm,bim,mifgsm,pgd-100x5), and look for masked gradients.",
        quiet="fell to PGD at one eps and withstood it at a larger one.",
        sampled=True,
    )
