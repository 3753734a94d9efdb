"""The engine on another device, such as a GPU: images per second, how busy it is, and whether the curves are the CPU's.

    python benchmarks/engine_devices.py MODEL DATA [--device cuda] [--limit 64] [--cpu-limit 8]

`busy` is the share of wall time in which the device ran our kernels, from the profiler, under BIM alone (on a CPU it
says nothing). Last, values (image x attack) that differ from a float32 run on the CPU, over --cpu-limit of the images.
Every line is printed as soon as it is known: a borrowed GPU may go before the end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from subject import circumstances, opened, parser
from torch.profiler import ProfilerActivity, profile

from robaudit import tally
from robaudit.attack.curve import Engine, Measured
from robaudit.attack.names import parse_attacks
from robaudit.attack.prepare import Speedups
from robaudit.attack.threats import EPS_GRID, FOUR
from robaudit.attack.trial import Plan
from robaudit.data.images import Images
from robaudit.load.classifier import LoadedModel

KINDS = ("gradients", "forwards")


@dataclass(frozen=True)
class Run:
    """One run over the images."""

    measured: list[Measured]
    seconds: float
    width: int

    @property
    def values(self) -> dict[tuple[str, str], int]:
        """Smallest fooling eps, by image and attack."""
        return {(each.row.id, attack): tally.fooling_eps(each.row, attack) for each in self.measured for attack in FOUR}


def engine_on(loaded: LoadedModel, images: Images, attacks: Sequence[str], bfloat16: bool) -> Engine:
    """An engine that has been warmed up; no wider than the set, as a scan has it."""
    plan = Plan(parse_attacks(attacks), EPS_GRID, seed=0)
    speedups = Speedups(bfloat16=bfloat16)
    engine = Engine(loaded.classifier, loaded.size, images.channels, plan, speedups=speedups, n_images=len(images))
    timed(engine, images.limited(1, 0))
    return engine


def measured_on(loaded: LoadedModel, images: Images, bfloat16: bool) -> Run:
    """Measure the images under the four attacks."""
    engine = engine_on(loaded, images, FOUR, bfloat16)
    return Run(*timed(engine, images), engine.width)


def busy_share(loaded: LoadedModel, images: Images, bfloat16: bool) -> float:
    """Share of the time in which the GPU runs our kernels; apart, for profiling slows."""
    engine = engine_on(loaded, images, ("bim",), bfloat16)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        _, seconds = timed(engine, images)
    return float(sum(event.self_device_time_total for event in profiler.key_averages())) / 1e6 / seconds


def timed(engine: Engine, images: Images) -> tuple[list[Measured], float]:
    """What the engine finds, and the seconds until the device is done."""
    started = time.perf_counter()
    measured = list(engine.measure(images, images.refs))
    if engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
    return measured, time.perf_counter() - started


def main() -> None:
    """Run both precisions on the device, then a few images on the CPU beside."""
    arguments = parser(__doc__)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--limit", type=int, default=64)
    arguments.add_argument("--cpu-limit", type=int, default=8)
    options = arguments.parse_args()
    on_gpu = options.device.startswith("cuda")
    name = torch.cuda.get_device_name(options.device) if on_gpu else options.device
    print(f"{circumstances(options.model)}, {name}, {options.limit} images")
    print(f"{'precision':10} {'batch':>6} {'gradients/image':>16} {'forwards/image':>15} {'images/s':>9} {'busy':>6}")
    loaded, images = opened(options.model, options.data, options.limit, options.device)
    runs = {}
    for precision in ("bfloat16", "float32"):
        runs[precision] = run = measured_on(loaded, images, precision == "bfloat16")
        n = len(run.measured)
        gradients, forwards = (sum(getattr(each.work, kind) for each in run.measured) / n for kind in KINDS)
        print(
            f"{precision:10} {run.width:6d} {gradients:16.1f} {forwards:15.1f} {n / run.seconds:9.2f}",
            f"{busy_share(loaded, images, precision == 'bfloat16'):6.0%}" if on_gpu else f"{'-':>6}",
            flush=True,
        )
    few = images.limited(options.cpu_limit, 0)
    reference = measured_on(opened(options.model, options.data, device="cpu")[0], few, bfloat16=False).values
    for precision, run in runs.items():
        found = run.values
        other = sum(found[key] != value for key, value in reference.items())
        print(f"{precision}: {other} of {len(reference)} values differ from float32 on the CPU")


if __name__ == "__main__":
    main()
