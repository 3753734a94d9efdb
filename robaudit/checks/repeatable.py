"""Does the model give the same answer every time, and in any company?"""

from robaudit.checks.evidence import Evidence
from robaudit.records import Check

REPEATABLE = "repeatable"
N_PASSES = 5
MAX_CHANGE = 1e-4
"""Largest relative change of a logit between passes; both constants are AutoAttack's (Croce & Hein 2020)."""


def repeatable(evidence: Evidence) -> Check:
    """Fails where the same pictures get other logits another time, or beside or after others: luck may then fool."""
    change = evidence.unrepeatable
    same = change <= MAX_CHANGE
    return Check(
        id=REPEATABLE,
        status="passed" if same else "failed",
        value=min(change, 1e9),
        threshold=MAX_CHANGE,
        why=f"The model gave the same answers {N_PASSES} times, whatever images stood beside them."
        if same
        else f"The same images got other logits within {N_PASSES} passes beside other images (relative change "
        f"{change:.2g}), so images may have been fooled, or spared, by chance.",
        remedy=""
        if same
        else "Switch off dropout, noise and other random steps in the model's forward pass, what remembers earlier "
        "pictures, and what looks at others of the batch, such as batch-norm without running statistics.",
    )
