"""Without a bound worth the name, do the attacks succeed where success is certain?"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robaudit.attack.batching import Dialogue, Work, query
from robaudit.attack.climb import Target, climb
from robaudit.attack.names import parse_attack
from robaudit.attack.threats import AnyAttack, Attack
from robaudit.checks.asking import Ask
from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check, ImageRow

UNBOUNDED = "unbounded"
BUDGETS_255 = (255, 128)
"""At 255 any image may become any other; at 128 it may become flat grey."""
WITHOUT_BOUND = tuple(map(parse_attack, ("pgd-margin", "pgd", "pgd-margin-200x2", "pgd-margin-10x80")))
"""The attacks of the unbounded and the planted test, until one succeeds; the last two have steps, and starts, enough
for anything: what is planted in one corner is near few of the starts in a ball, and then two or three steps away.
"""


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


def without_bound(predicted: frozenset[int], has_front: bool, has_head: bool) -> Ask:
    """Whether attacks with gradients fool wherever a trivial picture is known to; None where none is known."""
    around = [name for name, is_there in (("bpda", has_front), ("head", has_head)) if is_there]
    attacks = (*map(parse_attack, around), *WITHOUT_BOUND)
    another, grey = BUDGETS_255

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        (seen,) = yield from query([torch.full_like(target.origin, 0.5)])
        budgets = [another] if predicted - {target.label} else []
        budgets += [grey] if seen.prediction != target.label else []
        for eps_255 in budgets:
            if not (yield from any_fools(target, attacks, eps_255)):
                return False
        return True if budgets else None

    return ask


def any_fools(target: Target, attacks: Sequence[AnyAttack], eps_255: int) -> Dialogue[bool]:
    """Whether one of these attacks fools, each asked until one does."""
    for attack in attacks:
        assert isinstance(attack, Attack)
        if (yield from climb(target, attack, eps_255)) is not None:
            return True
    return False
