"""Were any of the audited images learnt from?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check

NOT_LEARNT_FROM = "not-learnt-from"


def images_are_new(evidence: Evidence) -> Check:
    """Warns where audited images stand, pixel for pixel, in the train or val part of the same data."""
    overlap = evidence.overlap
    if overlap is None:
        return not_applicable(NOT_LEARNT_FROM, "The data has no train or val part to compare with.")
    return share_check(
        NOT_LEARNT_FROM,
        overlap.n_seen,
        overlap.n_images,
        0.0,
        why="are in train or val too, pixel for pixel: accuracy, clean and under attack, is optimistic.",
        remedy="Take the repeated images out of the test part, and scan again.",
        quiet="are in train or val too, pixel for pixel.",
        loud="warning",
        beyond_chance=False,
    )
