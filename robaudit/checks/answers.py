"""Did the model answer every image with finite numbers?"""

from robaudit.checks.evidence import Evidence
from robaudit.records import Check

FINITE_ANSWERS = "finite-answers"


def finite_answers(evidence: Evidence) -> Check:
    """Fails where any image got no finite answer: it is never counted as correct, but what it shows is unknown."""
    unanswered = [row for row in evidence.rows if row.error is not None]
    if not unanswered:
        why = "The model gave a finite answer for every image."
        return Check(id=FINITE_ANSWERS, status="passed", value=0, threshold=0, why=why, remedy="")
    reasons = "; ".join(f"{row.id}: {row.error}" for row in unanswered[:3]) + ("; ..." if len(unanswered) > 3 else "")
    return Check(
        id=FINITE_ANSWERS,
        status="failed",
        value=len(unanswered),
        threshold=0,
        why=f"The model gave no finite answer for {len(unanswered)} of {len(evidence.rows)} images ({reasons}).",
        remedy="Look in the model for what is named: overflow, a division by zero, a wrong normalisation, an error.",
    )
