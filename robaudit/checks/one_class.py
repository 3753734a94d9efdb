"""Does the model ever predict more than one class?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import plain_check
from robaudit.records import Check

PREDICTS_CLASSES = "predicts-classes"


def predicts_classes(evidence: Evidence) -> Check:
    """Fails where every image gets the same answer: such a model cannot be fooled, and is of no use."""
    predicted = {row.prediction for row in evidence.rows if row.prediction is not None}
    only = next(iter(predicted), "")
    return plain_check(
        PREDICTS_CLASSES,
        len(predicted) == 1 and len(evidence.rows) > 1,
        why=f"The model predicts one class ({only}) for all {len(evidence.rows)} images: what it keeps under attack is "
        "the share of that class, and no robustness.",
        remedy="Check the normalisation and the class order; a model that calls everybody the same tells nothing.",
        quiet=f"The model predicts {len(predicted)} classes.",
    )
