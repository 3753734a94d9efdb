"""The folder of a retrofitted model, its weights and config.json written; `robaudit.load` reads it.

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from robaudit.errors import OutputError
from robaudit.files import replacing, write_text
from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.load.recipe import Recipe
from robaudit.records import FileRef, ModelInfo
from robaudit.retrofit_records import CONFIG_FILE, WEIGHTS_FILE

FORMAT = "robaudit-assimilated"
# 1: first format.
# 2: `backbone` names the network's architecture; `architecture` is what timm creates for the whole.
FORMAT_VERSION = 2
TIMM_NAME = "robaudit_assimilated"
"""The architecture under which timm finds the whole, T and C included, once `robaudit.timm` is imported."""


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
