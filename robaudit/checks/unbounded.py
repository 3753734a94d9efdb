"""Without a bound worth the name, do the attacks succeed where success is certain?"""

from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check

UNBOUNDED = "unbounded"
BUDGETS_255 = (255, 128)
"""At 255 any image may become any other; at 128 it may become flat grey."""


def unbounded_attacks_succeed(evidence: Evidence) -> Check:
    """Fails where attacks with gradients do not reach, at eps 255 or 128, what trivial pictures prove to be there.

    At 255 an image may be replaced by one that gets another answer, at 128 by flat grey (Athalye et al. 2018; Carlini
    et al. 2019). The proof does not count for the attack: it must find a way of its own.
    """
    return share_check(
        UNBOUNDED,
        evidence.answered_no(UNBOUNDED),
        0.0,
        finding="withstood attacks with gradients at an eps at which a trivial picture is known to fool",
        meaning="The attacks are blind.",
        remedy="Look for masked gradients; no number of this audit shows robustness.",
        beyond_chance=False,
        nothing="No other answer is known to be in reach of the sampled images.",
    )
