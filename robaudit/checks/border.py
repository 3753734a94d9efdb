"""Does the answer turn gradually, or jump?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check

BORDER = "border"
MAX_SHARE = 0.1
NEARBY = 1 / (64 * 255)
"""How far apart two pictures on either side of the border are, at most: a 64th of a grey level."""
MAX_JUMP = 0.25
"""Margins on both sides together, as a share of the largest margin at the ends of the way, that are still gradual."""


def answers_turn_gradually(evidence: Evidence) -> Check:
    """Fails where the margin jumps as the answer turns: then its height tells nothing of how near the border is.

    Attacks climb the margin, by gradients or by queries; of a jump neither sees anything until it is past. Where an
    attack behind the answers was run, the margin is that of what it follows, which must be near nothing there too.
    """
    return share_check(
        BORDER,
        evidence.answered_no(BORDER),
        MAX_SHARE,
        finding="change their answer in a jump, on the way to a picture of another",
        meaning="How sure the model is does not tell how near another answer is, which is what attacks follow.",
        remedy="Look for thresholds, rounding and detectors in the model, and attack what comes before them.",
        nothing="No way from a sampled image to another answer is known.",
    )
