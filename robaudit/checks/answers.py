"""Did the model answer every image with finite numbers?"""

from robaudit.records import Check, ImageRow


def answers(rows: list[ImageRow]) -> Check:
    """Fails where any image got no finite answer: it is never counted as correct, but what it shows is unknown."""
    unanswered = [row.id for row in rows if row.error is not None]
    named = ", ".join(unanswered[:3]) + (", ..." if len(unanswered) > 3 else "")
    return Check(
        id="finite-answers",
        status="failed" if unanswered else "passed",
        value=len(unanswered),
        threshold=0,
        why=f"The model gave no finite answer for {len(unanswered)} of {len(rows)} images ({named})."
        if unanswered
        else "The model gave a finite answer for every image.",
        remedy="Look for overflow, a division by zero or a wrong normalisation in the model." if unanswered else "",
    )
