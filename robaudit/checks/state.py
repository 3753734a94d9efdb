"""Is the model after the audit the model before it?"""

from robaudit.records import Check


def state_untouched(before: str, after: str) -> Check:
    """Fails where weights, buffers, modes, requires_grad, device or layout changed while the model was measured.

    Args:
        before: `fingerprint` of the model before the first attack.
        after: the same, after the last.
    """
    same = before == after
    return Check(
        id="state-untouched",
        status="passed" if same else "failed",
        value=float(not same),
        threshold=0,
        why="The model's weights, buffers and modes are as they were before the audit."
        if same
        else "The model changed while it was measured, so the images were not all shown to the same model.",
        remedy="" if same else "Look for a forward pass that writes to parameters or buffers, and make it pure.",
    )
