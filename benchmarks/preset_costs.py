"""What an image costs under each preset: gradients and forward passes, checks left out.

    python benchmarks/preset_costs.py MODEL DATA [--limit 8] [--presets quick,default,thorough,paper]

The cost depends on the model: one that falls early is cheap, one that withstands makes every attack take all its steps.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from robaudit.attack.curve import Engine
from robaudit.attack.settings import fitted, plan_of, speedups_of
from robaudit.attack.threats import EPS_GRID, PRESETS
from robaudit.load.images import open_images
from robaudit.load.model import load_model
from robaudit.load.surrogate import load_surrogate
from robaudit.progress import Silent


def main() -> None:
    """Run every preset over the same images and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--presets", default=",".join(PRESETS))
    options = parser.parse_args()
    images = open_images(options.data, "test", limit=options.limit)
    loaded = load_model(options.model, folder_classes=images.classes)
    images = images.ordered_as(loaded.info.classes)
    other = load_surrogate(None, loaded, images.to_try(loaded.size), Silent())
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.model}, {len(images)} images")
    print(f"{'preset':10} {'gradients/image':>16} {'forwards/image':>15} {'s/image':>8}")
    for preset in options.presets.split(","):
        plan = fitted(
            plan_of(None, EPS_GRID, preset, None, seed=0),
            has_front=loaded.info.front is not None,
            has_surrogate=other is not None,
            n_classes=loaded.info.n_classes,
            chosen=False,
        )
        speedups = speedups_of("auto", (), torch.device("cpu"))
        surrogate = other.network if other else None
        engine = Engine(loaded.classifier, loaded.size, images.channels, plan, None, speedups, surrogate)
        started = time.perf_counter()
        work = [measured.work for measured in engine.measure(images, images.refs)]
        seconds, n = time.perf_counter() - started, len(images)
        gradients, forwards = sum(each.gradients for each in work) / n, sum(each.forwards for each in work) / n
        print(f"{preset:10} {gradients:16.1f} {forwards:15.1f} {seconds / n:8.2f}", flush=True)


if __name__ == "__main__":
    main()
