"""One attack on one image: at one eps, and as a search over the grid for the smallest eps that fools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from robaudit.attack.batching import Dialogue
from robaudit.attack.climb import Adversarial, Target, climb, judged, screened, single_steps
from robaudit.attack.foolbox_adapter import FoolboxRunner
from robaudit.attack.gradient_free import random_corners, square_attack
from robaudit.attack.search import Search, next_trial
from robaudit.attack.step import within_ball
from robaudit.attack.threats import AnyAttack, Attack, Corners, FoolboxAttack, Source, Square

NORM_TOLERANCE = 1e-6
"""Rounding allowed when a perturbation is assigned to an eps, in [0, 1] units."""


@dataclass(frozen=True)
class Plan:
    """What is done to every image."""

    attacks: tuple[AnyAttack, ...]
    grid: tuple[int, ...]
    seed: int
    protocol: Literal["nested", "paper"] = "nested"
    search: Search = Search.DESCEND
    rescale: bool = True
    """Try a found perturbation, scaled down, at the smaller eps (forwards only)."""
    share_first_gradient: bool = True
    warm_start: bool = False
    """Begin a climb below a found eps at the found perturbation, cut to the smaller ball."""

    def runs_every_eps(self, attack: AnyAttack) -> bool:
        """Whether each eps is run on its own, so that a raw curve exists."""
        if attack.scope == "survivors":
            return False
        return self.protocol == "paper" or (isinstance(attack, Attack) and attack.is_single_step)


def trial(
    target: Target,
    attack: AnyAttack,
    eps_255: int,
    foolbox: FoolboxRunner,
    *,
    early_stop: bool = True,
    warm: Adversarial | None = None,
) -> Dialogue[Adversarial | None]:
    """Attack at one eps; `early_stop` and `warm` are for attacks that climb."""
    match attack:
        case Attack():
            start = None if warm is None else warm.picture
            return (yield from climb(target, attack, eps_255, early_stop=early_stop, warm=start))
        case Square():
            return (yield from square_attack(target, attack, eps_255))
        case Corners():
            return (yield from random_corners(target, attack, eps_255))
        case FoolboxAttack():
            picture = within_ball(foolbox.perturb(target, attack, eps_255), target.origin, eps_255 / 255)
            (found,) = yield from judged(target, [picture])
            return found
        case _:
            assert_never(attack)


def every_eps(
    target: Target, attack: AnyAttack, plan: Plan, foolbox: FoolboxRunner
) -> Dialogue[dict[int, Adversarial]]:
    """Run every eps of the grid on its own from a cold start; returns what fooled, by eps."""
    shares = isinstance(attack, Attack) and attack.source is Source.MODEL and attack.loss in target.first_gradients
    if isinstance(attack, Attack) and attack.is_single_step and shares:
        return (yield from single_steps(target, attack, plan.grid))
    found = {}
    for eps_255 in plan.grid:
        adversarial = yield from trial(target, attack, eps_255, foolbox, early_stop=False)
        if adversarial is not None:
            found[eps_255] = adversarial
    return found


def smallest_eps(
    target: Target,
    attack: AnyAttack,
    plan: Plan,
    foolbox: FoolboxRunner,
    worst_255: int | None,
    *,
    ties: bool = False,
) -> Dialogue[dict[int, Adversarial]]:
    """Search the grid for the smallest eps that fools; returns what was found on the way, by eps.

    Args:
        target: what to attack.
        attack: how; on survivors, only eps below `worst_255` are tried.
        plan: grid and search.
        foolbox: runs foolbox's attacks.
        worst_255: where other attacks fooled this image; None where they did not.
        ties: on survivors, whether `worst_255` itself is tried too, where the attack can but draw level.
    """
    found: dict[int, Adversarial] = {}
    guess = None if worst_255 is None else plan.grid.index(worst_255)
    outcomes: dict[int, bool] = {}
    fell_to_others = guess if attack.scope == "survivors" else None
    if fell_to_others is not None and not ties:
        outcomes[fell_to_others] = True
    while (index := next_trial(plan.search, outcomes, len(plan.grid), guess)) is not None:
        warm = found[min(found)] if plan.warm_start and found else None
        adversarial = yield from trial(target, attack, plan.grid[index], foolbox, warm=warm)
        outcomes[index] = adversarial is not None or index == fell_to_others
        if adversarial is not None:
            reached, adversarial = yield from _shrink(target, adversarial, plan, outcomes)
            outcomes[reached] = True
            found[plan.grid[reached]] = adversarial
    return found


def _shrink(
    target: Target, adversarial: Adversarial, plan: Plan, outcomes: dict[int, bool]
) -> Dialogue[tuple[int, Adversarial]]:
    """Assign an adversarial to its real norm, then follow its direction to smaller eps while it still fools."""
    perturbation = adversarial.picture - target.origin
    norm = float(perturbation.abs().max())
    reached = next(index for index, eps in enumerate(plan.grid) if norm <= eps / 255 + NORM_TOLERANCE)
    while plan.rescale and reached > 0 and reached - 1 not in outcomes:
        eps = plan.grid[reached - 1] / 255
        smaller = within_ball(target.origin + perturbation * (eps / norm), target.origin, eps)
        (still,) = yield from screened(target, [smaller])
        if still is None:
            break
        reached, adversarial = reached - 1, still
    return reached, adversarial
