"""Cost against work: gradients and seconds as images and eps grow; should be linear in images, far less in eps.

    python benchmarks/engine_scaling.py MODEL DATA [--limit 16]

Images are taken 1, 4 and 16 times as many (of DATA's test part, seeded), eps grids have 4, 8 and 16 points up to 8/255
and 16/255; ratios are to the first row of each table.
"""

from __future__ import annotations

import resource
import time

from subject import circumstances, opened, parser

from robaudit.attack.curve import Engine
from robaudit.attack.names import parse_attacks
from robaudit.attack.threats import FOUR
from robaudit.attack.trial import Plan
from robaudit.data.images import Images

GRIDS = ((2, 4, 6, 8), tuple(range(1, 9)), tuple(range(1, 17)))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--limit", type=int, default=4, help="images of the first row")
    options = arguments.parse_args()
    loaded, images = opened(options.model, options.data)
    print(circumstances(options.model))

    def spend(chosen: Images, grid: tuple[int, ...]) -> tuple[int, float]:
        engine = Engine(loaded.classifier, loaded.size, images.channels, Plan(parse_attacks(FOUR), grid, seed=0))
        started = time.perf_counter()
        gradients = sum(measured.work.gradients for measured in engine.measure(chosen, chosen.refs))
        return gradients, time.perf_counter() - started

    print(f"\n{'images':>8} {'eps':>4} {'gradients':>10} {'ratio':>6} {'seconds':>8} {'ratio':>6} {'peak MiB':>9}")
    first = None
    for factor in (1, 4, 16):
        first = report(
            spend(images.limited(options.limit * factor, 0), GRIDS[1]), options.limit * factor, GRIDS[1], first
        )
    first = None
    for grid in GRIDS:
        first = report(spend(images.limited(options.limit * 4, 0), grid), options.limit * 4, grid, first)


def report(
    spent: tuple[int, float], n_images: int, grid: tuple[int, ...], first: tuple[int, float] | None
) -> tuple[int, float]:
    """Print one row; returns what ratios refer to."""
    first = first or spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{n_images:8d} {len(grid):4d} {spent[0]:10d} {spent[0] / first[0]:6.2f} {spent[1]:8.1f} "
        f"{spent[1] / first[1]:6.2f} {peak:9.0f}",
        flush=True,
    )
    return first


if __name__ == "__main__":
    main()
