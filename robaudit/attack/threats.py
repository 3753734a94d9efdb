"""The attacks as tables of constants: over one climb (`attack/climb.py`), and two that need no gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from numbers import Integral
from typing import Literal

from robaudit.attack.losses import Loss
from robaudit.errors import SettingsError
from robaudit.records import Scalar

EPS_GRID = (1, 2, 3, 4, 5, 6, 7, 8)
"""Default L-inf budgets, in 255ths of the full range."""

FOOLBOX_PREFIX = "foolbox:"
MAX_TARGETS = 9
"""Classes that a targeted attack tries, the likeliest first (Croce & Hein 2020, section 4)."""

Scope = Literal["all", "survivors"]
"""`survivors`: run only below the eps at which the attacks listed before fooled an image."""


class Source(StrEnum):
    """Whose gradient an attack follows, or whose answer a query gets."""

    MODEL = "model"
    """The audited model's fast working copy."""
    EXACT = "exact"
    """Its working copy in float32."""
    SURROGATE = "surrogate"
    """Another model of the same classes: what fools it may transfer."""
    BPDA = "bpda"
    """The working copy with T and C replaced by the identity in the backward pass (Athalye et al. 2018)."""
    HEAD = "head"
    """The working copy up to its last linear layer, without what is done to the answers after it."""


@dataclass(frozen=True)
class Attack:
    """One L-inf attack that follows gradients; the budget eps is supplied per point of the curve."""

    name: str
    steps: int
    step_fraction: float
    """Step size as a fraction of eps."""
    loss: Loss = Loss.CROSS_ENTROPY
    decay: float = 0.0
    """Momentum of the gradient, mu of Dong et al. 2018, eq. 6."""
    random_start: bool = False
    restarts: int = 1
    adaptive: bool = False
    """Step halving and iterate momentum of Croce & Hein 2020 (APGD)."""
    source: Source = Source.MODEL
    scope: Scope = "all"

    @property
    def is_single_step(self) -> bool:
        """Whether forwards alone sweep the grid, once the first gradient is known."""
        return self.steps == 1 and not self.random_start

    def n_targets(self, n_classes: int) -> int:
        """Climbs of a restart: one towards each class that a targeted loss tries, else one."""
        return min(n_classes - 1, MAX_TARGETS) if self.loss is Loss.TARGETED else 1

    @property
    def params(self) -> dict[str, Scalar]:
        """The constants as the record states them."""
        return {
            "loss": self.loss.value,
            "steps": self.steps,
            "step_fraction": self.step_fraction,
            "decay": self.decay,
            "random_start": self.random_start,
            "restarts": self.restarts,
            "adaptive": self.adaptive,
            "source": self.source.value,
        }


@dataclass(frozen=True)
class Square:
    """Square Attack (Andriushchenko et al. 2020), L-inf: random search by queries, no gradient."""

    name: str = "square"
    queries: int = 200
    p_init: float = 0.8
    """Share of the image that the first squares cover (AutoAttack's; the paper's L-inf value on ImageNet is 0.05)."""
    scope: Scope = "all"

    @property
    def params(self) -> dict[str, Scalar]:
        """The constants as the record states them."""
        return {"queries": self.queries, "p_init": self.p_init}


@dataclass(frozen=True)
class Corners:
    """Random corners of the ball: every pixel moves by +eps or -eps at random (Carlini et al. 2019, section 4.10)."""

    name: str = "corners"
    draws: int = 100
    scope: Scope = "all"

    @property
    def params(self) -> dict[str, Scalar]:
        """The constants as the record states them."""
        return {"draws": self.draws}


@dataclass(frozen=True)
class FoolboxAttack:
    """An attack of foolbox, by its class name there, with its own defaults."""

    class_name: str
    scope: Scope = "all"

    @property
    def name(self) -> str:
        """The name it was asked for by."""
        return f"{FOOLBOX_PREFIX}{self.class_name}"

    @property
    def params(self) -> dict[str, Scalar]:
        """What the record states."""
        return {"foolbox_class": self.class_name}


AnyAttack = Attack | Square | Corners | FoolboxAttack

TABLE: Mapping[str, Attack] = {
    attack.name: attack
    for attack in (
        # Goodfellow et al. 2015.
        Attack("fgsm", steps=1, step_fraction=1.0),
        # Kurakin et al. 2017.
        Attack("bim", steps=10, step_fraction=1 / 4),
        # Dong et al. 2018: L1-normalised gradients are accumulated, the sign is taken at the step.
        Attack("mifgsm", steps=10, step_fraction=1 / 10, decay=1.0),
        # Madry et al. 2018; 2.5 eps / steps can cross the ball from any start and still turn round.
        Attack("pgd", steps=40, step_fraction=2.5 / 40, random_start=True),
        # Croce & Hein 2020: first step 2 eps, halved by its own rule.
        Attack("apgd", steps=40, step_fraction=2.0, random_start=True, adaptive=True),
        # MI-FGSM on another model: momentum is what makes it transfer (Dong et al. 2018, section 4).
        Attack("transfer", steps=10, step_fraction=1 / 10, decay=1.0, source=Source.SURROGATE),
        # Backward pass differentiable approximation: the margin's gradient past T and C.
        Attack("bpda", steps=40, step_fraction=2.5 / 40, random_start=True, loss=Loss.MARGIN, source=Source.BPDA),
        # The margin of what the last linear layer returns, whatever the model makes of it before it answers.
        Attack("head", steps=40, step_fraction=2.5 / 40, random_start=True, loss=Loss.MARGIN, source=Source.HEAD),
    )
}

FOUR = ("fgsm", "bim", "mifgsm", "pgd")


@dataclass(frozen=True)
class Preset:
    """A named choice of attacks and protocol."""

    attacks: tuple[str, ...]
    protocol: Literal["nested", "paper"] = "nested"
    check_sample: int = 24
    """Images that are asked more, to see whether the number can be believed."""


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(("fgsm", "bim"), check_sample=8),  # 24 images cost more than these attacks on a hundred
    "default": Preset((*FOUR, "+apgd-margin", "+apgd-targeted-20", "+square")),
    "paper": Preset(FOUR, protocol="paper"),
    "thorough": Preset(
        (
            *FOUR,
            "+apgd-100",
            "+apgd-margin-100x2",
            "+apgd-targeted-100",
            "+bpda",
            "+transfer",
            "+square-1000",
            "+corners",
        )
    ),
}


def find_preset(name: str) -> Preset:
    """Look up a preset.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in PRESETS:
        raise SettingsError(f"--preset {name}: is unknown; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def check_grid(eps_255: Sequence[int]) -> tuple[int, ...]:
    """The eps grid, ascending.

    Raises:
        SettingsError: empty, repeated, or outside 1..255.
    """
    grid = {int(eps) for eps in eps_255 if isinstance(eps, Integral) and 1 <= eps <= 255}
    if not grid or len(grid) < len(eps_255):
        got = ",".join(str(eps) for eps in eps_255)
        raise SettingsError(f"--eps {got}: wanted different whole numbers from 1 to 255 (8 means 8/255)")
    return tuple(sorted(grid))
