"""What an image costs under each preset: gradients and forward passes, checks left out.

    python benchmarks/preset_costs.py MODEL DATA [--limit 8] [--presets quick,default,thorough,paper]

The cost depends on the model: one that falls early is cheap, one that withstands makes every attack take all its steps.
"""

from __future__ import annotations

import time

from subject import circumstances, opened, parser, preset_engine

from robaudit.attack.threats import EPS_GRID, PRESETS


def main() -> None:
    """Run every preset over the same images and print a table."""
    arguments = parser(__doc__)
    arguments.add_argument("--limit", type=int, default=8)
    arguments.add_argument("--presets", default=",".join(PRESETS))
    options = arguments.parse_args()
    loaded, images = opened(options.model, options.data, options.limit)
    print(f"{circumstances(options.model)}, {len(images)} images")
    print(f"{'preset':10} {'gradients/image':>16} {'forwards/image':>15} {'s/image':>8}")
    for preset in options.presets.split(","):
        engine = preset_engine(loaded, images, preset, EPS_GRID, seed=0)
        started = time.perf_counter()
        work = [measured.work for measured in engine.measure(images, images.refs)]
        seconds, n = time.perf_counter() - started, len(images)
        gradients, forwards = sum(each.gradients for each in work) / n, sum(each.forwards for each in work) / n
        print(f"{preset:10} {gradients:16.1f} {forwards:15.1f} {seconds / n:8.2f}", flush=True)


if __name__ == "__main__":
    main()
