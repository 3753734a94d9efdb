"""What a sample of images is asked beyond the attacks of the plan, so that the checks have something to judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from robaudit.attack.names import doubled, parse_attack
from robaudit.attack.threats import AnyAttack, Source
from robaudit.checks.asking import Ask
from robaudit.checks.border import BORDER, turns_gradually
from robaudit.checks.bpda import BPDA
from robaudit.checks.convergence import CONVERGENCE
from robaudit.checks.evidence import (
    follows_margin,
    is_gradient_free,
    is_random,
    looks_behind_answers,
    sees_past_front,
    transfers,
)
from robaudit.checks.gradient_free import GRADIENT_FREE
from robaudit.checks.last_layer import LAST_LAYER
from robaudit.checks.margin_loss import MARGIN_LOSS
from robaudit.checks.monotone import MONOTONE, ever_larger
from robaudit.checks.planted import MAX_PLANTED, PLANTED, planted
from robaudit.checks.random_corners import RANDOM_CORNERS
from robaudit.checks.repairs import strongest
from robaudit.checks.smooth import MAX_WALKED, SMOOTH, is_smooth
from robaudit.checks.transfer import TRANSFER
from robaudit.checks.unbounded import UNBOUNDED, without_bound
from robaudit.checks.uphill import UPHILL, leads_up
from robaudit.tally import headline_eps


@dataclass(frozen=True)
class Question:
    """Something to ask of a sampled image for one check: another attack, or a dialogue with an answer of its own."""

    check: str
    name: str
    attack: AnyAttack | None = None
    ask: Ask | None = None
    max_images: int | None = None


def questions(
    attacks: Sequence[AnyAttack],
    grid: Sequence[int],
    *,
    has_front: bool,
    has_surrogate: bool,
    has_head: bool,
    predicted: frozenset[int],
    features: Callable[[Tensor], Tensor] | None,
) -> Iterator[Question]:
    """What the checks want to know that these attacks do not tell.

    Args:
        attacks: of the audit so far.
        grid: eps in 255ths.
        has_front: whether the model has T and C.
        has_surrogate: whether there is another model to transfer from.
        has_head: whether the model does something to the answers of its last layer.
        predicted: classes that the model predicts for some image of the audit.
        features: what the model hands to its last layer; None where that was not found.
    """
    wanted = (
        (MARGIN_LOSS, "+apgd-margin", any(map(follows_margin, attacks))),
        (GRADIENT_FREE, "+square", any(map(is_gradient_free, attacks))),
        (RANDOM_CORNERS, "+corners", any(map(is_random, attacks))),
        (BPDA, "+bpda", not has_front or any(map(sees_past_front, attacks))),
        (LAST_LAYER, "+head", not has_head or any(map(looks_behind_answers, attacks))),
        (TRANSFER, "+transfer", not has_surrogate or any(map(transfers, attacks))),
    )
    for check, name, is_answered in wanted:
        if not is_answered:
            attack = parse_attack(name)
            yield Question(check, attack.name, attack)
    for attack in map(doubled, strongest(attacks)):
        yield Question(CONVERGENCE, attack.name, attack)
    # What runs on survivors has an eps of its own where it was added for a check, or where others had not fooled.
    by_scope = sorted(strongest(attacks), key=lambda attack: attack.scope != "all")
    if by_scope:
        yield Question(MONOTONE, by_scope[0].name, ask=ever_larger(by_scope[0], grid))
    # Where an attack looks behind the answers, what it follows is what matters.
    source, whose = (Source.HEAD, " behind the answers") if any(map(looks_behind_answers, attacks)) else (None, "")
    yield Question(UPHILL, f"a step, and slopes{whose}", ask=leads_up(source))
    yield Question(BORDER, f"halving the way{whose}", ask=turns_gradually(source))
    yield Question(SMOOTH, f"walks{whose}", ask=is_smooth(source), max_images=MAX_WALKED)
    yield Question(UNBOUNDED, "without bound", ask=without_bound(predicted, has_front, has_head))
    if features is not None:
        eps_255 = headline_eps(grid)
        yield Question(PLANTED, f"planted at {eps_255}", ask=planted(features, eps_255), max_images=MAX_PLANTED)
