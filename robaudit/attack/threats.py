"""The attacks as a table of constants over one loop (`attack/climb.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from robaudit.attack.losses import Loss
from robaudit.errors import SettingsError
from robaudit.records import Scalar

EPS_GRID = (1, 2, 3, 4, 5, 6, 7, 8)
"""Default L-inf budgets, in 255ths of the full range."""

FOOLBOX_PREFIX = "foolbox:"


@dataclass(frozen=True)
class Attack:
    """One L-inf attack; the budget eps is supplied per point of the curve."""

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

    @property
    def is_single_step(self) -> bool:
        """Whether forwards alone sweep the grid, once the first gradient is known."""
        return self.steps == 1 and not self.random_start

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
        }


@dataclass(frozen=True)
class FoolboxAttack:
    """An attack of foolbox, by its class name there, with its own defaults."""

    class_name: str

    @property
    def name(self) -> str:
        """The name it was asked for by."""
        return f"{FOOLBOX_PREFIX}{self.class_name}"

    @property
    def params(self) -> dict[str, Scalar]:
        """What the record states."""
        return {"foolbox_class": self.class_name}


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
    )
}

FOUR = ("fgsm", "bim", "mifgsm", "pgd")


@dataclass(frozen=True)
class Preset:
    """A named choice of attacks and protocol."""

    attacks: tuple[str, ...]
    protocol: Literal["nested", "paper"] = "nested"


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(("fgsm", "bim")),
    "default": Preset(FOUR),
    "paper": Preset(FOUR, protocol="paper"),
}


def find_preset(name: str) -> Preset:
    """Look up a preset.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in PRESETS:
        raise SettingsError(f"--preset {name}: is unknown; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def parse_attacks(names: Sequence[str], restarts: int = 1) -> tuple[Attack | FoolboxAttack, ...]:
    """Look up attacks: `pgd`, with another loss `pgd-margin`, or `foolbox:LinfDeepFoolAttack`.

    Args:
        names: what to look up.
        restarts: of the attacks that start at random.

    Raises:
        SettingsError: unknown or repeated name, or no restart at all.
    """
    if restarts < 1:
        raise SettingsError(f"--restarts {restarts}: wanted at least 1")
    attacks = tuple(_parse(name.strip()) for name in names)
    attacks = tuple(
        replace(attack, restarts=restarts) if isinstance(attack, Attack) and attack.random_start else attack
        for attack in attacks
    )
    if not attacks or len({attack.name for attack in attacks}) < len(attacks):
        raise SettingsError(f"--attacks {','.join(names)}: wanted at least one attack and none twice")
    return attacks


def _parse(name: str) -> Attack | FoolboxAttack:
    if name.startswith(FOOLBOX_PREFIX):
        return FoolboxAttack(name.removeprefix(FOOLBOX_PREFIX))
    base, _, loss = name.partition("-")
    if base not in TABLE or (loss and loss not in set(Loss)):
        raise SettingsError(
            f"--attacks: unknown attack {name!r}; known are {', '.join(TABLE)}, each with -ce or -margin behind it, "
            f"and {FOOLBOX_PREFIX}CLASS"
        )
    if loss in ("", Loss.CROSS_ENTROPY):
        return TABLE[base]
    return replace(TABLE[base], name=name, loss=Loss(loss))


def check_grid(eps_255: Sequence[int]) -> tuple[int, ...]:
    """The eps grid, ascending.

    Raises:
        SettingsError: empty, repeated, or outside 1..255.
    """
    grid = tuple(sorted(set(eps_255)))
    if not grid or len(grid) < len(eps_255) or grid[0] < 1 or grid[-1] > 255:
        got = ",".join(str(eps) for eps in eps_255)
        raise SettingsError(f"--eps {got}: wanted different whole numbers from 1 to 255 (8 means 8/255)")
    return grid
