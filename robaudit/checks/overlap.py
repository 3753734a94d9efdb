"""Were any of the audited images learnt from?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import Check

NOT_LEARNT_FROM = "not-learnt-from"


def images_are_new(evidence: Evidence) -> Check:
    """Warns where audited images stand, pixel for pixel, in the train or val part of the same data."""
    if evidence.overlap is None:
        return not_applicable(NOT_LEARNT_FROM, "The data has no train or val part to compare with.")
    return share_check(
        NOT_LEARNT_FROM,
        evidence.overlap,
        0.0,
        finding="are in train or val too, pixel for pixel",
        meaning="Accuracy, clean and under attack, is optimistic.",
        remedy="Take the repeated images out of the test part, and scan again.",
        loud="warning",
        beyond_chance=False,
    )
