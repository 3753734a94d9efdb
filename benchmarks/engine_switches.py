"""What each switch of the curve engine saves, and how often it changes an image's value against full float32 sweeps.

    python benchmarks/engine_switches.py MODEL DATA [--limit 20] [--variants all,no-rescale]

The reference runs every eps of the grid on its own in float32 with every other switch off, best iterate kept; its
value for an image and attack is the smallest eps that fooled. `weaker` counts values larger than that (the engine
missed something), `stronger` those smaller, out of images x attacks.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from subject import circumstances, opened, parser

from robaudit import tally
from robaudit.attack.curve import Engine
from robaudit.attack.names import parse_attacks
from robaudit.attack.prepare import Speedups
from robaudit.attack.search import Search
from robaudit.attack.threats import FOUR
from robaudit.attack.trial import Plan

GRID = tuple(range(1, 9))
DEFAULT = Plan(parse_attacks(FOUR), GRID, seed=0)
VARIANTS: dict[str, tuple[Plan, Speedups]] = {
    "default": (DEFAULT, Speedups()),
    "bf16": (DEFAULT, Speedups(bfloat16=True)),
    "no-rescale": (replace(DEFAULT, rescale=False), Speedups()),
    "warm-start": (replace(DEFAULT, warm_start=True), Speedups()),
    "bisect": (replace(DEFAULT, search=Search.BISECT), Speedups()),
    "ascend": (replace(DEFAULT, search=Search.ASCEND), Speedups()),
    "no-sharing": (replace(DEFAULT, share_first_gradient=False), Speedups()),
    "no-fold": (DEFAULT, Speedups(fold=False)),
    "no-channels-last": (DEFAULT, Speedups(channels_last=False)),
}


def sweep(loaded: Any, images: Any) -> dict[tuple[str, str], int]:
    """Smallest fooling eps of every image and attack, every eps on its own: one engine per eps."""
    smallest: dict[tuple[str, str], int] = {}
    plain = Speedups(fold=False, channels_last=False)
    for eps in reversed(GRID):
        plan = replace(DEFAULT, grid=(eps,), rescale=False, share_first_gradient=False)
        engine = Engine(loaded.classifier, loaded.size, images.channels, plan, None, plain)
        for measured in engine.measure(images, images.refs):
            for attack in FOUR:
                found = tally.fooling_eps(measured.row, attack)
                if found <= eps:
                    smallest[measured.row.id, attack] = found
    return smallest


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--limit", type=int, default=20)
    arguments.add_argument("--variants", default=",".join(VARIANTS))
    options = arguments.parse_args()
    loaded, images = opened(options.model, options.data, options.limit)
    print(f"{circumstances(options.model)}, {len(images)} images")

    started = time.perf_counter()
    reference = sweep(loaded, images)
    print(f"reference sweep {time.perf_counter() - started:.0f} s", flush=True)
    print(f"{'variant':18} {'gradients/image':>16} {'forwards/image':>15} {'s/image':>8} {'weaker':>7} {'stronger':>9}")
    for name in options.variants.split(","):
        plan, speedups = VARIANTS[name]
        engine = Engine(loaded.classifier, loaded.size, images.channels, plan, None, speedups)
        started = time.perf_counter()
        measured = list(engine.measure(images, images.refs))
        seconds = time.perf_counter() - started
        pairs = [
            (tally.fooling_eps(each.row, attack), reference.get((each.row.id, attack), tally.NEVER))
            for each in measured
            for attack in FOUR
        ]
        n = len(images)
        print(
            f"{name:18} {sum(each.work.gradients for each in measured) / n:16.1f} "
            f"{sum(each.work.forwards for each in measured) / n:15.1f} {seconds / n:8.2f} "
            f"{sum(ours > theirs for ours, theirs in pairs):7d} {sum(ours < theirs for ours, theirs in pairs):9d}",
            flush=True,
        )


if __name__ == "__main__":
    main()
