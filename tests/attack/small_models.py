"""Small networks and images for the engine's tests; all seeded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from robaudit.attack.curve import Engine
from robaudit.attack.names import parse_attacks
from robaudit.attack.trial import Plan
from robaudit.data.images import ImageRef, Images
from robaudit.records import ImageRow

SIDE = 12


def small_network(n_classes: int = 2, channels: int = 1, seed: int = 0, sharpness: float = 4.0) -> nn.Module:
    """A convolution, a batch-norm with statistics of its own, and a head; sharp enough to be fooled in a few levels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        norm = nn.BatchNorm2d(6)
        network = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1, bias=False), norm, nn.GELU(),
            nn.Conv2d(6, 4, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(100, n_classes),
        )  # fmt: skip
        nn.init.uniform_(norm.running_mean, -0.3, 0.3)
        nn.init.uniform_(norm.running_var, 0.02, 0.2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        network[-1].weight.data *= sharpness
    return network.eval()


@dataclass(frozen=True)
class TensorImages(Images):
    """Images that live in memory."""

    pictures: tuple[Tensor, ...] = ()

    def load(self, ref: ImageRef, size: tuple[int, int]) -> Tensor:
        return self.pictures[self.refs.index(ref)]


def images_for(model: nn.Module, n: int, channels: Literal[1, 3] = 1, seed: int = 1, side: int = SIDE) -> TensorImages:
    """Random 8-bit images, labelled as the model sees them, but every seventh wrongly."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 256, (n, channels, side, side), generator=generator).float() / 255
    with torch.no_grad():
        logits = model(pictures)
    n_classes = logits.shape[1]
    seen = logits.argmax(1).tolist()
    labels = [(label + (index % 7 == 3)) % n_classes for index, label in enumerate(seen)]
    refs = tuple(
        ImageRef(f"{index:03d}.png", Path(), str(label), hashlib.sha256(picture.numpy().tobytes()).hexdigest())
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True))
    )
    classes = tuple(str(index) for index in range(n_classes))
    return TensorImages(Path(), refs, classes, channels, pictures=tuple(pictures))


def engine_for(model: nn.Module, images: TensorImages, *attacks: str, **options: object) -> Engine:
    """An engine over `attacks` with the default grid, unless `grid` says otherwise."""
    batch_size = options.pop("batch_size", 4)
    arguments = {name: options.pop(name) for name in ("speedups", "surrogate") if name in options}
    grid = options.pop("grid", tuple(range(1, 9)))
    plan = Plan(parse_attacks(attacks), grid, seed=0, **options)
    side = images.pictures[0].shape[-1]
    return Engine(model, (side, side), images.channels, plan, batch_size, **arguments)


def rows_of(engine: Engine, images: TensorImages, refs: tuple[ImageRef, ...] | None = None) -> list[ImageRow]:
    """Rows of all images, by id."""
    measured = engine.measure(images, images.refs if refs is None else refs)
    return sorted((each.row for each in measured), key=lambda row: row.id)
