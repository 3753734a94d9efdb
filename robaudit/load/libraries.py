"""Networks that a folder's configuration names, built by the library they belong to: Hugging Face's, MONAI's.

The configuration is data: it chooses among the library's own classes, and no code in the folder runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from robaudit.errors import ModelError, first_line
from robaudit.load.architecture_index import learnt
from robaudit.load.kinds import Contents

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


_REPORTED = {"missing": "missing_keys", "unexpected": "unexpected_keys", "of another shape": "mismatched_keys"}
"""What transformers says of weights that do not fit."""


def hugging_face_network(contents: Contents) -> tuple[str, nn.Module]:
    """Name and network of a Hugging Face folder, its weights not yet the folder's.

    Raises:
        ModelError: transformers is not installed, has no such classifier, or refuses the configuration.
    """
    name, made, config = _hugging_face_class(contents)
    with _as_model_error(f"{contents.path}: {name} cannot be built from its config.json"):
        return name, made(config)


def hugging_face_filled(contents: Contents, weights: Mapping[str, Tensor]) -> nn.Module:
    """The same network with the folder's weights, whose names transformers itself brings up to date.

    Raises:
        ModelError: likewise, or the weights do not fit.
    """
    name, made, config = _hugging_face_class(contents)
    with _as_model_error(f"{contents.path}: its weights cannot be put into {name}"):
        network, report = made.from_pretrained(
            None, config=config, state_dict=dict(weights), output_loading_info=True
        )  # fmt: skip
    problems = [
        f"{len(keys)} {word}, such as {keys[0]}"
        for word, key in (
            ("missing", "missing_keys"),
            ("unexpected", "unexpected_keys"),
            ("misshapen", "mismatched_keys"),
        )
        if (keys := sorted(learnt({str(found): None for found in report[key]})))
    ]
    if problems:
        raise ModelError(f"{contents.path}: does not fit {name} ({'; '.join(problems)}); fetch or save it again")
    filled: nn.Module = network.float()
    return filled


def _hugging_face_class(contents: Contents) -> tuple[str, Any, Any]:
    """Name, class and configuration of a network of transformers."""
    try:
        import transformers
    except ImportError:
        raise ModelError(
            f"{contents.path}: is a Hugging Face folder; pip install 'robaudit[huggingface]' to read it"
        ) from None
    transformers.logging.disable_progress_bar()  # robaudit has its own
    config = contents.metadata
    name = str((config["architectures"] or [""])[0])
    made = getattr(transformers, name, None) if "ForImageClassification" in name else None
    if made is None or config["model_type"] not in transformers.CONFIG_MAPPING:
        raise ModelError(
            f"{contents.path}: transformers has no image classifier {name!r} of type {config['model_type']!r}; "
            "pass the weights file and --arch or --factory"
        )
    # Nothing is downloaded: the weights are the folder's.
    described = {**config, "use_pretrained_backbone": False}
    with _as_model_error(f"{contents.path}: {name} cannot be built from its config.json"):
        return name, made, transformers.CONFIG_MAPPING[config["model_type"]].from_dict(described)


@contextmanager
def _as_model_error(what: str) -> Iterator[None]:
    """A library makes what it can of a file's numbers, and fails in any way where it cannot."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{what} ({first_line(error)}); pass the weights file and --arch or --factory") from None


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
    with _as_model_error(f"{contents.path}: {name} cannot be built from its network_def"):
        return name, made(**{key: value for key, value in definition.items() if not key.startswith("_")})


def _is_data(value: Any) -> bool:
    """Whether a value of a configuration is no expression (`$...`) and no reference (`@...`)."""
    if isinstance(value, list):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(map(_is_data, value.values())) and "_target_" not in value
    return not (isinstance(value, str) and value.startswith(("$", "@", "%")))
