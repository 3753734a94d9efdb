"""Writing a retrofitted model as a folder: all or nothing. `robaudit.load` reads it.

model.safetensors   every weight, keys `front.*` and `backbone.*`
config.json         what is needed to build the network around them
program/            of a model that is a program (ONNX, TorchScript, ...), the file it came as
training.json       how it came about (`TrainingRecord`)
metrics.jsonl       one line per epoch, from epoch 0, the model before the first step
learnt-from.json    hashes of the patients and pictures it has seen (`robaudit.data.learnt`)
diagnostics.json    where the model looks and how sharp its loss is, before and after; pictures/ beside it
split.csv           where the data came undivided: which image was in which part

A network fine-tuned without T and C is written as a timm folder: keys as timm has them, no `front` in config.json.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from robaudit.data.learnt import LEARNT_FILE
from robaudit.errors import OutputError, TrainingError
from robaudit.files import LOCK_FILE, alone_in, replacing, workplace_of, write_text
from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.load.recipe import PROGRAM_FOLDER, Recipe
from robaudit.records import (
    DIAGNOSTICS_FILE,
    IDENTITY_FILE,
    METRICS_FILE,
    SPLIT_FILE,
    TRAINING_FILE,
    FileRef,
    ModelInfo,
)
from robaudit.retrofit_records import (
    CONFIG_FILE,
    PICTURES_FOLDER,
    WEIGHTS_FILE,
)

FORMAT = "robaudit-assimilated"
# 1: first format.
# 2: `backbone` names the network's architecture; `architecture` is what timm creates for the whole.
FORMAT_VERSION = 2
TIMM_NAME = "robaudit_assimilated"
"""The architecture under which timm finds the whole, T and C included, once `robaudit.timm` is imported."""

STATE_FILE = "state.pt"

_WRITTEN = frozenset(
    {
        *(WEIGHTS_FILE, CONFIG_FILE, TRAINING_FILE, METRICS_FILE, DIAGNOSTICS_FILE, SPLIT_FILE, LEARNT_FILE),
        *(PICTURES_FOLDER, PROGRAM_FOLDER, STATE_FILE, IDENTITY_FILE, LOCK_FILE),
    }
)
"""All that a retrofit's folder ever holds."""


@contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Yield the hidden folder beside `out` that a training fills and then lets `take_place`.

    It outlives an interruption once a state was saved in it; otherwise it is removed, as after a training that failed.

    Raises:
        OutputError: the place cannot be written, the disk is full, or another training is using it.
    """
    folder = workplace_of(out)
    with alone_in(folder, PICTURES_FOLDER, PROGRAM_FOLDER):
        own = folder.stat()
        try:
            for leftover in folder.glob(".tmp*"):  # of safetensors' own writing, when it was killed
                leftover.unlink()
            yield folder
        except TrainingError:
            (folder / STATE_FILE).unlink(missing_ok=True)  # what came to nothing is nothing to go on from
            raise
        except OSError as error:
            raise OutputError(
                f"{out}: cannot be written ({error.strerror}); free space or choose another --out"
            ) from None
        finally:
            with suppress(OSError):  # it has moved, and may be another training's by now
                if os.path.samestat(folder.stat(), own) and not (folder / STATE_FILE).exists():
                    shutil.rmtree(folder, ignore_errors=True)


def identify(folder: Path, identity: Mapping[str, Any], place: Mapping[str, Any], *, restart: bool) -> None:
    """Make sure that an unfinished training in `folder` is the one that is wanted, or clear it away.

    Where it began, `place`, is kept and may be another: whoever has waited for days on one machine goes on on the next.

    Raises:
        OutputError: it belongs to another model, other images or settings.
    """
    if restart or not (folder / STATE_FILE).exists():
        for name in (STATE_FILE, METRICS_FILE):
            (folder / name).unlink(missing_ok=True)
        write_text(folder / IDENTITY_FILE, json.dumps({**identity, "place": place}, sort_keys=True, indent=2))
        return
    if different := _different(folder, identity):
        raise OutputError(
            f"{folder}: an unfinished training with other {' and '.join(different)}; use --restart to discard it, "
            "or another --out"
        )


def elsewhere(folder: Path, place: Mapping[str, Any]) -> str:
    """What was otherwise where the training in `folder` began, in words; empty where nothing was."""
    began = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8")).get("place", place)
    return ", ".join(f"{key} {began.get(key)}, here {now}" for key, now in place.items() if began.get(key) != now)


def goes_on(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether an unfinished training in `folder` is the one that is wanted."""
    return (folder / STATE_FILE).exists() and not _different(folder, identity)


def _different(folder: Path, identity: Mapping[str, Any]) -> list[str]:
    """Names of what the unfinished training in `folder` has otherwise."""
    try:
        found = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    return [name for name, value in json.loads(json.dumps(identity)).items() if found.get(name) != value]


