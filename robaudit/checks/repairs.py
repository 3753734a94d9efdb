"""Which attack, run on all images, would mend what a check found wrong with the measurement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from robaudit.attack.names import doubled, parse_attack
from robaudit.attack.threats import AnyAttack, Attack
from robaudit.checks.answers import FINITE_ANSWERS
from robaudit.checks.bpda import BPDA
from robaudit.checks.convergence import CONVERGENCE
from robaudit.checks.evidence import (
    follows_entropy,
    follows_margin,
    is_iterative,
    looks_behind_answers,
    sees_past_front,
)
from robaudit.checks.gradient_free import GRADIENT_FREE
from robaudit.checks.gradients import GRADIENTS_PRESENT
from robaudit.checks.last_layer import LAST_LAYER
from robaudit.checks.margin_loss import MARGIN_LOSS
from robaudit.checks.monotone import MONOTONE
from robaudit.checks.one_class import PREDICTS_CLASSES
from robaudit.checks.random_corners import RANDOM_CORNERS
from robaudit.checks.repeatable import REPEATABLE
from robaudit.checks.saturation import SATURATION
from robaudit.checks.single_step import SINGLE_STEP
from robaudit.checks.smooth import MANY_QUERIES, SMOOTH, asks_much
from robaudit.checks.state import STATE_UNTOUCHED
from robaudit.checks.still_rising import STILL_RISING
from robaudit.checks.transfer import TRANSFER
from robaudit.checks.unbounded import UNBOUNDED
from robaudit.checks.uphill import UPHILL
from robaudit.records import Check

MARGIN = "+apgd-margin"
PAST_FRONT = "+bpda"
BEHIND_ANSWERS = "+head"
BY_QUERIES = f"+square-{MANY_QUERIES}"

BEYOND_REPAIR = frozenset({STATE_UNTOUCHED, REPEATABLE, FINITE_ANSWERS, PREDICTS_CLASSES, GRADIENTS_PRESENT, UPHILL})
"""Where the model itself is the matter, or there is no gradient to follow or a wrong one, more steps are wasted."""

MENDED_BY_MARGIN = frozenset({GRADIENTS_PRESENT, SATURATION, MARGIN_LOSS})
MENDED_PAST_FRONT = frozenset({BPDA, TRANSFER, UNBOUNDED})
MENDED_BEHIND_ANSWERS = frozenset({LAST_LAYER})
MENDED_BY_QUERIES = frozenset({SMOOTH})
MENDED_BY_MORE_STEPS = frozenset(
    {CONVERGENCE, STILL_RISING, SINGLE_STEP, MONOTONE, GRADIENT_FREE, RANDOM_CORNERS, TRANSFER}
)


def next_repair(
    checks: Sequence[Check], attacks: Sequence[AnyAttack], added: Mapping[str, str], has_front: bool
) -> tuple[AnyAttack, str] | None:
    """The next attack worth adding and the check that asks for it; None where nothing would help.

    Args:
        checks: as they were judged last.
        attacks: of the audit so far, those added included.
        added: attacks that were added -> the check that asked for each.
        has_front: whether there are T and C to look past.
    """
    loud = [check.id for check in checks if check.status in ("warning", "failed") and check.value is not None]
    if not any(map(follows_margin, attacks)) and (asking := _first(loud, MENDED_BY_MARGIN)):
        return parse_attack(MARGIN), asking
    if has_front and not any(map(sees_past_front, attacks)) and (asking := _first(loud, MENDED_PAST_FRONT)):
        return parse_attack(PAST_FRONT), asking
    if not any(map(looks_behind_answers, attacks)) and (asking := _first(loud, MENDED_BEHIND_ANSWERS)):
        return parse_attack(BEHIND_ANSWERS), asking
    failed = [check.id for check in checks if check.status == "failed"]
    if not BEYOND_REPAIR.isdisjoint(failed):
        return None
    if not any(map(asks_much, attacks)) and (asking := _first(failed, MENDED_BY_QUERIES)):
        return parse_attack(BY_QUERIES), asking
    if asking := _first(failed, MENDED_BY_MORE_STEPS):
        for attack in strongest(attacks):
            if added.get(attack.name) not in MENDED_BY_MORE_STEPS:  # doubled once, not for ever
                return doubled(attack), asking
    return None


def strongest(attacks: Sequence[AnyAttack]) -> list[Attack]:
    """Behind the answers, and of each loss of the answers, the attack with most gradients to spend."""
    chosen = []
    for follows in (looks_behind_answers, follows_entropy, follows_margin):
        own = [attack for attack in attacks if isinstance(attack, Attack) and follows(attack) and is_iterative(attack)]
        if own:
            chosen.append(max(own, key=lambda attack: attack.steps * attack.restarts))
    return chosen


def _first(loud: Sequence[str], mended: Collection[str]) -> str | None:
    return next((id_ for id_ in loud if id_ in mended), None)
