"""Do attacks on the margin find what those on cross-entropy miss?"""

from robaudit.checks.evidence import Evidence, follows_entropy, follows_margin
from robaudit.checks.saying import left_out, not_applicable, share_check
from robaudit.records import Check

MARGIN_LOSS = "margin-loss"
MAX_SHARE = 0.01
"""Of a sample, where no attack on the margin was run on all images: more, and the curve is too high."""
FADED_SHARE = 0.25
"""Where one was: a margin finds more on honest models too, of many classes above all; a quarter is no honest gain."""


def margin_agrees_with_entropy(evidence: Evidence) -> Check:
    """Warns where cross-entropy alone overstates robustness; fails where the margin was only sampled."""
    entropy, margins = evidence.names(follows_entropy), evidence.names(follows_margin)
    found = "fell, at one eps, to an attack on the margin and to none on cross-entropy, which fades on this model"
    quiet = "fell, at one eps, to an attack on the margin and to none on cross-entropy."
    if margins and not entropy:
        return not_applicable(MARGIN_LOSS, "All attacks follow the margin.")
    if margins:
        return share_check(
            MARGIN_LOSS, evidence.gain(margins, entropy), evidence.n_images, FADED_SHARE,
            why=f"{found}; the worst case includes both.",
            remedy="Read the worst case, and not the curve of one attack.",
            quiet=f"{quiet.removesuffix('.')}; the worst case includes both.",
            loud="warning",
        )  # fmt: skip
    if not evidence.sample_size:
        return left_out(MARGIN_LOSS)
    return share_check(
        MARGIN_LOSS, evidence.probed_gain(MARGIN_LOSS), evidence.n_probed(MARGIN_LOSS), MAX_SHARE,
        why=f"{found}.",
        remedy="Add an attack on the margin (--attacks fgsm,bim,mifgsm,pgd,+apgd-margin).",
        quiet=quiet,
        sampled=True,
    )  # fmt: skip
