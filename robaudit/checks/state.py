"""Is the model after the audit the model before it?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import plain_check
from robaudit.records import Check

STATE_UNTOUCHED = "state-untouched"


def state_untouched(evidence: Evidence) -> Check:
    """Fails where weights, buffers, modes, requires_grad, device or layout changed while the model was measured."""
    return plain_check(
        STATE_UNTOUCHED,
        evidence.state_before != evidence.state_after,
        why="The model changed while it was measured, so the images were not all shown to the same model.",
        remedy="Look for a forward pass that writes to parameters or buffers, and make it pure.",
        quiet="The model's weights, buffers and modes are as they were before the audit.",
    )
