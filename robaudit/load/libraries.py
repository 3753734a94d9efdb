"""Networks that a folder's configuration names, built by the library they belong to: Hugging Face's, MONAI's.

The configuration is data: it chooses among the library's own classes, and no code in the folder runs.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from robaudit.errors import ModelError
from robaudit.load.kinds import Contents
from robaudit.load.weights import first_line

MONAI_NETWORKS = frozenset(
    [
        "DenseNet",
        "DenseNet121",
        "DenseNet169",
        "DenseNet201",
        "DenseNet264",
        "EfficientNetBN",
        "ResNet",
        "ResNet10",
        "ResNet18",
        "ResNet34",
        "ResNet50",
        "SENet154",
        "SEResNet50",
        "SEResNet101",
        "SEResNet152",
        "SEResNext50",
        "SEResNext101",
        "HighResNet",
        "ViT",
        "TorchVisionFCModel",
    ]
)
"""Classifiers of `monai.networks.nets`."""


def hugging_face_network(contents: Contents) -> tuple[str, nn.Module]:
    """Name and network of a Hugging Face folder, its weights not yet the folder's.

    Raises:
        ModelError: transformers is not installed, has no such classifier, or refuses the configuration.
    """
    try:
        import transformers
    except ImportError:
        raise ModelError(
            f"{contents.path}: is a Hugging Face folder; pip install 'robaudit[huggingface]' to read it"
        ) from None
    config = contents.metadata
    name = str((config["architectures"] or [""])[0])
    made = getattr(transformers, name, None) if "ForImageClassification" in name else None
    if made is None or config["model_type"] not in transformers.CONFIG_MAPPING:
        raise ModelError(
            f"{contents.path}: transformers has no image classifier {name!r} of type {config['model_type']!r}; "
            "pass the weights file and --arch or --factory"
        )
    try:
        # Nothing is downloaded: the weights are the folder's.
        described = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(
            {**config, "use_pretrained_backbone": False}
        )
        return name, made(described)
    except Exception as error:
        # A library makes what it can of a file's numbers, and fails in any way where it cannot.
        raise ModelError(
            f"{contents.path}: {name} cannot be built from its config.json ({first_line(error)})"
        ) from None


def monai_network(contents: Contents) -> tuple[str, nn.Module]:
    """Name and network of a MONAI bundle, likewise.

    Raises:
        ModelError: MONAI is not installed, the bundle's network is none of its classifiers, or not plain data.
    """
    try:
        from monai.networks import nets
    except ImportError:
        raise ModelError(f"{contents.path}: is a MONAI bundle; pip install 'robaudit[monai]' to read it") from None
    definition = dict(contents.metadata["network"])
    name = str(definition.pop("_target_", "")).rpartition(".")[2]
    made: Any = getattr(nets, name, None) if name in MONAI_NETWORKS else None
    if made is None:
        raise ModelError(
            f"{contents.path}: its network {name or 'without a name'} is no classifier of MONAI that robaudit builds; "
            "pass the weights file and --factory"
        )
    definition |= {"pretrained": False} if "pretrained" in definition else {}  # nothing is downloaded
    if not all(_is_data(value) for value in definition.values()):
        raise ModelError(
            f"{contents.path}: its network_def holds expressions, which are not evaluated; "
            "pass the weights file and --factory"
        )
    try:
        return name, made(**{key: value for key, value in definition.items() if not key.startswith("_")})
    except Exception as error:
        raise ModelError(
            f"{contents.path}: {name} cannot be built from its network_def ({first_line(error)})"
        ) from None


def _is_data(value: Any) -> bool:
    """Whether a value of a configuration is no expression (`$...`) and no reference (`@...`)."""
    if isinstance(value, list):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(map(_is_data, value.values())) and "_target_" not in value
    return not (isinstance(value, str) and value.startswith(("$", "@", "%")))
