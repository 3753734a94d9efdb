"""Did the model answer every image with finite numbers?"""

from robaudit.checks.evidence import Evidence
from robaudit.records import Check

FINITE_ANSWERS = "finite-answers"


def finite_answers(evidence: Evidence) -> Check:
    """Fails where any image got no finite answer: it is never counted as correct, but what it shows is unknown."""
    unanswered = [row.id for row in evidence.rows if row.error is not None]
    named = ", ".join(unanswered[:3]) + (", ..." if len(unanswered) > 3 else "")
    return Check(
        id=FINITE_ANSWERS,
        status="failed" if unanswered else "passed",
        value=len(unanswered),
        threshold=0,
        why=f"The model gave no finite answer for {len(unanswered)} of {len(evidence.rows)} images ({named})."
        if unanswered
        else "The model gave a finite answer for every image.",
        remedy="Look for overflow, a division by zero or a wrong normalisation in the model." if unanswered else "",
    )
