"""Does the model give the same answer every time, and in any company?"""

from robaudit.checks.evidence import Evidence
from robaudit.records import Check

REPEATABLE = "repeatable"
N_PASSES = 5
MAX_CHANGE = 1e-4
"""Largest relative change of a logit between passes; both constants are AutoAttack's (Croce & Hein 2020)."""


def repeatable(evidence: Evidence) -> Check:
    """Fails where an image gets other logits another time or among others: then any lucky draw counts as fooled."""
    change = evidence.unrepeatable
    same = change <= MAX_CHANGE
    return Check(
        id=REPEATABLE,
        status="passed" if same else "failed",
        value=min(change, 1e9),
        threshold=MAX_CHANGE,
        why=f"The model gave the same answers {N_PASSES} times, and again among other pictures."
        if same
        else f"The same images got other logits within {N_PASSES} passes, or among other pictures (relative change "
        f"{change:.2g}), so images may have been fooled, or spared, by chance.",
        remedy=""
        if same
        else "Switch off dropout, noise and other random steps in the model's forward pass, and let batch-norm use "
        "statistics of its own.",
    )
