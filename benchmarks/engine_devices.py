"""The engine on another device, such as a GPU: images per second, how busy it is, and whether the curves are the CPU's.

    python benchmarks/engine_devices.py MODEL DATA [--device cuda] [--limit 64] [--cpu-limit 8]

`busy` is the share of wall time in which the device ran our kernels, from the profiler (on a CPU it says nothing).
`other` counts values (image x attack) that differ from a float32 run on the CPU, over the first --cpu-limit images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from robaudit import tally
from robaudit.attack.curve import Engine, Measured
from robaudit.attack.names import parse_attacks
from robaudit.attack.prepare import Speedups
from robaudit.attack.threats import EPS_GRID, FOUR
from robaudit.attack.trial import Plan
from robaudit.load.images import Images, open_images
from robaudit.load.model import load_model


def measured_on(
    device: str, model: Path, images: Images, bfloat16: bool
) -> tuple[list[Measured], float, float | None, int]:
    """Rows, seconds, busy share of the device (None: not a GPU) and batch size of one run."""
    loaded = load_model(model, folder_classes=images.classes, device=device)
    images = images.ordered_as(loaded.info.classes)
    plan = Plan(parse_attacks(FOUR), EPS_GRID, seed=0)
    engine = Engine(loaded.classifier, loaded.size, images.channels, plan, None, Speedups(bfloat16=bfloat16))
    list(engine.measure(images.limited(4, 0), images.limited(4, 0).refs))  # warms up
    if engine.device.type != "cuda":
        started = time.perf_counter()
        measured = list(engine.measure(images, images.refs))
        return measured, time.perf_counter() - started, None, engine.width
    started = time.perf_counter()
    measured = list(engine.measure(images, images.refs))
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    few = images.limited(engine.width, 0)  # profiled apart, for profiling slows
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        profiled = time.perf_counter()
        list(engine.measure(few, few.refs))
        torch.cuda.synchronize()
        profiled = time.perf_counter() - profiled
    busy = sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / profiled
    return measured, seconds, busy, engine.width


def values(measured: list[Measured]) -> dict[tuple[str, str], int]:
    """Smallest fooling eps, by image and attack."""
    return {(each.row.id, attack): tally.fooling_eps(each.row, attack) for each in measured for attack in FOUR}


def main() -> None:
    """Run both precisions on the device, and a few images on the CPU beside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--cpu-limit", type=int, default=8)
    options = parser.parse_args()
    images = open_images(options.data, "test", limit=options.limit)
    name = torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else options.device
    print(f"torch {torch.__version__}, {name}, {options.model.name}, {len(images)} images")
    reference = values(measured_on("cpu", options.model, images.limited(options.cpu_limit, 0), bfloat16=False)[0])
    print(f"{'precision':10} {'batch':>6} {'gradients/image':>16} {'images/s':>9} {'busy':>6} {'other':>9}")
    for bfloat16 in (False, True):
        measured, seconds, busy, width = measured_on(options.device, options.model, images, bfloat16)
        found = values(measured)
        other = sum(found[key] != value for key, value in reference.items())
        gradients = sum(each.work.gradients for each in measured) / len(measured)
        print(
            f"{'bfloat16' if bfloat16 else 'float32':10} {width:6d} {gradients:16.1f} "
            f"{len(measured) / seconds:9.2f} {'-' if busy is None else f'{busy:.0%}':>6} {other:4d}/{len(reference)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
