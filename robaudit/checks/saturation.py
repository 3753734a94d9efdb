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
    n_sure = sum(each.margin >= SATURATED_MARGIN for each in evidence.observed)
    made_up_for = bool(evidence.names(follows_margin))
    if made_up_for and n_sure:
        return share_check(
            SATURATION, n_sure, len(evidence.observed), 1.0, why="", remedy="",
            quiet=f"are answered with a logit margin of {SATURATED_MARGIN:g} or more, where cross-entropy fades; an "
            "attack on the margin was run.",
        ).model_copy(update={"threshold": MAX_SHARE})  # fmt: skip
    return share_check(
        SATURATION,
        n_sure,
        len(evidence.observed),
        MAX_SHARE,
        why=f"are answered with a logit margin of {SATURATED_MARGIN:g} or more, where cross-entropy fades to nothing.",
        remedy="Add an attack on the margin (--attacks fgsm,bim,mifgsm,pgd,+apgd-margin).",
        quiet=f"are answered with a logit margin of {SATURATED_MARGIN:g} or more.",
        loud="warning",
    )
