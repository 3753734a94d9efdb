"""A small classifier trained from scratch on a folder of images, saved as a timm folder: the demo's model."""

from __future__ import annotations

import json
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from robaudit.data.images import Images, open_images
from robaudit.files import replacing, write_text
from robaudit.load.folder import CONFIG_FILE
from robaudit.progress import Progress

ARCHITECTURE = "test_resnet"
MEAN, STD = (0.5,) * 3, (0.25,) * 3
EPOCHS = 12
BATCH_SIZE = 16
PEAK_LEARNING_RATE = 4e-3


def train_small_classifier(data: Path, folder: Path, size: tuple[int, int], seed: int, progress: Progress) -> None:
    """Train on DATA's train part and write config.json and model.safetensors to `folder`."""
    images = open_images(data, "train", progress=progress)
    x = torch.stack([images.load(ref, size) for ref in images.refs])
    y = torch.tensor([images.label_index(ref) for ref in images.refs])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _fit(x, y, len(images.classes), progress)
    _write(folder, model, images, size, seed)


def made_with(folder: Path) -> int | None:
    """The seed of the classifier in a folder; None where there is none."""
    try:
        seed: int = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["seed"]
    except (OSError, ValueError, KeyError):
        return None
    return seed


def _fit(x: Tensor, y: Tensor, n_classes: int, progress: Progress) -> torch.nn.Module:
    model: torch.nn.Module = timm.create_model(ARCHITECTURE, num_classes=n_classes).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.05)
    steps = EPOCHS * (len(x) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_LEARNING_RATE, total_steps=steps)
    mean, std = torch.tensor(MEAN).view(1, -1, 1, 1), torch.tensor(STD).view(1, -1, 1, 1)
    progress.start("training a small classifier", steps)
    for step in range(steps):
        if step % (len(x) // BATCH_SIZE) == 0:
            order = torch.randperm(len(x))
        batch = order[:BATCH_SIZE]
        order = order[BATCH_SIZE:]
        pictures = x[batch]
        if torch.rand(()) < 0.5:
            pictures = pictures.flip(3)
        if torch.rand(()) < 0.5:
            pictures = pictures.flip(2)
        loss = F.cross_entropy(model((pictures.expand(-1, 3, -1, -1) - mean) / std), y[batch])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        progress.advance(note=f"loss {float(loss.detach()):.3f}")
    progress.finish()
    return model.eval()


def _write(folder: Path, model: torch.nn.Module, images: Images, size: tuple[int, int], seed: int) -> None:
    with replacing(folder / "model.safetensors") as temporary:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": len(images.classes),
        "label_names": list(images.classes),
        "pretrained_cfg": {"mean": MEAN, "std": STD, "input_size": [3, *size]},
        "seed": seed,
    }
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")  # last: with it, the model is complete
