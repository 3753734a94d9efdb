"""Do attacks on the margin find what those on cross-entropy miss?"""

from robaudit.checks.evidence import Evidence, follows_entropy, follows_margin
from robaudit.checks.saying import left_out, not_applicable, share_check
from robaudit.records import Check

MARGIN_LOSS = "margin-loss"
MAX_SHARE = 0.01
"""Of a sample, where no attack on the margin was run on all images: more, and the curve is too high."""
FADED_SHARE = 0.25
"""Where one was: a margin finds more on honest models too, of many classes above all; a quarter is no honest gain."""
FINDING = "fell, at one eps, to an attack on the margin and to none on cross-entropy"


def margin_agrees_with_entropy(evidence: Evidence) -> Check:
    """Warns where cross-entropy alone overstates robustness; fails where the margin was only sampled."""
    if not evidence.names(follows_entropy):
        return not_applicable(MARGIN_LOSS, "All attacks follow the margin.")
    gained = evidence.gained_where_run(MARGIN_LOSS, follows_margin, follows_entropy)
    if gained is None:
        return left_out(MARGIN_LOSS)
    if gained.sampled:
        return share_check(
            MARGIN_LOSS, gained, MAX_SHARE,
            finding=FINDING,
            meaning="Cross-entropy fades on this model.",
            remedy="Add an attack on the margin (--attacks fgsm,bim,mifgsm,pgd,+apgd-margin).",
        )  # fmt: skip
    return share_check(
        MARGIN_LOSS, gained, FADED_SHARE,
        finding=f"{FINDING}; the worst case includes both",
        meaning="Cross-entropy fades on this model.",
        remedy="Read the worst case, and not the curve of one attack.",
        loud="warning",
    )  # fmt: skip