def write_model(
    folder: Path,
    classifier: Classifier,
    vanilla: ModelInfo,
    image_channels: int,
    recipe: Recipe | None = None,
    shown: Sequence[str] = (),
) -> Path:
    """Write the weights and config.json; returns the path of the weights.

    Args:
        folder: where to.
        classifier: with its front, or without one.
        vanilla: the model before the retrofit.
        image_channels: of the images it takes, 1 or 3.
        recipe: what builds its network again, where the name of the architecture does not.
        shown: options that say how images were shown in training.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    whole = classifier if classifier.front is not None else classifier.backbone
    # Clones: safetensors refuses weights that share memory.
    weights = {
        name: weight.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, weight in whole.state_dict().items()
    }
    try:
        with replacing(folder / WEIGHTS_FILE) as temporary:
            save_file(weights, temporary)
    except SafetensorError as error:
        raise OutputError(f"{folder / WEIGHTS_FILE}: cannot be written ({error}); free space") from None
    recipe = recipe or Recipe()
    if classifier.front is None:
        config = _timm_config(classifier, vanilla, recipe)
    else:
        config = _config(classifier, classifier.front, vanilla, image_channels) | recipe.copy_to(folder)
    config["shown"] = list(shown)
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


def _timm_config(classifier: Classifier, vanilla: ModelInfo, recipe: Recipe) -> dict[str, Any]:
    arguments = recipe.timm_arguments or _size_beside_name(classifier.backbone, vanilla.arch)
    return {
        "architecture": vanilla.arch,
        "num_classes": 1 if classifier.outputs.is_one else vanilla.n_classes,  # as many outputs as timm is to make
        "label_names": list(vanilla.classes),
        "pretrained_cfg": {
            "input_size": [classifier.in_chans, vanilla.input.height, vanilla.input.width],
            "mean": list(vanilla.normalization.mean),
            "std": list(vanilla.normalization.std),
        },
        "normalization_source": vanilla.normalization.source,
        **({"model_args": arguments} if arguments else {}),
        **({"head": recipe.config["head"]} if "head" in recipe.config else {}),
    }


def _size_beside_name(network: nn.Module, arch: str) -> dict[str, Any]:
    """What timm must be told to build a network for the same size of pictures, where its name means another."""
    side = _square_side(network)
    if side is None or not timm.is_model(arch):
        return {}
    with torch.device("meta"):
        return {} if _square_side(timm.create_model(arch)) == side else {"img_size": side}


def _square_side(network: nn.Module) -> int | None:
    """Of the pictures that positions among the weights are for; None where there are none, or they are not square."""
    size = getattr(getattr(network, "patch_embed", None), "img_size", None)
    return int(size[0]) if isinstance(size, tuple) and len(set(size)) == 1 else None


def take_place(folder: Path, out: Path) -> None:
    """Rename `folder` to `out`, putting an older retrofit, and nothing else, out of the way.

    What only an unfinished training needs goes along and is removed last: killed at any moment, nothing is lost.

    Raises:
        OutputError: something else is at `out`.
    """
    older = out.parent / f".{out.name}.replaced"
    if out.exists():
        refuse_foreign(out)
        _remove(older)
        out.rename(older)
    try:
        folder.replace(out)
    except OSError:
        if older.exists():
            older.rename(out)
        raise
    tidy(out)


def tidy(out: Path) -> None:
    """Remove what a finished retrofit has no use for."""
    _remove(out.parent / f".{out.name}.replaced")
    for name in (STATE_FILE, IDENTITY_FILE, LOCK_FILE):
        with suppress(OSError):
            (out / name).unlink(missing_ok=True)


def _remove(older: Path) -> None:
    with suppress(OSError):
        older.unlink()  # a link, and not what it leads to
    shutil.rmtree(older, ignore_errors=True)


def require_movable(out: Path) -> None:
    """Refuse, before any training, a folder whose place another cannot take.

    Raises:
        OutputError: it is a mount point, as a volume of a container is, the current folder or one above that, or a
            link in a circle.
    """
    here = Path.cwd()
    if os.path.ismount(out):
        why = "is a mount point"
    elif Path(os.path.realpath(out)) in (here, *here.parents):
        why = "is the current folder, or holds it"
    elif out.is_symlink():
        raise OutputError(f"{out}: is a link that leads in a circle; remove it, or choose another --out")
    else:
        return
    raise OutputError(f"{out}: {why}, and no finished folder can take its place; pass one in it as --out")


def refuse_foreign(out: Path, *, replaced: bool = True) -> None:
    """Make sure that what is at `out` may stay in use: nothing, an empty folder, or an earlier retrofit.

    Args:
        out: where a retrofit is wanted.
        replaced: it is about to be removed, so it must hold nothing else either.

    Raises:
        OutputError: it is, or holds, something else.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not _is_retrofit(out):
        raise OutputError(f"{out}: exists and is no folder written by robaudit assimilate; choose another --out")
    if replaced and (others := sorted(path.name for path in out.iterdir() if path.name not in _WRITTEN)):
        raise OutputError(
            f"{out}: holds {others[0]}, which robaudit assimilate did not write; move it away, or choose another --out"
        )


def _is_retrofit(out: Path) -> bool:
    """Whether training.json says so, damaged or not: other programs write a file of that name too."""
    try:
        return b'"robaudit_version"' in (out / TRAINING_FILE).read_bytes()
    except OSError:
        return False
