"""Would more steps and restarts find more?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import left_out, share_check
from robaudit.records import Check

CONVERGENCE = "convergence"
MAX_SHARE = 0.005


def more_steps_change_nothing(evidence: Evidence) -> Check:
    """Fails where twice the steps and restarts fool images that the plan left standing (Carlini et al. 2019)."""
    if not evidence.sample_size:
        return left_out(CONVERGENCE)
    return share_check(
        CONVERGENCE,
        evidence.gained_in_sample(CONVERGENCE),
        MAX_SHARE,
        finding="fell, at one eps, once the strongest attacks took twice the steps and restarts",
        remedy="Take more steps and restarts (--attacks fgsm,bim,mifgsm,pgd-100x5,+apgd-margin-100x5).",
        nothing="No image was answered correctly, or no attack was run that takes more than one step.",
    )
