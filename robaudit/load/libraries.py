"""Networks that a folder's configuration names, built by the library they belong to: Hugging Face's, MONAI's, timm's.

The configuration is data: it chooses among the library's own classes, and no code in the folder runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from typing import Any

import timm
from torch import Tensor, nn

from robaudit.errors import ModelError, first_line
from robaudit.load.architecture import TORCHVISION, is_known
from robaudit.load.architecture_index import learnt
from robaudit.load.kinds import Contents, Kind

_MONAI = "monai.networks.nets"
_MONAI_NETWORKS = frozenset(
    f"{family}{depth}"
    for family, depths in {
        "densenet": ("", 121, 169, 201, 264), "resnet": ("", 10, 18, 34, 50, 101, 152, 200), "senet": ("", 154),
        "seresnet": (50, 101, 152), "seresnext": (50, 101), "efficientnetbn": ("",), "vit": ("",),
        "torchvisionfcmodel": ("",),
    }.items()
    for depth in depths
)  # fmt: skip
"""Classifiers of MONAI, which spells each name in several ways."""
_MANY = re.compile(r"layers|depth|blocks|stages|repeat|block_config")
MAX_LAYERS = 1000
"""A network of more would be hours in the making, however small its weights are."""


_NO_EFFECT = frozenset(
    [
        "num_classes", "in_chans", "drop_rate", "drop_path_rate", "attn_drop_rate", "proj_drop_rate", "pos_drop_rate",
        "patch_drop_rate", "drop_block_rate", "head_drop_rate",
    ]
)  # fmt: skip
"""Arguments of timm's that the shapes of the weights tell, or that matter in training alone."""
_TIMM_OPTIONS = frozenset(
    [
        "img_size", "global_pool", "pool_include_prefix", "act_layer", "norm_layer", "aa_layer", "pad_type", "bn_eps",
        "fc_norm", "final_norm", "class_token", "reg_tokens", "no_embed_class", "pos_embed", "init_values", "qk_norm",
        "qkv_bias", "dynamic_img_size", "strict_img_size", "output_stride", "window_size", "zero_init_last",
    ]
)  # fmt: skip
"""Those that a folder may set beyond these: none of them loads anything, or makes a network without end."""
MAX_OPTION = 4096


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
    # transformers rounds all to the precision of the first
    in_full = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
    with _as_model_error(f"{contents.path}: its weights cannot be put into {name}"):
        network, report = made.from_pretrained(None, config=config, state_dict=in_full, output_loading_info=True)
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
    fetching = sorted(_REFUSED & _keys(config))
    if fetching:
        raise ModelError(
            f"{contents.path}: its config.json sets {', '.join(fetching)}, which loads more than this folder's "
            "weights; pass the weights file and --arch or --factory"
        )
    # A network of timm comes as a timm folder: transformers would pass any argument on to it.
    is_timms = str(config["model_type"]).startswith("timm")
    if made is None or is_timms or config["model_type"] not in transformers.CONFIG_MAPPING:
        raise ModelError(
            f"{contents.path}: transformers has no image classifier {name!r} of type {config['model_type']!r}; "
            "pass the weights file and --arch or --factory"
        )
    _require_few_layers(contents, config)
    # Nothing is downloaded: the weights are the folder's.
    described = {**_without(config, _HOW), "use_pretrained_backbone": False}
    with _as_model_error(f"{contents.path}: {name} cannot be built from its config.json"):
        return name, made, transformers.CONFIG_MAPPING[config["model_type"]].from_dict(described)


_HOW = frozenset(
    {
        "attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation",
        "_experts_implementation", "use_kernels", "dtype", "torch_dtype",
    }
)  # fmt: skip
"""How a network is computed, not what: a name with a slash is code that transformers fetches from the hub and runs, and
half precision would round weights that the folder has in full."""
_REFUSED = frozenset({"quantization_config", "compression_config", "backbone_kwargs"})
"""Other formats of weights, whose libraries run what they find there; and arguments for any network of timm's."""


