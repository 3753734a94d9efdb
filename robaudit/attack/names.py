"""What attacks are called: `[+]NAME[-LOSS][-COUNT[xRESTARTS]]`, or `[+]foolbox:CLASS`.

pgd  pgd-margin  apgd-targeted-100  pgd-100x5   steps and restarts
square-1000                                      queries
corners-500                                      draws
+square                                          on survivors alone
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from robaudit.attack.losses import Loss
from robaudit.attack.threats import FOOLBOX_PREFIX, TABLE, AnyAttack, Attack, Corners, FoolboxAttack, Scope, Square
from robaudit.errors import SettingsError

SURVIVORS_PREFIX = "+"

_NAME = re.compile(
    r"(?P<base>[a-z]+)(?:-(?P<loss>[a-z]+))?(?:-(?P<count>[1-9][0-9]{0,5})(?:x(?P<restarts>[1-9][0-9]{0,2}))?)?"
)


def parse_attacks(names: Sequence[str], restarts: int = 1) -> tuple[AnyAttack, ...]:
    """Look up attacks by name.

    Args:
        names: as this module's head has them.
        restarts: of the attacks that start at random and do not say themselves.

    Raises:
        SettingsError: unknown or repeated name, or no restart at all.
    """
    if restarts < 1:
        raise SettingsError(f"--restarts {restarts}: wanted at least 1")
    attacks = tuple(parse_attack(name, restarts) for name in names)
    if not attacks or len({attack.name for attack in attacks}) < len(attacks):
        raise SettingsError(f"--attacks {','.join(names)}: wanted at least one attack and none twice")
    return attacks


def parse_attack(name: str, restarts: int = 1) -> AnyAttack:
    """Look up one attack.

    Raises:
        SettingsError: there is none of that name.
    """
    bare = name.strip().removeprefix(SURVIVORS_PREFIX)
    scope: Scope = "all" if bare == name.strip() else "survivors"
    if bare.startswith(FOOLBOX_PREFIX):
        return FoolboxAttack(bare.removeprefix(FOOLBOX_PREFIX), scope)
    parts = _NAME.fullmatch(bare)
    attack = _built(parts, restarts) if parts else None
    if attack is None:
        raise SettingsError(
            f"--attacks: unknown attack {name!r}; known are {', '.join(TABLE)}, each with {', '.join(Loss)} and "
            f"STEPS or STEPSxRESTARTS behind it (pgd-margin-100x5), square, corners, and {FOOLBOX_PREFIX}CLASS"
        )
    return replace(attack, scope=scope)


def doubled(attack: Attack) -> Attack:
    """The attack with twice the steps and, where it starts at random, twice the restarts, on survivors."""
    parts = _NAME.fullmatch(attack.name)
    assert parts is not None
    restarts = 2 * attack.restarts if attack.random_start else 1
    name = "-".join(part for part in (parts["base"], parts["loss"], str(2 * attack.steps)) if part)
    return replace(
        _with_steps(attack, 2 * attack.steps),
        name=f"{name}x{restarts}" if restarts > 1 else name,
        restarts=restarts,
        scope="survivors",
    )


def _built(parts: re.Match[str], default_restarts: int) -> Attack | Square | Corners | None:
    """The attack that the parts of a name describe; None where they do not belong together."""
    name, base, loss, count, restarts = parts[0], parts["base"], parts["loss"], parts["count"], parts["restarts"]
    if base in ("square", "corners"):
        if loss or restarts:
            return None
        if base == "square":
            return Square(name, int(count)) if count else Square()
        return Corners(name, int(count)) if count else Corners()
    if base not in TABLE or (loss and loss not in set(Loss)) or (restarts and not TABLE[base].random_start):
        return None
    attack = TABLE[base]
    if loss and loss != attack.loss:
        attack = replace(attack, loss=Loss(loss))
    if loss == TABLE[base].loss:
        name = name.replace(f"-{loss}", "", 1)  # `pgd-ce` is `pgd`
    if count:
        attack = _with_steps(attack, int(count))
    if attack.random_start:
        attack = replace(attack, restarts=int(restarts or default_restarts))
    return replace(attack, name=name)


def _with_steps(attack: Attack, steps: int) -> Attack:
    """The attack with other steps, which walk as far: to the border of the ball at least.

    PGD's step, and that of MI-FGSM (eps / steps in Dong et al. 2018), is a share of the way; BIM's, of fixed size, is
    longer only where it would not get there.
    """
    shrinks = attack.decay > 0 or (attack.random_start and not attack.adaptive)
    fraction = attack.step_fraction * attack.steps / steps if shrinks else max(attack.step_fraction, 1 / steps)
    return replace(attack, steps=steps, step_fraction=fraction)
