"""One image, one attack, one eps: the climb, as a dialogue with the batches.

FGSM, BIM, MI-FGSM and PGD are the same loop with other constants; APGD adds a rule that halves its step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from torch import Tensor

from robaudit.attack.batching import Dialogue, Evaluation, ascend, query
from robaudit.attack.losses import NO_TARGET, Loss
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.step import Iterate, take_steps
from robaudit.attack.threats import Attack, Source

STILL_RISING = 0.05
"""Share of a climb's whole rise gained in its last steps from which it counts as unfinished (Pintor et al. 2022)."""
LAST_PART = 1 / 10
"""Of the steps, that count as the last ones: Pintor et al. take ten of a hundred."""
CATCH_UP = 1 / 2
"""Of what a refused claim lacked for the untouched model to err, what the margin must gain before the next is judged: a
copy in bfloat16 is off by much the same amount all along a climb, and a judgement costs as much as a step."""
LONG_CLIMB = 20
"""Steps from which the last tenth tells anything."""


@dataclass(frozen=True)
class Target:
    """What an attack works on."""

    origin: Tensor
    """(C, H, W) in [0, 1]."""
    label: int
    sha256: str
    seed: int
    logits: tuple[float, ...] = ()
    """Of the untouched model at the image itself."""
    first_gradients: dict[Loss, Tensor] = field(default_factory=dict)
    """Gradient at the image itself, by loss; shared by the attacks that start there."""
    unfinished: dict[str, bool] = field(default_factory=dict)
    """Attack -> whether the last climb that the image resisted was still rising when its steps ran out."""
    refused: dict[str, bool] = field(default_factory=dict)
    """Attack -> whether that climb ended where what it follows is fooled, and the untouched model is not."""


@dataclass(frozen=True)
class Adversarial:
    """A picture that fools the untouched model."""

    picture: Tensor
    """(C, H, W), inside the ball and in [0, 1]."""
    prediction: int | None
    """What the untouched model saw in it; None: it gave no finite answer."""


def climb(
    target: Target, attack: Attack, eps_255: int, *, early_stop: bool = True, warm: Tensor | None = None
) -> Dialogue[Adversarial | None]:
    """Attack at one eps, over all restarts and, where the loss is targeted, over the other classes.

    Args:
        target: what to attack.
        attack: how.
        eps_255: budget.
        early_stop: stop at the first iterate that fools. Otherwise all steps are taken and the last iterate alone is
            judged (APGD: the one of highest loss), as the literature's curves are made.
        warm: where the first restart begins instead of the attack's own start.
    """
    for restart in range(attack.restarts):
        for towards in _classes_to_move_to(target, attack):
            iterate, steps_left = _start(target, attack, eps_255, restart, towards, warm if restart == 0 else None)
            found = yield from _one_climb(target, attack, iterate, steps_left, early_stop)
            if found is not None:
                return found
    return None


def _one_climb(
    target: Target, attack: Attack, iterate: Iterate, steps_left: int, early_stop: bool
) -> Dialogue[Adversarial | None]:
    schedule = _StepHalving(attack.steps) if attack.adaptive else None
    # What fools another model need not fool this one: only the last iterate is worth a judgement.
    early_stop_here = early_stop and attack.source is not Source.SURROGATE
    losses = []
    worth_judging = -math.inf
    for _ in range(steps_left):
        seen = yield from ascend(iterate, attack.source)
        margin = seen.sight.margin(target.label)
        # The success test of a point comes with its gradient; a claim counts once the untouched model agrees. Where it
        # did not, the next claim is made later. (Not below, rather than above: a margin may be no number.)
        if early_stop_here and seen.sight.prediction != target.label and not margin < worth_judging:
            (judgement,) = yield from query([seen.point])
            if judgement.prediction != target.label:
                return Adversarial(seen.point.clone(), judgement.prediction)
            if attack.source is not Source.HEAD:  # whose margins are on another scale
                worth_judging = margin - CATCH_UP * judgement.margin(target.label)
        losses.append(seen.loss)
        if schedule:
            schedule.after_gradient(iterate, seen)
    last = schedule.best_point if schedule and not early_stop else iterate.x
    # Where none before it fooled, the last will seldom; under the paper's protocol it often does.
    found = yield from (screened if early_stop else judged)(target, [last])
    if len(losses) >= LONG_CLIMB:
        target.unfinished[attack.name] = found[0] is None and still_rising(losses)
        target.refused[attack.name] = found[0] is None and seen.sight.prediction != target.label
    return found[0]


def still_rising(losses: Sequence[float]) -> bool:
    """Whether the best loss so far still grew in the last steps, by more than 5% of the whole way (Pintor et al. 2022).

    Args:
        losses: of one climb, step by step, `LONG_CLIMB` or more.
    """
    lowest, highest = min(losses), max(losses)
    before = max(losses[: -round(LAST_PART * len(losses))])
    return math.isfinite(highest - lowest) and highest - before > STILL_RISING * (highest - lowest)


