"""One image, one attack, one eps: the climb, as a dialogue with the batches.

FGSM, BIM, MI-FGSM and PGD are the same loop with other constants; APGD adds a rule that halves its step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from robaudit.attack.batching import Ascend, Dialogue, Judge
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.step import Iterate, take_steps, within_ball
from robaudit.attack.threats import Attack


@dataclass(frozen=True)
class Target:
    """What an attack works on."""

    origin: Tensor
    """(C, H, W) in [0, 1]."""
    label: int
    sha256: str
    seed: int
    first_gradients: dict[str, Iterate]
    """Loss -> the iterate whose gradient was taken at the image itself; shared by attacks that start there."""


def climb(target: Target, attack: Attack, eps_255: int, warm: Tensor | None = None) -> Dialogue[Tensor | None]:
    """Attack at one eps; stop at the first iterate that fools, over all restarts.

    Args:
        target: what to attack.
        attack: how.
        eps_255: budget.
        warm: where the first restart begins instead of the attack's own start.

    Returns:
        The adversarial picture (C, H, W), inside the ball and in [0, 1], as the untouched model judged it; or None.
    """
    for restart in range(attack.restarts):
        found = yield from _one_climb(target, attack, eps_255, restart, warm if restart == 0 else None)
        if found is not None:
            return found
    return None


def final_iterates(target: Target, attack: Attack, eps_255: int) -> Dialogue[Tensor | None]:
    """Attack at one eps as the literature's curves are made: all steps are taken, the last iterate alone is judged."""
    for restart in range(attack.restarts):
        iterate, steps_left = _start(target, attack, eps_255, restart)
        for _ in range(steps_left):
            yield Ascend(iterate)
        if (yield from fools(target, iterate.x)):
            return iterate.x
    return None


def fools(target: Target, picture: Tensor) -> Dialogue[bool]:
    """Whether the untouched model, in float32, is wrong about this picture (no finite answer is wrong too)."""
    predictions = yield Judge([picture])
    assert predictions is not None
    return predictions[0] != target.label


def _one_climb(
    target: Target, attack: Attack, eps_255: int, restart: int, warm: Tensor | None
) -> Dialogue[Tensor | None]:
    iterate, steps_left = _start(target, attack, eps_255, restart, warm)
    schedule = _StepHalving(attack.steps) if attack.adaptive else None
    for _ in range(steps_left):
        yield Ascend(iterate)
        # The success test of a point comes with its gradient; a claim counts once the untouched model agrees.
        if iterate.prediction != target.label and (yield from fools(target, iterate.evaluated)):
            return iterate.evaluated
        if schedule:
            schedule.after_gradient(iterate)
    return iterate.x if (yield from fools(target, iterate.x)) else None


def _start(
    target: Target, attack: Attack, eps_255: int, restart: int, warm: Tensor | None = None
) -> tuple[Iterate, int]:
    """The iterate to begin with, and how many gradients are still to be asked for."""
    eps = eps_255 / 255
    iterate = Iterate(
        origin=target.origin,
        label=target.label,
        eps=eps,
        step_size=attack.step_fraction * eps,
        x=target.origin,
        loss=attack.loss,
        decay=attack.decay,
    )
    if warm is not None:
        iterate.x = iterate.previous = within_ball(warm, target.origin, eps)
    elif attack.random_start:
        seed = derived_seed(target.seed, target.sha256, attack.name, eps_255, restart)
        noise = uniform(target.origin.shape, eps, seed).to(target.origin.device)
        iterate.x = iterate.previous = within_ball(target.origin + noise, target.origin, eps)
    elif attack.loss in target.first_gradients:
        take_steps([iterate], target.first_gradients[attack.loss].gradient[None])
        return iterate, attack.steps - 1
    return iterate, attack.steps


class _StepHalving:
    """APGD's rule (Croce & Hein 2020, section 3): at checkpoints, halve the step and return to the best point."""

    INERTIA = 0.75
    RHO = 0.75

    def __init__(self, steps: int) -> None:
        self.checkpoints = set(_checkpoints(steps))
        self.n_gradients = 0
        self.n_increases = 0
        self.since_checkpoint = 0
        self.last_value = float("inf")
        self.best_value = float("-inf")
        self.best_value_at_checkpoint = float("-inf")
        self.best: tuple[Tensor, Tensor] | None = None
        self.halved_at_checkpoint = True

    def after_gradient(self, iterate: Iterate) -> None:
        """Take note of the point just evaluated, and change the next one where the rule says so."""
        self.n_gradients += 1
        self.since_checkpoint += 1
        self.n_increases += iterate.loss_value > self.last_value
        self.last_value = iterate.loss_value
        if iterate.loss_value > self.best_value:
            self.best_value = iterate.loss_value
            self.best = (iterate.evaluated, iterate.gradient)
        iterate.inertia = self.INERTIA  # the first step, taken with inertia 1, is plain
        if self.n_gradients in self.checkpoints:
            self._at_checkpoint(iterate)

    def _at_checkpoint(self, iterate: Iterate) -> None:
        too_few_increases = self.n_increases < self.RHO * self.since_checkpoint
        stuck = not self.halved_at_checkpoint and self.best_value_at_checkpoint >= self.best_value
        self.halved_at_checkpoint = too_few_increases or stuck
        self.best_value_at_checkpoint = self.best_value
        self.n_increases = self.since_checkpoint = 0
        if self.halved_at_checkpoint and self.best is not None:
            iterate.step_size /= 2
            point, gradient = self.best
            iterate.x = iterate.previous = point
            take_steps([iterate], gradient[None])


def _checkpoints(steps: int) -> Iterator[int]:
    """Iterations after which APGD may halve: fractions p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    before, at = 0.0, 0.22
    while at <= 1:
        yield math.ceil(at * steps)
        before, at = at, at + max(at - before - 0.03, 0.06)
