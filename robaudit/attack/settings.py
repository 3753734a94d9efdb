"""What a person can choose about a measurement -> the plan and the speed-ups it runs with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch

from robaudit.attack.losses import Loss
from robaudit.attack.names import parse_attacks
from robaudit.attack.prepare import Speedups
from robaudit.attack.search import Search
from robaudit.attack.threats import AnyAttack, Attack, Source, check_grid, find_preset
from robaudit.attack.trial import Plan
from robaudit.errors import SettingsError

Protocol = Literal["nested", "paper"]
Precision = Literal["float32", "bfloat16", "auto"]

SWITCHES = ("rescale", "shared-gradient", "fold", "channels-last")
"""What is on and can be switched off; docs/what-is-exact.md says what each saves and what it can change."""


def plan_of(
    attacks: Sequence[str] | None,
    eps_255: Sequence[int],
    preset: str,
    protocol: Protocol | None,
    seed: int,
    search: str = Search.DESCEND,
    without: Sequence[str] = (),
    warm_start: bool = False,
    restarts: int = 1,
) -> Plan:
    """What a scan with these settings does to every image.

    Raises:
        SettingsError: an unknown preset, attack, search, protocol or switch, or an eps out of range.
    """
    chosen = find_preset(preset)
    _require_one_of("--search", search, tuple(Search))
    _require_one_of("--protocol", protocol or chosen.protocol, get_args(Protocol))
    unknown = sorted(set(without) - set(SWITCHES))
    if unknown:
        raise SettingsError(f"--without {','.join(unknown)}: is unknown; there are {', '.join(SWITCHES)}")
    return Plan(
        parse_attacks(chosen.attacks if attacks is None else attacks, restarts),
        check_grid(eps_255),
        seed,
        protocol or chosen.protocol,
        Search(search),
        rescale="rescale" not in without,
        share_first_gradient="shared-gradient" not in without,
        warm_start=warm_start,
    )


def fitted(plan: Plan, *, has_front: bool, has_surrogate: bool, n_classes: int, chosen: bool) -> Plan:
    """The plan without the preset's attacks that this model gives nothing to do.

    Args:
        plan: what was asked for.
        has_front: whether the model has T and C to see past.
        has_surrogate: whether there is another model to transfer from.
        n_classes: of the model; with two, a targeted margin is the margin.
        chosen: whether the attacks were named one by one: then nothing is left out silently.

    Raises:
        SettingsError: an attack that was named cannot be run.
    """
    kept = []
    for attack in plan.attacks:
        obstacle = _obstacle(attack, has_front, has_surrogate, n_classes)
        if obstacle and chosen:
            raise SettingsError(f"--attacks {attack.name}: {obstacle}; leave it out")
        if not obstacle:
            kept.append(attack)
    return replace(plan, attacks=tuple(kept))


def sample_size_of(check_sample: int | None, preset: str) -> int:
    """How many images the sampled checks are to ask: what was given, or the preset's number.

    Raises:
        SettingsError: an unknown preset, or fewer than none.
    """
    size = find_preset(preset).check_sample if check_sample is None else check_sample
    if size < 0:
        raise SettingsError(f"--check-sample {size}: wanted 0 or more")
    return size


def _obstacle(attack: AnyAttack, has_front: bool, has_surrogate: bool, n_classes: int) -> str:
    """Why an attack cannot be run on a model; empty where it can."""
    if not isinstance(attack, Attack):
        return ""
    if attack.source is Source.BPDA and not has_front:
        return "goes past T and C, and this model has none"
    if attack.source is Source.SURROGATE and not has_surrogate:
        return "needs another model to make its pictures on, and none was given with --surrogate"
    if attack.loss is Loss.TARGETED and n_classes == 2:
        return "is the margin attack where there are two classes"
    return ""


def speedups_of(precision: Precision, without: Sequence[str], device: torch.device) -> Speedups:
    """What the working copy does to save time on `device`.

    Raises:
        SettingsError: an unknown precision.
    """
    _require_one_of("--precision", precision, get_args(Precision))
    return Speedups(
        fold="fold" not in without,
        channels_last="channels-last" not in without,
        bfloat16=precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device)),
    )


def _require_one_of(option: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise SettingsError(f"{option} {value}: is unknown; there are {', '.join(known)}")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16 itself, rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
