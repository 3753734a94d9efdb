"""Are all adversarial pictures inside their ball and in [0, 1]?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import plain_check
from robaudit.records import Check

WITHIN_BOUNDS = "within-bounds"
TOLERANCE = 1e-6
"""Rounding allowed, in [0, 1] units."""


def within_bounds(evidence: Evidence) -> Check:
    """Fails where an adversarial picture broke the threat model: then the curve is too low."""
    excess = max((each.excess for each in evidence.observed), default=0.0)
    return plain_check(
        WITHIN_BOUNDS,
        not excess <= TOLERANCE,
        value=min(max(excess, 0.0), 1e9),
        threshold=TOLERANCE,
        why=f"An adversarial picture is {excess:.2g} outside its ball or [0, 1].",
        remedy="This is a mistake of robaudit; please report it.",
        quiet="Every adversarial picture is inside its ball and in [0, 1].",
    )
