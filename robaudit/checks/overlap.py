"""Were any of the audited images learnt from?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import not_applicable, share_check
from robaudit.records import NOT_LEARNT_FROM, Check


def images_are_new(evidence: Evidence) -> Check:
    """Warns where audited images stand, pixel for pixel, in the train or val part, or among what a retrofit learnt."""
    if evidence.overlap is None:
        return not_applicable(
            NOT_LEARNT_FROM,
            "The data has no train or val part to compare with, and the model does not say what it has learnt from.",
        )
    return share_check(
        NOT_LEARNT_FROM,
        evidence.overlap,
        0.0,
        finding="were learnt from or are in train or val too, pixel for pixel",
        meaning="Accuracy, clean and under attack, is optimistic.",
        remedy="Leave these out (--on-learnt-image skip), or scan the test part of the split.csv beside the retrofit.",
        loud="warning",
        beyond_chance=False,
    )
