"""What a person can choose about a measurement -> the plan and the speed-ups it runs with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from robaudit.attack.examine import Plan
from robaudit.attack.prepare import Speedups
from robaudit.attack.search import Search
from robaudit.attack.threats import check_grid, find_preset, parse_attacks
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
        SettingsError: an unknown preset, attack, search or switch, or an eps out of range.
    """
    chosen = find_preset(preset)
    if search not in set(Search):
        raise SettingsError(f"--search {search}: is unknown; there are {', '.join(Search)}")
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


def speedups_of(precision: Precision, without: Sequence[str], device: torch.device) -> Speedups:
    """What the working copy does to save time on `device`."""
    return Speedups(
        fold="fold" not in without,
        channels_last="channels-last" not in without,
        bfloat16=precision == "bfloat16" or (precision == "auto" and has_fast_bfloat16(device)),
    )


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16 itself, rather than emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
