"""Writing a retrofitted model as a folder: all or nothing. `robaudit.load` reads it.

model.safetensors   every weight, keys `front.*` and `backbone.*`
config.json         what is needed to build the network around them
program/            of a model that is a program (ONNX, TorchScript, ...), the file it came as
training.json       how it came about (`TrainingRecord`)
metrics.jsonl       one line per epoch, from epoch 0, the model before the first step
learnt-from.json    hashes of the patients and pictures it has seen (`robaudit.load.learnt`)
diagnostics.json    where the model looks and how sharp its loss is, before and after; pictures/ beside it
split.csv           where the data came undivided: which image was in which part

A network fine-tuned without T and C is written as a timm folder: keys as timm has them, no `front` in config.json.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from robaudit.errors import OutputError
from robaudit.files import write_text
from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.load.recipe import Recipe
from robaudit.records import FileRef, ModelInfo
from robaudit.retrofit.record import CONFIG_FILE, METRICS_FILE, TRAINING_FILE, WEIGHTS_FILE

FORMAT = "robaudit-assimilated"
# 1: first format.
# 2: `backbone` names the network's architecture; `architecture` is what timm creates for the whole.
FORMAT_VERSION = 2
TIMM_NAME = "robaudit_assimilated"
"""The architecture under which timm finds the whole, T and C included, once `robaudit.timm` is imported."""

STATE_FILE = "state.pt"
IDENTITY_FILE = "identity.json"
_LOCK_FILE = ".lock"


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Yield the hidden folder beside `out` that a training fills and then lets `take_place`.

    It outlives an interruption once a state was saved in it; otherwise it is removed.

    Raises:
        OutputError: the place cannot be written, the disk is full, or another training is using it.
    """
    folder = out.parent / f".{out.name}.unfinished"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK_FILE).open("a")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    with lock:
        _lock(lock, out)
        try:
            yield folder
        except OSError as error:
            raise OutputError(
                f"{out}: cannot be written ({error.strerror}); free space or choose another --out"
            ) from None
        finally:
            if not (folder / STATE_FILE).exists():
                shutil.rmtree(folder, ignore_errors=True)


def identify(folder: Path, identity: Mapping[str, Any], *, restart: bool) -> None:
    """Make sure that an unfinished training in `folder` is the one that is wanted, or clear it away.

    Raises:
        OutputError: it belongs to another model, other images or settings.
    """
    path = folder / IDENTITY_FILE
    wanted = json.dumps(identity, sort_keys=True, indent=2)
    if restart or not (folder / STATE_FILE).exists():
        for name in (STATE_FILE, METRICS_FILE):
            (folder / name).unlink(missing_ok=True)
        write_text(path, wanted)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    if different := [name for name, value in json.loads(wanted).items() if found.get(name) != value]:
        raise OutputError(
            f"{folder}: an unfinished training with other {' and '.join(different)}; use --restart to discard it, "
            "or another --out"
        )


def forget(folder: Path) -> None:
    """Remove what only an unfinished training needs."""
    for name in (STATE_FILE, IDENTITY_FILE, _LOCK_FILE):
        (folder / name).unlink(missing_ok=True)


def _lock(file: TextIO, out: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{out}: another training is writing there; wait for it or choose another --out") from None


def write_model(
    folder: Path, classifier: Classifier, vanilla: ModelInfo, image_channels: int, recipe: Recipe | None = None
) -> Path:
    """Write the weights and config.json; returns the path of the weights.

    Args:
        folder: where to.
        classifier: with its front, or without one.
        vanilla: the model before the retrofit.
        image_channels: of the images it takes, 1 or 3.
        recipe: what builds its network again, where the name of the architecture does not.

    Raises:
        OutputError: the disk is full.
    """
    whole = classifier if classifier.front is not None else classifier.backbone
    # Clones: safetensors refuses weights that share memory.
    weights = {
        name: weight.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, weight in whole.state_dict().items()
    }
    try:
        save_file(weights, folder / WEIGHTS_FILE)
        (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors makes it readable to its owner alone
    except SafetensorError as error:
        raise OutputError(f"{folder / WEIGHTS_FILE}: cannot be written ({error}); free space") from None
    if classifier.front is None:
        config = _timm_config(classifier, vanilla)
    else:
        config = _config(classifier, classifier.front, vanilla, image_channels)
    config |= (recipe or Recipe()).copy_to(folder)
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return folder / WEIGHTS_FILE


def _config(classifier: Classifier, front: Front, vanilla: ModelInfo, image_channels: int) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": TIMM_NAME,
        "backbone": vanilla.arch,
        "num_classes": vanilla.n_classes,
        "classes": list(vanilla.classes),
        "in_chans": classifier.in_chans,
        "input_size": [image_channels, vanilla.input.height, vanilla.input.width],
        "mean": list(vanilla.normalization.mean),
        "std": list(vanilla.normalization.std),
        "normalization_source": vanilla.normalization.source,
        "front": front.config(),
        "vanilla": FileRef(path=vanilla.path, sha256=vanilla.sha256).model_dump(),
    }


def _timm_config(classifier: Classifier, vanilla: ModelInfo) -> dict[str, Any]:
    return {
        "architecture": vanilla.arch,
        "num_classes": vanilla.n_classes,
        "label_names": list(vanilla.classes),
        "pretrained_cfg": {
            "input_size": [classifier.in_chans, vanilla.input.height, vanilla.input.width],
            "mean": list(vanilla.normalization.mean),
            "std": list(vanilla.normalization.std),
        },
        "normalization_source": vanilla.normalization.source,
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
