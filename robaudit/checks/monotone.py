"""Does a larger budget ever make an attack worse?"""

from __future__ import annotations

from collections.abc import Sequence

from robaudit.attack.batching import Dialogue, Work
from robaudit.attack.climb import Target, climb
from robaudit.attack.threats import Attack
from robaudit.checks.asking import Ask
from robaudit.checks.evidence import Evidence
from robaudit.checks.saying import share_check
from robaudit.records import Check, ImageRow

MONOTONE = "monotone"
MAX_SHARE = 0.01


def larger_budgets_fool_more(evidence: Evidence) -> Check:
    """Fails where the strongest attack fools an image at an eps and not at a larger one: it loses its way further off.

    The curve itself cannot rise, being nested; this asks the attack at every eps above the one that fooled.
    """
    attack = next((probe.name for probe in evidence.probes.get(MONOTONE, ())), "the strongest attack")
    return share_check(
        MONOTONE,
        evidence.answered_no(MONOTONE),
        MAX_SHARE,
        finding=f"fell to {attack} at one eps and withstood it at a larger one",
        remedy="Take more steps and restarts (--attacks fgsm,bim,mifgsm,pgd-100x5), and look for masked gradients.",
        nothing="No attack of many steps was run on all images, or no sampled image fell to it below the largest eps.",
    )


def ever_larger(attack: Attack, grid: Sequence[int]) -> Ask:
    """Whether the attack fools at every eps above the smallest that it fooled at; None where there is none above."""

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        smallest = row.fooled_at.get(attack.name)
        above = [] if smallest is None else [eps_255 for eps_255 in grid if eps_255 > smallest]
        for eps_255 in above:
            found = yield from climb(target, attack, eps_255)
            if found is None:
                return False
        return True if above else None

    return ask
