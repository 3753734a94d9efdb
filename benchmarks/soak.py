"""Memory against work: does a long scan stay as small as it began?

    python benchmarks/soak.py [--images 100000] [--seconds 1800] [--folder DIR]

A very small network is scanned over that many generated pictures of 16x16 in a MedMNIST file, under FGSM and BIM at two
eps, journal and all. Resident memory is printed as a ratio to what it was after the first 2% of the images, when every
buffer has been made; what every image leaves behind is the slope between there and the end, in bytes. Stops after
`--seconds`, and says how far it came; with `--folder` the same command continues.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from robaudit.audit.scan import scan
from robaudit.progress import Silent

SIDE = 16
STAGES = ("reading images", "clean accuracy", "attacking")
"""Those that see every image."""
ROWS = 10
"""Lines of the table."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=1800.0, help="stop after so many")
    parser.add_argument("--folder", type=Path, help="keep pictures and scan here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        data = folder / f"{options.images}.npz"
        if not data.exists():
            write_data(data, options.images)
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.images} images", flush=True)
        print(f"{'stage':24} {'done':>8} {'s':>6} {'MiB':>6} {'ratio':>6}", flush=True)
        watch = MemoryWatch(options.images, options.seconds)
        try:
            scan(
                Tiny(), data, out=folder / "scan", input_size=(SIDE, SIDE), attacks=("fgsm", "bim"), eps=(2, 8),
                check_sample=8, progress=watch,
            )  # fmt: skip
        except KeyboardInterrupt:
            print("time is up")
        watch.sum_up()


class Tiny(nn.Module):
    """Whether the left or the right half is brighter, seen through a convolution."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.look = nn.Conv2d(1, 4, 3, padding=1)
        self.decide = nn.Linear(4 * SIDE * SIDE, 2)
        with torch.no_grad():
            self.look.weight.fill_(1 / 9)
            side = torch.where(torch.arange(SIDE) < SIDE // 2, 1.0, -1.0).expand(4, SIDE, SIDE).flatten()
            self.decide.weight.copy_(torch.stack([side, -side]) / 64)
            self.decide.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Answer (B, 1, SIDE, SIDE)."""
        return self.decide(torch.relu(self.look(x)).flatten(1))


class MemoryWatch(Silent):
    """Prints how much memory is in use, a few times in every stage."""

    def __init__(self, n_images: int, seconds: float) -> None:
        self.n_images, self.started, self.end = n_images, time.monotonic(), time.monotonic() + seconds
        self.stage, self.done, self.every, self.points = "", 0, 1, list[tuple[int, int]]()

    def start(self, stage: str, total: int) -> None:
        """Begin a stage."""
        self.stage, self.done, self.every = stage, 0, max(1, total // ROWS)

    def advance(self, n: int = 1, note: str = "") -> None:
        """Look at the memory now and then; stop when time is up."""
        before, self.done = self.done, self.done + n
        in_use = resident_bytes() if self._is_due(before) else 0
        if self.stage == "attacking" and in_use and self.done >= self.n_images // 50:
            self.points.append((self.done, in_use))
        if self.stage in STAGES and in_use and (before // self.every < self.done // self.every):
            self._print(in_use)
        if time.monotonic() > self.end and self.stage == "attacking":
            raise KeyboardInterrupt

    def sum_up(self) -> None:
        """Print what an image leaves behind."""
        if len(self.points) < 2:
            return
        (first_at, first), (last_at, last) = self.points[0], self.points[-1]
        per_image = (last - first) / (last_at - first_at)
        print(
            f"attacking, from image {first_at} to {last_at}: ratio {last / first:.3f}, {per_image:.0f} bytes an image"
        )

    def _is_due(self, before: int) -> bool:
        step = max(1, self.n_images // 50)
        return before // self.every < self.done // self.every or before // step < self.done // step

    def _print(self, in_use: int) -> None:
        ratio = f"{in_use / self.points[0][1]:6.3f}" if self.points else f"{'-':>6}"
        elapsed = time.monotonic() - self.started
        print(f"{self.stage:24} {self.done:8} {elapsed:6.0f} {in_use / 2**20:6.0f} {ratio}", flush=True)


def resident_bytes() -> int:
    """What the process holds in memory now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def write_data(path: Path, n: int) -> None:
    """Noise, brighter on one side; labelled by the side, one in ten wrongly."""
    dice = np.random.default_rng(0)
    label = np.arange(n) % 2
    bright = (label + (dice.random(n) < 0.1)) % 2
    images = dice.normal(128, 20, (n, SIDE, SIDE))
    amount = dice.uniform(0, 12, n)
    left = np.arange(SIDE) < SIDE // 2
    images += np.where((bright[:, None] == 0) == left[None, :], amount[:, None], 0)[:, None, :]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = {"images": np.clip(images, 0, 255).astype(np.uint8), "labels": label[:, None].astype(np.uint8)}
    empty = {"images": np.zeros((0, SIDE, SIDE), np.uint8), "labels": np.zeros((0, 1), np.uint8)}
    parts = {"train": empty, "val": empty, "test": part}
    temporary = path.with_name(f"{path.name}.unfinished.npz")
    np.savez(temporary, **{f"{name}_{key}": value for name, each in parts.items() for key, value in each.items()})
    temporary.replace(path)


if __name__ == "__main__":
    main()