def _without(config: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    """A configuration and those within it, without some of their entries."""
    return {
        key: _without(value, keys) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if key not in keys
    }


def _keys(config: Mapping[str, Any]) -> set[str]:
    """The entries that a configuration and those within it set."""
    inner = [_keys(value) for value in config.values() if isinstance(value, Mapping)]
    return {key for key, value in config.items() if value}.union(*inner)


@contextmanager
def _as_model_error(what: str) -> Iterator[None]:
    """A library makes what it can of a file's numbers, and fails in any way where it cannot."""
    try:
        yield
    except Exception as error:
        raise ModelError(f"{what} ({first_line(error)}); pass the weights file and --arch or --factory") from None


def is_built_otherwise(contents: Contents) -> bool:
    """Whether a timm folder's network is not the one that the name of its architecture stands for."""
    arguments = contents.metadata.get("model_args")
    return (
        contents.kind is Kind.TIMM_FOLDER
        and isinstance(arguments, Mapping)
        and any(value is not None and name not in _NO_EFFECT for name, value in arguments.items())
    )


def timm_network(contents: Contents) -> tuple[str, nn.Module]:
    """Name and network of a timm folder that sets arguments of its own, such as the kind of pooling; likewise.

    Raises:
        ModelError: timm has no such architecture, or an argument is not one that robaudit passes on.
    """
    config = contents.metadata
    arch, given = str(config["architecture"]), config["model_args"]
    options = {name: value for name, value in given.items() if value is not None and name not in _NO_EFFECT}
    refused = sorted(name for name, value in options.items() if name not in _TIMM_OPTIONS or not _is_small(value))
    if refused:
        raise ModelError(
            f"{contents.path}: its model_args set {', '.join(refused)}, which robaudit does not pass on to timm; "
            "pass the weights file and --factory"
        )
    if not timm.is_model(arch):
        raise ModelError(
            f"{contents.path}: timm knows no architecture {arch!r}; see timm.list_models() and pass --arch, "
            "or --factory for a network of your own"
        )
    own = config.get("pretrained_cfg", {})
    n_classes = config.get("num_classes", given.get("num_classes", own.get("num_classes", 1000)))
    channels = given.get("in_chans") or own.get("input_size", [3])[0]
    with _as_model_error(f"{contents.path}: {arch} cannot be built with its model_args"):
        return arch, timm.create_model(arch, num_classes=n_classes, in_chans=channels, **options)


def _is_small(value: Any) -> bool:
    """Whether an argument is a word, a switch or a number that makes no network of its own size."""
    if isinstance(value, list):
        return len(value) == 2 and all(map(_is_small, value))
    return isinstance(value, str) or (isinstance(value, int | float) and abs(value) <= MAX_OPTION)


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
    target = str(definition.pop("_target_", ""))
    module, _, name = target.rpartition(".")
    is_monais = not module or module == _MONAI or module.startswith(f"{_MONAI}.")
    made: Any = getattr(nets, name, None) if is_monais and name.lower() in _MONAI_NETWORKS else None
    of_torchvision = definition.get("model_name", "resnet18") if name.lower() == "torchvisionfcmodel" else None
    if not callable(made) or not (of_torchvision is None or is_known(f"{TORCHVISION}{of_torchvision}")):
        raise ModelError(
            f"{contents.path}: its network {target or 'without a name'} is no classifier of MONAI that robaudit "
            "builds; pass the weights file and --factory"
        )
    options = {key: value for key, value in definition.items() if not key.startswith("_")}
    if not all(_is_data(value) for value in options.values()):
        raise ModelError(
            f"{contents.path}: its network_def holds expressions, which are not evaluated; "
            "pass the weights file and --factory"
        )
    _require_few_layers(contents, options)
    # Nothing is downloaded, also by those that do it unless they are told not to.
    options = {key: value for key, value in options.items() if key not in ("pretrained", "weights", "progress")}
    options |= {"pretrained": False} if "pretrained" in signature(made).parameters else {}
    with _as_model_error(f"{contents.path}: {name} cannot be built from its network_def"):
        return name, made(**options)


def _require_few_layers(contents: Contents, config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if isinstance(value, Mapping):
            _require_few_layers(contents, value)
        elif _MANY.search(key) and any(number > MAX_LAYERS for number in _numbers(value)):
            raise ModelError(
                f"{contents.path}: its configuration asks for more than {MAX_LAYERS} layers ({key}); "
                "fetch or save it again"
            )


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


def _is_data(value: Any) -> bool:
    """Whether a value of a configuration is no expression (`$...`) and no reference (`@...`)."""
    if isinstance(value, list):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(map(_is_data, value.values())) and "_target_" not in value
    return not (isinstance(value, str) and value.startswith(("$", "@", "%")))
