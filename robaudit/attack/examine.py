"""One image under every attack: the smallest eps found that fools the untouched model, and what was seen on the way.

The path depends on the image and the settings alone: each attack starts its search where the attacks before it in the
list fooled this image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from robaudit.attack.batching import Dialogue, Sight, ascend
from robaudit.attack.climb import Adversarial, Target, judged
from robaudit.attack.foolbox_adapter import FoolboxRunner
from robaudit.attack.losses import Loss
from robaudit.attack.step import Iterate
from robaudit.attack.threats import Attack, Source
from robaudit.attack.trial import Plan, every_eps, smallest_eps
from robaudit.records import GradientKind, Observed


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
    observed: Observed | None = None
    """None where the image was wrong from the start."""

    @property
    def worst_eps(self) -> int | None:
        """Smallest fooling eps_255 over all attacks so far."""
        return min((eps for eps in self.fooled_at.values() if eps is not None), default=None)


def examine(target: Target, clean: Sight, levels: int, plan: Plan, foolbox: FoolboxRunner) -> Dialogue[Findings]:
    """Run every attack of the plan on one image.

    Args:
        target: the image.
        clean: what the untouched model sees in it.
        levels: steps from black to white in its own file.
        plan: what is done to it.
        foolbox: runs foolbox's attacks.
    """
    if clean.prediction != target.label:
        return fooled_from_the_start(clean.prediction, plan)

    findings = Findings(clean.prediction)
    gradients = yield from _gradients_at_the_image(target)
    if plan.share_first_gradient:
        losses = {attack.loss for attack in plan.attacks if isinstance(attack, Attack) and not attack.random_start}
        target.first_gradients.update({loss: gradients[loss] for loss in losses & gradients.keys()})
    excess = 0.0
    for attack in plan.attacks:
        if plan.runs_every_eps(attack):
            found = yield from every_eps(target, attack, plan, foolbox)
            findings.raw_fooled_at[attack.name] = tuple(found)
        else:
            found = yield from smallest_eps(target, attack, plan, foolbox, findings.worst_eps)
        excess = max([excess, *(outside_by(target, one, eps_255) for eps_255, one in found.items())])
        _note(findings, attack.name, found)
    findings.observed = Observed(
        margin=-clean.margin(target.label),
        gradients={loss.value: kind_of(gradient) for loss, gradient in gradients.items()},
        excess=excess,
        realisable=(yield from survives_rounding(target, findings.adversarial, levels)),
        unfinished=tuple(name for name, unfinished in target.unfinished.items() if unfinished),
        climbed=tuple(target.unfinished),
        refused=tuple(name for name, refused in target.refused.items() if refused),
    )
    return findings


def fooled_from_the_start(prediction: int | None, plan: Plan) -> Findings:
    """What is found without any attack: a wrong answer, or none (None), is fooled at every eps."""
    return Findings(
        prediction,
        fooled_at={attack.name: 0 for attack in plan.attacks},
        raw_fooled_at={attack.name: plan.grid for attack in plan.attacks if plan.runs_every_eps(attack)},
    )


def _gradients_at_the_image(target: Target) -> Dialogue[dict[Loss, Tensor]]:
    """The gradient of each loss at the image itself, in float32: attacks start from it, and checks look at it."""
    gradients = {}
    for loss in (Loss.CROSS_ENTROPY, Loss.MARGIN):
        gradients[loss] = yield from gradient_in_place(target.origin, target.label, loss)
    return gradients


def gradient_in_place(point: Tensor, label: int, loss: Loss, source: Source = Source.EXACT) -> Dialogue[Tensor]:
    """The gradient (C, H, W) of a loss at a picture that stays where it is."""
    seen = yield from ascend(Iterate(point, label, eps=0.0, step_size=0.0, x=point, loss=loss), source)
    return seen.gradient.clone()


def kind_of(gradient: Tensor) -> GradientKind:
    """What a gradient is good for."""
    size = float(gradient.abs().max())
    if not size < float("inf"):
        return "non_finite"
    return "zero" if size == 0 else "fine"


def outside_by(target: Target, adversarial: Adversarial, eps_255: int) -> float:
    """How far a picture is outside the ball or outside [0, 1]; 0 or less is inside."""
    picture = adversarial.picture
    outside = torch.stack([(picture - target.origin).abs().max() - eps_255 / 255, -picture.min(), picture.max() - 1])
    return float(outside.max())


def survives_rounding(target: Target, adversarial: Adversarial | None, levels: int) -> Dialogue[bool | None]:
    """Whether the picture still fools once a file of the image's own depth holds it; None where there is none."""
    if adversarial is None:
        return None
    (found,) = yield from judged(target, [(adversarial.picture * levels).round() / levels])
    return found is not None


def _note(findings: Findings, attack: str, found: dict[int, Adversarial]) -> None:
    """Record an attack's smallest fooling eps, and keep its picture where it is the smallest of all."""
    smallest = min(found, default=None)
    if smallest is not None and (findings.worst_eps is None or smallest < findings.worst_eps):
        findings.adversarial, findings.adversarial_attack = found[smallest], attack
    findings.fooled_at[attack] = smallest
