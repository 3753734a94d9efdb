"""A small classifier in a file, and images on disk that it is mostly right about; all seeded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from robaudit.audit.scan import scan
from robaudit.progress import Silent
from robaudit.records import AuditRecord

SIDE = 32
CLASSES = ("ill", "well")
MEAN, STD = 0.5, 0.25
N_IMAGES = 18
GRID = (1, 2, 4, 8)
ATTACKS = ("fgsm", "bim", "pgd")


def pixels(index: int) -> np.ndarray:
    """Noise over a slope: (SIDE, SIDE), uint8."""
    dice = np.random.default_rng(1000 + index)
    slope = np.linspace(0, dice.uniform(-60, 60), SIDE)
    return np.clip(dice.normal(128, dice.uniform(5, 50), (SIDE, SIDE)) + slope, 0, 255).astype(np.uint8)


def as_input(pictures: list[np.ndarray]) -> torch.Tensor:
    """What the network sees of grey pictures, normalised by hand."""
    x = torch.from_numpy(np.stack(pictures)).float() / 255
    return ((x - MEAN) / STD)[:, None].expand(-1, 3, -1, -1)


def small_network(seed: int = 0) -> nn.Module:
    """An untrained network with batch-norm statistics of its own, its two classes in balance on noise."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = timm.create_model("test_resnet", num_classes=2).train()
        x = as_input([pixels(index) for index in range(32)])
        for _ in range(20):
            network(x)
        network.eval()
        network.fc.weight *= 10
        network.fc.bias -= network(x).median(dim=0).values
    return network


def write_model(folder: Path, seed: int = 0) -> Path:
    """Write a timm folder."""
    folder.mkdir(parents=True)
    save_file(small_network(seed).state_dict(), folder / "model.safetensors")
    cfg = {"input_size": [3, SIDE, SIDE], "mean": [MEAN] * 3, "std": [STD] * 3}
    config = {"architecture": "test_resnet", "label_names": CLASSES, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_data(root: Path) -> Path:
    """Write a folder of two classes, labelled as the network of seed 0 sees them but for every sixth image."""
    network = small_network()
    for index in range(N_IMAGES):
        with torch.no_grad():
            seen = int(network(as_input([pixels(index)])).argmax())
        label = CLASSES[(seen + (index % 6 == 1)) % 2]
        (root / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(index)).save(root / label / f"{index:02d}.png")
    return root


def small_scan(model: Path, data: Path, out: Path, **options: Any) -> AuditRecord:
    """Scan with three attacks and four eps, unless `options` say otherwise."""
    return scan(model, data, out=out, **{"attacks": ATTACKS, "eps": GRID, "check_sample": 0, **options})


class Watcher(Silent):
    """Keeps what it is told, and does something once an image was attacked."""

    def __init__(self, after: int = 10**9, then: Any = None) -> None:
        self.stage, self.lines, self.n_attacked = "", [], 0
        self._after, self._then = after, then

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.stage = stage

    def advance(self, n: int = 1, note: str = "") -> None:
        if self.stage == "attacking" and note:
            self.n_attacked += 1
            if self.n_attacked == self._after:
                self._then()

    def say(self, line: str) -> None:
        self.lines.append(line)


def interrupt() -> None:
    """Press Ctrl-C."""
    raise KeyboardInterrupt