def single_steps(target: Target, attack: Attack, grid: Sequence[int]) -> Dialogue[dict[int, Adversarial]]:
    """A single-step attack at every eps of the grid: forwards only, once the first gradient is known."""
    iterates = [_at_rest(target, attack, eps_255) for eps_255 in grid]
    first = target.first_gradients[attack.loss]
    take_steps(iterates, first.expand(len(iterates), *first.shape))
    found = yield from judged(target, [it.x for it in iterates])
    return {eps_255: one for eps_255, one in zip(grid, found, strict=True) if one is not None}


def screened(target: Target, pictures: Sequence[Tensor]) -> Dialogue[list[Adversarial | None]]:
    """Which pictures fool: the float32 working copy is asked first, and what seems to fool it is judged."""
    sights = yield from query(pictures, Source.EXACT)
    seeming = [picture for picture, sight in zip(pictures, sights, strict=True) if sight.prediction != target.label]
    verdicts = iter((yield from judged(target, seeming)) if seeming else ())
    return [next(verdicts) if sight.prediction != target.label else None for sight in sights]


def judged(target: Target, pictures: Sequence[Tensor]) -> Dialogue[list[Adversarial | None]]:
    """Which pictures the untouched model, in float32, is wrong about (no finite answer is wrong too)."""
    seen = yield from query(pictures)
    return [
        Adversarial(picture.clone(), sight.prediction) if sight.prediction != target.label else None
        for picture, sight in zip(pictures, seen, strict=True)
    ]


def _classes_to_move_to(target: Target, attack: Attack) -> Sequence[int]:
    """The other classes, the likeliest first; or whichever is nearest as the climb goes."""
    if attack.loss is not Loss.TARGETED:
        return (NO_TARGET,)
    others = [index for index in range(len(target.logits)) if index != target.label]
    return sorted(others, key=lambda index: -target.logits[index])[: attack.n_targets(len(target.logits))]


def _start(
    target: Target,
    attack: Attack,
    eps_255: int,
    restart: int,
    towards: int = NO_TARGET,
    warm: Tensor | None = None,
) -> tuple[Iterate, int]:
    """The iterate to begin with, and how many gradients are still to be asked for."""
    iterate = _at_rest(target, attack, eps_255, towards)
    if warm is not None:
        iterate.move_to(warm)
    elif attack.random_start:
        seed = derived_seed(target.seed, target.sha256, attack.name, eps_255, restart)
        noise = uniform(target.origin.shape, iterate.eps, seed).to(target.origin.device)
        iterate.move_to(target.origin + noise)
    elif attack.source is Source.MODEL and attack.loss in target.first_gradients:
        take_steps([iterate], target.first_gradients[attack.loss][None])
        return iterate, attack.steps - 1
    return iterate, attack.steps


def _at_rest(target: Target, attack: Attack, eps_255: int, towards: int = NO_TARGET) -> Iterate:
    """The iterate at the image itself."""
    eps = eps_255 / 255
    return Iterate(
        origin=target.origin,
        label=target.label,
        eps=eps,
        step_size=attack.step_fraction * eps,
        x=target.origin,
        loss=attack.loss,
        towards=towards,
        decay=attack.decay,
        adaptive=attack.adaptive,
    )


class _StepHalving:
    """APGD's rule (Croce & Hein 2020, section 3): at checkpoints, halve the step and return to the best point."""

    INERTIA = 0.75
    RHO = 0.75

    def __init__(self, steps: int) -> None:
        self.checkpoints = set(_checkpoints(steps))
        self.n_steps = -1  # taken before the point just evaluated
        self.n_increases = 0
        self.since_checkpoint = -1  # the first evaluation has none before it to compare with
        self.last_value = float("inf")
        self.best_value = float("-inf")
        self.best_value_at_checkpoint = float("-inf")
        self.halved_at_checkpoint = True

    def after_gradient(self, iterate: Iterate, seen: Evaluation) -> None:
        """Take note of the point just evaluated, and change the next one where the rule says so."""
        self.n_steps += 1
        self.since_checkpoint += 1
        self.n_increases += seen.loss > self.last_value
        self.last_value = seen.loss
        if self.n_steps == 0 or seen.loss > self.best_value:
            # Where a copy in bfloat16 gives no number, any number that follows is better.
            self.best_value = float("-inf") if math.isnan(seen.loss) else seen.loss
            self.best_point, self.best_gradient = seen.point.clone(), seen.gradient.clone()
        iterate.inertia = self.INERTIA  # the first step, taken with inertia 1, is plain
        if self.n_steps in self.checkpoints:
            self._at_checkpoint(iterate)

    def _at_checkpoint(self, iterate: Iterate) -> None:
        too_few_increases = self.n_increases < self.RHO * self.since_checkpoint
        stuck = not self.halved_at_checkpoint and self.best_value_at_checkpoint >= self.best_value
        self.halved_at_checkpoint = too_few_increases or stuck
        self.best_value_at_checkpoint = self.best_value
        self.n_increases = self.since_checkpoint = 0
        if self.halved_at_checkpoint:
            iterate.step_size /= 2
            iterate.move_to(self.best_point)
            take_steps([iterate], self.best_gradient[None])


def _checkpoints(steps: int) -> Iterator[int]:
    """Steps after which APGD may halve: fractions p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    before, at = 0, 22  # in hundredths, so that no rounding moves a checkpoint
    while at <= 100:
        yield math.ceil(Fraction(at * steps, 100))
        before, at = at, at + max(at - before - 3, 6)
