"""The demo: the whole job on generated phantoms with a small classifier trained on the spot; needs no input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robaudit.errors import OutputError
from robaudit.files import alone_in
from robaudit.job.phantoms import CLASSES, NOTE, SIDE, write_phantoms
from robaudit.job.run import Stages, run
from robaudit.job.small_classifier import made_with, train_small_classifier
from robaudit.progress import Progress, Silent

EPOCHS = 8
BATCH_SIZE = 16
LEARNING_RATE = 1e-3


def demo(
    *,
    out: Path | str,
    seed: int = 0,
    restart: bool = False,
    command: str = "robaudit.demo",
    progress: Progress | None = None,
) -> Path:
    """Draw phantoms, train a small classifier on them, and do the whole job; returns the page to open.

    Raises:
        OutputError: the folder cannot be written, or holds a demo of another seed.
    """
    out, progress = Path(out), progress or Silent()
    data, model = out / "data", out / "model"
    made = made_with(model)
    if made not in (None, seed) and not restart and Stages(out).before.exists():
        raise OutputError(
            f"{out}: holds a demo of seed {made}, wanted {seed}; choose another --out, or replace it with --restart"
        )
    if restart or made != seed:
        with alone_in(out):
            write_phantoms(data, seed, progress)
            train_small_classifier(data, model, (SIDE, SIDE), seed, progress)
    training: dict[str, Any] = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
    return run(
        model,
        data,
        out=out,
        without_glcm=True,
        scanning={"note": NOTE, "positive": CLASSES[1]},
        training=training,
        seed=seed,
        restart=restart,
        command=command,
        progress=progress,
    )
