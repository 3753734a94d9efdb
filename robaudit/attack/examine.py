"""One image under every attack: the smallest eps found that fools the untouched model, attack by attack.

The path depends on the image and the settings alone: each attack starts its search where the attacks before it in the
list fooled this image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from robaudit.attack.batching import Dialogue, ascend
from robaudit.attack.climb import Adversarial, Target, climb, judged, single_steps
from robaudit.attack.foolbox_adapter import FoolboxRunner
from robaudit.attack.search import Search, next_trial
from robaudit.attack.step import Iterate, within_ball
from robaudit.attack.threats import Attack, FoolboxAttack

NORM_TOLERANCE = 1e-6
"""Rounding allowed when a perturbation is assigned to an eps, in [0, 1] units."""


@dataclass(frozen=True)
class Plan:
    """What is done to every image."""

    attacks: tuple[Attack | FoolboxAttack, ...]
    grid: tuple[int, ...]
    seed: int
    protocol: Literal["nested", "paper"] = "nested"
    search: Search = Search.DESCEND
    rescale: bool = True
    """Try a found perturbation, scaled down, at the smaller eps (forwards only)."""
    share_first_gradient: bool = True
    warm_start: bool = False
    """Begin a climb below a found eps at the found perturbation, cut to the smaller ball."""

    def runs_every_eps(self, attack: Attack | FoolboxAttack) -> bool:
        """Whether each eps is run on its own, so that a raw curve exists."""
        return self.protocol == "paper" or (isinstance(attack, Attack) and attack.is_single_step)


@dataclass(frozen=True)
class Subject:
    """An image to examine."""

    picture: Tensor
    """(C, H, W) in [0, 1], float32."""
    label: int
    sha256: str
    prediction: int | None
    """Of the untouched model; None: no finite answer."""


@dataclass
class Findings:
    """What was found for one image."""

    prediction: int | None
    fooled_at: dict[str, int | None] = field(default_factory=dict)
    """Attack -> smallest eps_255 found (0: clean error, None: not fooled)."""
    raw_fooled_at: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Attack -> every eps_255 that fooled, where each was run on its own."""
    adversarial: Adversarial | None = None
    """Fooled at the smallest eps of all attacks."""
    adversarial_attack: str | None = None

    @property
    def worst_eps(self) -> int | None:
        """Smallest fooling eps_255 over all attacks so far."""
        return min((eps for eps in self.fooled_at.values() if eps is not None), default=None)


def examine(subject: Subject, plan: Plan, foolbox: FoolboxRunner) -> Dialogue[Findings]:
    """Run every attack of the plan on one image."""
    findings = Findings(subject.prediction)
    if subject.prediction != subject.label:
        findings.fooled_at = {attack.name: 0 for attack in plan.attacks}
        findings.raw_fooled_at = {attack.name: plan.grid for attack in plan.attacks if plan.runs_every_eps(attack)}
        return findings

    target = Target(subject.picture, subject.label, subject.sha256, plan.seed, {})
    if plan.share_first_gradient:
        yield from _take_first_gradients(target, plan)
    for attack in plan.attacks:
        if plan.runs_every_eps(attack):
            found = yield from _every_eps(target, attack, plan, foolbox)
            findings.raw_fooled_at[attack.name] = tuple(found)
        else:
            found = yield from _smallest_eps(target, attack, plan, foolbox, findings.worst_eps)
        _note(findings, attack.name, found)
    return findings


def _take_first_gradients(target: Target, plan: Plan) -> Dialogue[None]:
    """Take the gradient at the image itself once per loss, for every attack that starts there."""
    losses = {attack.loss for attack in plan.attacks if isinstance(attack, Attack) and not attack.random_start}
    for loss in sorted(losses):
        iterate = Iterate(target.origin, target.label, eps=0.0, step_size=0.0, x=target.origin, loss=loss)
        seen = yield from ascend(iterate)
        target.first_gradients[loss] = seen.gradient.clone()


def _every_eps(
    target: Target, attack: Attack | FoolboxAttack, plan: Plan, foolbox: FoolboxRunner
) -> Dialogue[dict[int, Adversarial]]:
    """Run every eps of the grid on its own from a cold start."""
    if isinstance(attack, Attack) and attack.is_single_step and attack.loss in target.first_gradients:
        return (yield from single_steps(target, attack, plan.grid))
    found = {}
    for eps_255 in plan.grid:
        if isinstance(attack, FoolboxAttack):
            adversarial = yield from _foolbox_trial(target, attack, eps_255, foolbox)
        else:
            adversarial = yield from climb(target, attack, eps_255, early_stop=False)
        if adversarial is not None:
            found[eps_255] = adversarial
    return found


def _smallest_eps(
    target: Target, attack: Attack | FoolboxAttack, plan: Plan, foolbox: FoolboxRunner, guess_255: int | None
) -> Dialogue[dict[int, Adversarial]]:
    """Search the grid for the smallest eps that fools; returns what was found on the way."""
    found: dict[int, Adversarial] = {}
    outcomes: dict[int, bool] = {}
    guess = None if guess_255 is None else plan.grid.index(guess_255)
    while (trial := next_trial(plan.search, outcomes, len(plan.grid), guess)) is not None:
        if isinstance(attack, FoolboxAttack):
            adversarial = yield from _foolbox_trial(target, attack, plan.grid[trial], foolbox)
        else:
            warm = found[min(found)].picture if plan.warm_start and found else None
            adversarial = yield from climb(target, attack, plan.grid[trial], warm=warm)
        outcomes[trial] = adversarial is not None
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
        (still,) = yield from judged(target, [smaller])
        if still is None:
            break
        reached, adversarial = reached - 1, still
    return reached, adversarial


def _foolbox_trial(
    target: Target, attack: FoolboxAttack, eps_255: int, foolbox: FoolboxRunner
) -> Dialogue[Adversarial | None]:
    """Run one of foolbox's attacks and judge its result by our own rule."""
    picture = within_ball(foolbox.perturb(target, attack, eps_255), target.origin, eps_255 / 255)
    (found,) = yield from judged(target, [picture])
    return found


def _note(findings: Findings, attack: str, found: dict[int, Adversarial]) -> None:
    """Record an attack's smallest fooling eps, and keep its picture where it is the smallest of all."""
    smallest = min(found, default=None)
    if smallest is not None and (findings.worst_eps is None or smallest < findings.worst_eps):
        findings.adversarial, findings.adversarial_attack = found[smallest], attack
    findings.fooled_at[attack] = smallest
