"""What a sample of images is asked beyond the attacks of the plan, so that the checks have something to judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from robaudit.attack.batching import Batches, Dialogue, Logits, Task, UnanswerableError, Work, ascend, query
from robaudit.attack.climb import Target, climb
from robaudit.attack.examine import gradient_in_place, kind_of
from robaudit.attack.losses import Loss
from robaudit.attack.names import doubled, parse_attack
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.step import Iterate, within_ball
from robaudit.attack.threats import AnyAttack, Attack, Source
from robaudit.checks.border import BORDER, MAX_JUMP, NEARBY
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
from robaudit.checks.monotone import MONOTONE
from robaudit.checks.planted import PLANTED
from robaudit.checks.random_corners import RANDOM_CORNERS
from robaudit.checks.repairs import strongest
from robaudit.checks.smooth import LEAST, MAX_RATIO, N_COARSE, N_FINE, SMOOTH, WALK_255
from robaudit.checks.transfer import TRANSFER
from robaudit.checks.unbounded import BUDGETS_255, UNBOUNDED
from robaudit.checks.uphill import AROUND_255, MAX_BEND, MAX_MISSTATED, MULTIPLES, STEP_255, STRAIGHT_255, UPHILL
from robaudit.load.features import NotAskedError
from robaudit.records import ImageRow
from robaudit.tally import headline_eps

MAX_PLANTED = 8
"""Images that get a planted adversary: each costs a head of its own."""
MAX_WALKED = 8
"""Images that are walked away from: each walk is many pictures."""
MAX_INNER = 64
"""Random points of the ball that a planted head must call harmless; half as many as there are features, if fewer."""
AT_A_TIME = 8
"""Of these points, through the network."""
PLANTED_THRESHOLD = 0.9
"""Where the planted head decides, between -1 (harmless points) and 1 (the planted one)."""

WITHOUT_BOUND = tuple(map(parse_attack, ("pgd-margin", "pgd", "pgd-margin-200x2", "pgd-margin-10x80")))
"""The attacks of the unbounded and the planted test, until one succeeds; the last two have steps, and starts, enough
for anything: what is planted in one corner is near few of the starts in a ball, and then two or three steps away.
"""

Ask = Callable[[ImageRow, Target, Work], Dialogue[bool | None]]


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
        yield Question(MONOTONE, by_scope[0].name, ask=_ever_larger(by_scope[0], grid))
    # Where an attack looks behind the answers, what it follows is what matters.
    source, whose = (Source.HEAD, " behind the answers") if any(map(looks_behind_answers, attacks)) else (None, "")
    yield Question(UPHILL, f"a step of {STEP_255}{whose}", ask=_leads_up(source))
    yield Question(BORDER, f"halving the way{whose}", ask=_turns_gradually(source))
    yield Question(SMOOTH, f"two walks{whose}", ask=_is_smooth(source), max_images=MAX_WALKED)
    yield Question(UNBOUNDED, "without bound", ask=_without_bound(predicted, has_front, has_head))
    if features is not None:
        eps_255 = headline_eps(grid)
        yield Question(PLANTED, f"planted at {eps_255}", ask=_planted(features, eps_255), max_images=MAX_PLANTED)


def _ever_larger(attack: Attack, grid: Sequence[int]) -> Ask:
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


def _leads_up(source: Source | None) -> Ask:
    """Whether the margin rises along its gradient, and as steeply as the gradient says; None without a gradient."""

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        step = STEP_255 / 255
        iterate = Iterate(target.origin, target.label, eps=step, step_size=step, x=target.origin, loss=Loss.MARGIN)
        seen = yield from ascend(iterate, source or Source.MODEL)
        if kind_of(seen.gradient) != "fine":
            return None
        back = within_ball(target.origin - step * seen.gradient.sign(), target.origin, step)
        ahead, behind = yield from query([iterate.x, back], source)
        return ahead.margin(target.label) > behind.margin(target.label) and (yield from _is_as_steep(target, source))

    return ask


def _is_as_steep(target: Target, source: Source | None) -> Dialogue[bool]:
    """Whether the margin's slope, along its gradient at a random point of the ball, is the one that this states.

    At the image itself background of one grey makes maxima tie, and a gradient is one of many. The slope is taken over
    a length and its multiples, and counts where they agree: there the model is straight, and does not round. True where
    it is so nowhere. Every pixel goes its own length, from half of it to one and a half: of one length, steps could
    miss a ripple.
    """
    room = 1.5 * MULTIPLES[-1] * STRAIGHT_255[-1] / 255
    low, high = ((target.origin + move / 255).clamp(room, 1 - room) for move in (-AROUND_255, AROUND_255))
    share = uniform(target.origin.shape, 0.5, derived_seed(target.seed, target.sha256, UPHILL)) + 0.5
    point = low + (high - low) * share.to(low.device)
    gradient = yield from gradient_in_place(point, target.label, Loss.MARGIN, source or Source.EXACT)
    if kind_of(gradient) != "fine":
        return True
    pace = uniform(target.origin.shape, 0.5, derived_seed(target.seed, target.sha256, UPHILL, "pace")) + 1
    way = pace.to(low.device) * gradient.sign()
    stated = float((gradient * way).sum())
    for length_255 in STRAIGHT_255:
        steps = [n * length_255 / 255 for n in MULTIPLES]
        sights = yield from query([point + sign * step * way for step in steps for sign in (1, -1)], source)
        margins = [sight.margin(target.label) for sight in sights]
        ends = zip(steps, margins[::2], margins[1::2], strict=True)
        slope, *further = ((ahead - behind) / (2 * step) for step, ahead, behind in ends)
        if slope != 0 and all(abs(slope - other) <= MAX_BEND * abs(slope) for other in further):
            return abs(slope - stated) <= MAX_MISSTATED * stated
    return True


def _turns_gradually(source: Source | None) -> Ask:
    """Whether the margin is near nothing where the answer turns, on a straight way to a picture of another answer.

    The ends are brought together by halves, so that the model's answer turns between them; the margin is that of what
    is followed. None where no such way is known.
    """

    def seen_in(target: Target, pictures: Sequence[Tensor]) -> Dialogue[list[tuple[int | None, float]]]:
        answers = yield from query(pictures)
        followed = answers if source is None else (yield from query(pictures, source))
        return [(one.prediction, two.margin(target.label)) for one, two in zip(answers, followed, strict=True)]

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        dice = derived_seed(target.seed, target.sha256, BORDER)
        noise = (uniform(target.origin.shape, 0.5, dice) + 0.5).to(target.origin.device)
        pictures = [*(torch.full_like(target.origin, grey) for grey in (0.5, 0.0, 1.0)), noise]
        (_, before), *ends = yield from seen_in(target, [target.origin, *pictures])
        here, there = target.origin, None
        for picture, (answer, margin) in zip(pictures, ends, strict=True):
            if answer not in (None, target.label):
                there, beyond = picture, margin
                break
        if there is None:
            return None
        most = max(-before, beyond)
        while float((there - here).abs().max()) > NEARBY:
            middle = (here + there) / 2
            ((answer, margin),) = yield from seen_in(target, [middle])
            if answer is None:
                return None
            if answer == target.label:
                here, before = middle, margin
            else:
                there, beyond = middle, margin
        return abs(before) + abs(beyond) <= MAX_JUMP * most

    return ask


def _is_smooth(source: Source | None) -> Ask:
    """Whether the margin rises and falls no more in fine steps to a point of the ball than in coarse ones.

    Every pixel goes its own length: steps of one length would miss a ripple of as many to a grey level.
    """

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        dice = derived_seed(target.seed, target.sha256, SMOOTH)
        whole = uniform(target.origin.shape, WALK_255 / 255, dice).to(target.origin.device)
        walk = [(target.origin + whole * step / N_FINE).clamp(0, 1) for step in range(N_FINE + 1)]
        sights = yield from query(walk, source)
        if any(sight.prediction is None for sight in sights):
            return None
        margins = [sight.margin(target.label) for sight in sights]
        fine, coarse = (_rise_and_fall(margins[::every]) for every in (1, N_FINE // N_COARSE))
        return fine <= MAX_RATIO * coarse or fine - coarse <= LEAST * max(map(abs, margins))

    return ask


def _rise_and_fall(values: Sequence[float]) -> float:
    return sum(abs(after - before) for before, after in pairwise(values))


def _without_bound(predicted: frozenset[int], has_front: bool, has_head: bool) -> Ask:
    """Whether attacks with gradients fool wherever a trivial picture is known to; None where none is known."""
    around = [name for name, is_there in (("bpda", has_front), ("head", has_head)) if is_there]
    attacks = (*map(parse_attack, around), *WITHOUT_BOUND)
    another, grey = BUDGETS_255

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        (seen,) = yield from query([torch.full_like(target.origin, 0.5)])
        budgets = [another] if predicted - {target.label} else []
        budgets += [grey] if seen.prediction != target.label else []
        for eps_255 in budgets:
            if not (yield from _any_fools(target, attacks, eps_255)):
                return False
        return True if budgets else None

    return ask


def _any_fools(target: Target, attacks: Sequence[AnyAttack], eps_255: int) -> Dialogue[bool]:
    for attack in attacks:
        assert isinstance(attack, Attack)
        if (yield from climb(target, attack, eps_255)) is not None:
            return True
    return False


def _planted(features: Callable[[Tensor], Tensor], eps_255: int) -> Ask:
    """Whether attacks find an adversarial planted by a new head on the features (Zimmermann et al. 2022)."""

    def ask(row: ImageRow, target: Target, work: Work) -> Dialogue[bool | None]:
        def answered(x: Tensor) -> Tensor:
            try:
                return features(x)
            except NotAskedError:
                raise
            except Exception as error:  # the model's own
                raise UnanswerableError(row.id, error) from error

        try:
            head = _plant(answered, target, eps_255 / 255, work)
            if head is None:
                return None
            # A network of its own: answered here, one picture at a time, and not in the batches of the audited model.
            victim = Target(target.origin, 0, target.sha256, target.seed)
            batches = Batches(dict.fromkeys(Source, head), head, width=1)
            (found,) = batches.run([Task(_any_fools(victim, WITHOUT_BOUND, eps_255), work)])
        except NotAskedError:
            return None
        return found
        yield  # a dialogue that asks nothing of the audited model

    return ask


def _plant(features: Callable[[Tensor], Tensor], target: Target, eps: float, work: Work) -> Logits | None:
    """A head of two classes that calls the image and random points of its ball 0, and one random corner 1.

    The direction is the smallest one that takes the features of the harmless points to -1 and of the corner to 1.

    Returns:
        Pixels -> logits (B, 2), or None where the features cannot tell these points apart.
    """
    origin = target.origin
    with torch.no_grad():
        n_inner = min(MAX_INNER, features(origin[None]).flatten(1).shape[1] // 2)
    seeds = (derived_seed(target.seed, target.sha256, PLANTED, index) for index in range(n_inner + 1))
    noise = [uniform(origin.shape, eps, seed).to(origin.device) for seed in seeds]
    points = [origin, *(within_ball(origin + each, origin, eps) for each in noise[:-1])]
    points.append(within_ball(origin + eps * noise[-1].sign(), origin, eps))
    with torch.no_grad():
        rows = torch.cat([features(few).flatten(1) for few in torch.split(torch.stack(points), AT_A_TIME)]).double()
    work.forwards += len(points) + 1
    wanted = torch.full((len(points),), -1.0, dtype=rows.dtype, device=rows.device)
    wanted[-1] = 1.0
    centre, scale = rows.mean(0), (rows - rows.mean(0)).norm() / len(rows)
    if not rows.isfinite().all() or scale == 0:
        return None
    direction = torch.linalg.pinv((rows - centre) / scale, rcond=1e-6) @ (wanted - wanted.mean())
    reached = (rows - centre) / scale @ direction + wanted.mean()
    if not reached[-1] > PLANTED_THRESHOLD or not (reached[:-1] < PLANTED_THRESHOLD).all():
        return None
    direction, centre = (direction / scale).float(), centre.float()

    def head(x: Tensor) -> Tensor:
        score = (features(x).flatten(1).float() - centre) @ direction + (float(wanted.mean()) - PLANTED_THRESHOLD)
        return torch.stack([-score, score], 1)

    return head
