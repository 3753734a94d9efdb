"""What one driver can take of many workers: its own work per image, and what an image holds and sends.

Times are of the processor, not of the clock: what else runs on the machine does not change them.
"""

from __future__ import annotations

import pickle
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from robaudit.attack.batching import Sight, Work
from robaudit.attack.curve import Measured
from robaudit.audit.journal import JOURNAL_FILE, Entry, open_journal
from robaudit.data.images import ImageRef, open_images
from robaudit.fleet.worker import Found
from robaudit.records import ImageRow, Observed, Spent

N_FILES, SIDE = 50, 224
N_IMAGES = 50_000
PER_MESSAGE = 64


def timed(what: str, n: int, do: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = do()
    print(f"{what:<46} {1000 * (time.process_time() - start) / n:8.3f} ms/image", flush=True)
    return result


def write_images(folder: Path) -> Path:
    """Grey PNGs of noise over a slope, as large as networks take them."""
    dice = np.random.default_rng(0)
    for index in range(N_FILES):
        pixels = np.linspace(0, 200, SIDE) + dice.normal(0, 10, (SIDE, SIDE))
        file = folder / ("ill" if index % 2 else "well") / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file)
    return folder


def row(index: int) -> ImageRow:
    found = {"fgsm": 4, "bim": 2, "mifgsm": 2, "pgd": 2, "apgd-margin": 1, "+square-500": None}
    return ImageRow(
        id=f"test/cancer/{index:08d}.png", sha256=f"{index:064x}", label="cancer", prediction="cancer",
        fooled_at=found, raw_fooled_at={"fgsm": (4, 5, 6, 7, 8)},
    )  # fmt: skip


def measured(index: int) -> Measured:
    observed = Observed(
        margin=1.5, gradients={"ce": "fine", "margin": "fine"}, excess=0.0, realisable=True,
        unfinished=("pgd",), climbed=("bim", "mifgsm", "pgd"),
    )  # fmt: skip
    return Measured(row(index), Work(85, 40), 128, observed)


def ref(index: int) -> ImageRef:
    path = Path(f"/data/test/cancer/{index:08d}.png")
    return ImageRef(f"test/cancer/{index:08d}.png", path, "cancer", f"{index:064x}", f"{index + 1:064x}")


def held(what: str, make: Callable[[], Any]) -> Any:
    tracemalloc.start()
    made = make()
    print(f"{what:<46} {tracemalloc.get_traced_memory()[0] / len(made):8.0f} bytes/image", flush=True)
    tracemalloc.stop()
    return made


def merge(messages: list[bytes], folder: Path) -> None:
    """Read what workers send, and keep it."""
    with open_journal(folder, {"benchmark": True}) as journal:
        for message in messages:
            for finding in pickle.loads(message).findings:
                taken: Measured = finding[1]
                spent = Spent(gradients=taken.work.gradients, forwards=taken.work.forwards, seconds=0.01)
                journal.append(Entry(row=taken.row, spent=spent, batch_size=128, observed=taken.observed))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_images(folder / "data")
        timed(f"open: read, hash and decode {SIDE}x{SIDE} PNG", N_FILES, lambda: open_images(data))
        n = 5_000
        messages = [
            pickle.dumps(Found(tuple((str(i), measured(i)) for i in range(first, first + PER_MESSAGE)), False))
            for first in range(0, n, PER_MESSAGE)
        ]
        timed("merge: unpickle a finding, append it", n, lambda: merge(messages, folder))
        print(f"{'sent back by a worker':<46} {sum(map(len, messages)) / n:8.0f} bytes/image")
        print(f"{'journal':<46} {(folder / JOURNAL_FILE).stat().st_size / n:8.0f} bytes/image")
    refs = held("driver memory: list of images", lambda: [ref(index) for index in range(N_IMAGES)])
    print(f"{'sent to a worker, in its shard':<46} {len(pickle.dumps(refs[:2048])) / 2048:8.0f} bytes/image")
    held("driver memory: clean answers", lambda: {one.id: Sight((0.5, float(i)), 1) for i, one in enumerate(refs)})


if __name__ == "__main__":
    main()
