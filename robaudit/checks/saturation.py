"""Is the model so sure that cross-entropy fades?"""

from robaudit.checks.evidence import Evidence, follows_margin
from robaudit.checks.saying import share_check
from robaudit.records import Check

SATURATION = "saturation"
SATURATED_MARGIN = 17.0
"""Logit margin from which float32 rounds the probability to 1, and its cross-entropy to 0: exp(-17) < 2^-24."""
MAX_SHARE = 0.01


def saturation(evidence: Evidence) -> Check:
    """Warns where cross-entropy fades and no attack on the margin was run; where one was, it is only said."""
    check = share_check(
        SATURATION,
        evidence.observed_share(lambda each: each.margin >= SATURATED_MARGIN),
        MAX_SHARE,
        finding=f"are answered with a logit margin of {SATURATED_MARGIN:g} or more, where cross-entropy fades",
        remedy="Add an attack on the margin (--attacks fgsm,bim,mifgsm,pgd,+apgd-margin).",
        loud="warning",
    )
    if check.status == "warning" and evidence.names(follows_margin):
        why = f"{check.why} An attack on the margin was run."
        return check.model_copy(update={"status": "passed", "why": why, "remedy": ""})
    return check
