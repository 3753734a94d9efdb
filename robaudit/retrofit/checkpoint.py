"""Writing a retrofitted model as a folder: all or nothing. `robaudit.load` reads it.

model.safetensors   every weight, keys `front.*` and `backbone.*`
config.json         what is needed to build the network around them
program/            of a model that is a program (ONNX, TorchScript, ...), the file it came as
training.json       how it came about (`TrainingRecord`)
metrics.jsonl       one line per epoch, from epoch 0, the model before the first step
split.csv           where the data came undivided: which image was in which part
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from robaudit.errors import OutputError
from robaudit.load.classifier import Classifier
from robaudit.load.recipe import Recipe
from robaudit.records import FileRef, ModelInfo
from robaudit.retrofit.record import CONFIG_FILE, TRAINING_FILE, WEIGHTS_FILE

FORMAT = "robaudit-assimilated"
# 1: first format.
FORMAT_VERSION = 1


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out`, to be filled and then to `take_place`; removed if it did not.

    Raises:
        OutputError: the place cannot be written, or the disk is full.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    try:
        yield temporary
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); free space or choose another --out") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_model(
    folder: Path, classifier: Classifier, vanilla: ModelInfo, image_channels: int, recipe: Recipe | None = None
) -> Path:
    """Write the weights and config.json; returns the path of the weights.

    Args:
        folder: where to.
        classifier: with its front.
        vanilla: the model before the retrofit.
        image_channels: of the images it takes, 1 or 3.
        recipe: what builds its network again, where the name of the architecture does not.

    Raises:
        OutputError: the disk is full.
    """
    # Clones: safetensors refuses weights that share memory.
    weights = {
        name: weight.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, weight in classifier.state_dict().items()
    }
    try:
        save_file(weights, folder / WEIGHTS_FILE)
        (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors makes it readable to its owner alone
    except SafetensorError as error:
        raise OutputError(f"{folder / WEIGHTS_FILE}: cannot be written ({error}); free space") from None
    own = (recipe or Recipe()).copy_to(folder)
    config = json.dumps(_config(classifier, vanilla, image_channels) | own, indent=2, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(config + "\n", encoding="utf-8")
    return folder / WEIGHTS_FILE


def _config(classifier: Classifier, vanilla: ModelInfo, image_channels: int) -> dict[str, Any]:
    assert classifier.front is not None
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": vanilla.arch,
        "num_classes": vanilla.n_classes,
        "classes": list(vanilla.classes),
        "in_chans": classifier.in_chans,
        "input_size": [image_channels, vanilla.input.height, vanilla.input.width],
        "mean": list(vanilla.normalization.mean),
        "std": list(vanilla.normalization.std),
        "normalization_source": vanilla.normalization.source,
        "front": classifier.front.config(),
        "vanilla": FileRef(path=vanilla.path, sha256=vanilla.sha256).model_dump(),
    }


def take_place(folder: Path, out: Path) -> None:
    """Rename `folder` to `out`, putting an older retrofit, and nothing else, out of the way.

    Raises:
        OutputError: something else is at `out`.
    """
    folder.chmod(0o755)
    if not out.exists():
        folder.replace(out)
        return
    refuse_foreign(out)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as aside:
        old = out.rename(Path(aside) / "old")
        try:
            folder.replace(out)
        except OSError:
            old.rename(out)
            raise


def refuse_foreign(out: Path) -> None:
    """Make sure that what is at `out` may be replaced: nothing, an empty folder, or an earlier retrofit.

    Raises:
        OutputError: it is something else.
    """
    if not out.exists() or (out / TRAINING_FILE).is_file():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise OutputError(f"{out}: exists and is no folder written by robaudit assimilate; choose another --out")
