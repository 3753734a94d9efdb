"""What most benchmarks here begin with: a model file and the test images it is measured on."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from robaudit.attack.curve import Engine
from robaudit.attack.settings import fitted, plan_of, speedups_of
from robaudit.data.images import Images, open_images
from robaudit.load.classifier import LoadedModel
from robaudit.load.model import load_model
from robaudit.load.surrogate import load_surrogate
from robaudit.progress import Silent


def parser(description: str | None) -> argparse.ArgumentParser:
    """Arguments of a benchmark that measures MODEL on DATA."""
    arguments = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", type=Path)
    arguments.add_argument("data", type=Path)
    return arguments


def opened(model: Path, data: Path, limit: int | None = None, device: str = "cpu") -> tuple[LoadedModel, Images]:
    """The model and the test images, classes in the model's order."""
    images = open_images(data, "test", limit=limit)
    loaded = load_model(model, folder_classes=images.classes, device=device)
    return loaded, images.ordered_as(loaded.info.classes)


def circumstances(model: Path) -> str:
    """What a figure depends on beside the arguments."""
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, {model.name}"


def preset_engine(
    loaded: LoadedModel,
    images: Images,
    preset: str,
    grid: tuple[int, ...],
    seed: int,
    batch_size: int | None = None,
) -> Engine:
    """The engine of a scan with this preset; where that asks for a surrogate, the scan's own."""
    other = load_surrogate(None, loaded, images, Silent())
    plan = fitted(
        plan_of(None, grid, preset, None, seed),
        has_front=loaded.info.front is not None,
        has_surrogate=other is not None,
        n_classes=loaded.info.n_classes,
        chosen=False,
    )
    speedups = speedups_of("auto", (), loaded.classifier.device)
    surrogate = other.network if other else None
    return Engine(loaded.classifier, loaded.size, images.channels, plan, batch_size, speedups, surrogate)
