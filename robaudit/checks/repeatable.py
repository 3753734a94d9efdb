"""Does the model give the same answer twice?"""

from robaudit.records import Check

MAX_CHANGE = 1e-4
"""Largest relative change of a logit between two runs (Croce & Hein 2020, as AutoAttack checks it)."""


def repeatable(change: float) -> Check:
    """Fails where the same batch got other logits the second time: then any lucky draw counts as fooled.

    Args:
        change: largest change of a logit, relative to the largest logit; infinite where finiteness itself changed.
    """
    same = change <= MAX_CHANGE
    return Check(
        id="repeatable",
        status="passed" if same else "failed",
        value=min(change, 1e9),
        threshold=MAX_CHANGE,
        why="The model gave the same answers twice."
        if same
        else f"The same images got other logits the second time (relative change {change:.2g}), so images may have "
        "been fooled by chance.",
        remedy="" if same else "Switch off dropout, noise and other random steps in the model's forward pass.",
    )
