"""Do attacks on the margin find what those on cross-entropy miss?"""

from robaudit.checks.evidence import Evidence, follows_entropy, follows_margin
from robaudit.checks.saying import another_way_check, not_applicable
from robaudit.records import Check

MARGIN_LOSS = "margin-loss"
MAX_SHARE = 0.01
"""Of a sample, where no attack on the margin was run on all images: more, and the curve is too high."""
FADED_SHARE = 0.25
"""Where one was: a margin finds more on honest models too, of many classes above all; a quarter is no honest gain."""


def margin_agrees_with_entropy(evidence: Evidence) -> Check:
    """Warns where cross-entropy alone overstates robustness; fails where the margin was only sampled."""
    if not evidence.names(follows_entropy):
        return not_applicable(MARGIN_LOSS, "All attacks follow the margin.")
    return another_way_check(
        MARGIN_LOSS,
        evidence.gained_where_run(MARGIN_LOSS, follows_margin, follows_entropy),
        MAX_SHARE,
        finding="fell, at one eps, to an attack on the margin and to none on cross-entropy",
        meaning="Cross-entropy fades on this model.",
        attack="+apgd-margin",
        remedy="Read the worst case, and not the curve of one attack.",
        max_share_of_all=FADED_SHARE,
    )
