"""The engine on another device, such as a GPU: images per second, how busy it is, and whether the curves are the CPU's.

    python benchmarks/engine_devices.py MODEL DATA [--device cuda] [--limit 64] [--cpu-limit 8]

`busy` is the share of wall time in which the device ran our kernels, from the profiler (on a CPU it says nothing).
`other` counts values (image x attack) that differ from a float32 run on the CPU, over the first --cpu-limit images.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from subject import circumstances, opened, parser
from torch.profiler import ProfilerActivity, profile

from robaudit import tally
from robaudit.attack.curve import Engine, Measured
from robaudit.attack.names import parse_attacks
from robaudit.attack.prepare import Speedups
from robaudit.attack.threats import EPS_GRID, FOUR
from robaudit.attack.trial import Plan
from robaudit.load.images import Images


@dataclass(frozen=True)
class Run:
    """One run over the images."""

    measured: list[Measured]
    seconds: float
    busy: float | None
    """Share of the time in which the device ran our kernels; None where it is no GPU."""
    width: int

    @property
    def values(self) -> dict[tuple[str, str], int]:
        """Smallest fooling eps, by image and attack."""
        return {(each.row.id, attack): tally.fooling_eps(each.row, attack) for each in self.measured for attack in FOUR}


def measured_on(device: str, model: Path, data: Path, limit: int, bfloat16: bool) -> Run:
    """Measure the first images of DATA, seeded."""
    loaded, images = opened(model, data, limit, device)
    plan = Plan(parse_attacks(FOUR), EPS_GRID, seed=0)
    engine = Engine(loaded.classifier, loaded.size, images.channels, plan, None, Speedups(bfloat16=bfloat16))
    timed(engine, images.limited(1, 0))  # warms up
    measured, seconds = timed(engine, images)
    busy = None
    if engine.device.type == "cuda":
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:  # apart, for profiling slows
            _, profiled = timed(engine, images.limited(engine.width, 0))
        busy = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / profiled
    return Run(measured, seconds, busy, engine.width)


def timed(engine: Engine, images: Images) -> tuple[list[Measured], float]:
    """What the engine finds, and the seconds until the device is done."""
    started = time.perf_counter()
    measured = list(engine.measure(images, images.refs))
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
    return measured, time.perf_counter() - started


def main() -> None:
    """Run both precisions on the device, and a few images on the CPU beside."""
    arguments = parser(__doc__)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--limit", type=int, default=64)
    arguments.add_argument("--cpu-limit", type=int, default=8)
    options = arguments.parse_args()
    name = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else options.device
    print(f"{circumstances(options.model)}, {name}, {options.limit} images")
    reference = measured_on("cpu", options.model, options.data, options.cpu_limit, bfloat16=False).values
    print(f"{'precision':10} {'batch':>6} {'gradients/image':>16} {'images/s':>9} {'busy':>6} {'other':>9}")
    for bfloat16 in (False, True):
        run = measured_on(options.device, options.model, options.data, options.limit, bfloat16)
        found, n = run.values, len(run.measured)
        other = sum(found[key] != value for key, value in reference.items())
        gradients = sum(each.work.gradients for each in run.measured)
        print(
            f"{'bfloat16' if bfloat16 else 'float32':10} {run.width:6d} {gradients / n:16.1f} {n / run.seconds:9.2f} "
            f"{'-' if run.busy is None else f'{run.busy:.0%}':>6} {other:4d}/{len(reference)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
