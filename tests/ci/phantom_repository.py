"""A repository as examples/ci expects it: a model, images, a policy, and yesterday's audit."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from robaudit.audit.scan import scan
from robaudit.data.images import open_images
from robaudit.job.phantoms import CLASSES, SIDE, phantom
from robaudit.job.small_classifier import train_small_classifier
from robaudit.load.model import load_model
from robaudit.progress import Silent

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples" / "ci"
N_TRAIN, N_TEST = 100, 20
SCAN = ("--preset", "quick", "--limit", "200", "--eps", "1,2,4")
"""How the examples scan; a test holds them to it."""


def make_repository(folder: Path) -> Path:
    """Train a small model on phantoms and audit it as the examples do, yesterday and, unchanged, today."""
    dice = np.random.default_rng(0)
    for part, n_images in (("train", N_TRAIN), ("test", N_TEST)):
        for label in CLASSES:
            (folder / "data" / part / label).mkdir(parents=True)
            for index in range(n_images):
                picture = Image.fromarray(phantom(label == CLASSES[1], dice))
                picture.save(folder / "data" / part / label / f"{index:02d}.png")
    with one_thread():
        train_small_classifier(folder / "data", folder / "model", (SIDE, SIDE), 0, Silent())
    shutil.copy(EXAMPLES / "robaudit.toml", folder / "robaudit.toml")
    _scan(folder, folder / "out" / "audit")
    shutil.copytree(folder / "out" / "audit", folder / "baseline")
    return folder


@contextmanager
def one_thread() -> Iterator[None]:
    """Train and scan with one thread: with another number the model of this story would be another one."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def make_worse(folder: Path) -> None:
    """Let today's model lean towards the second class, as after training on another mix, and audit it.

    It leans as far as turns 5 of the first class's images, however well this model was trained.
    """
    surest_last = _margins_of_the_first_class(folder).sort(descending=True).values
    file = folder / "model" / "model.safetensors"
    weights = load_file(file)
    (bias,) = (tensor for tensor in weights.values() if tensor.shape == (2,))
    bias[1] -= float(surest_last[4:6].mean())
    save_file(weights, file)
    shutil.rmtree(folder / "out")
    _scan(folder, folder / "out" / "audit")


def _margins_of_the_first_class(folder: Path) -> Tensor:
    """Logit of the second class minus that of the first, of each test image of the first."""
    loaded, images = load_model(folder / "model"), open_images(folder / "data", "test")
    pictures = [images.load(ref, loaded.size) for ref in images.refs if images.label_index(ref) == 0]
    with one_thread(), torch.no_grad():
        logits = loaded.classifier(torch.stack(pictures))
    return logits[:, 1] - logits[:, 0]


def run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a CI server does: a shell that stops at the first error, in the repository, robaudit in PATH."""
    programs = folder / ".bin"
    programs.mkdir(exist_ok=True)
    program = programs / "robaudit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m robaudit "$@"\n')
    program.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    here = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**inherited, **here, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _scan(folder: Path, out: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)
    try:
        with one_thread():
            place = out.relative_to(folder)
            scan("model", "data", out=place, preset="quick", limit=200, eps=(1, 2, 4), command="a test")
    finally:
        os.chdir(here)
