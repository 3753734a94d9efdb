"""A model folder: which kind it is, what its configuration says, and which of its files holds the weights.

Every configuration comes out in timm's words: `architecture`, `label_names`, `mean`, `std`, `input_size`.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from robaudit.errors import ModelError
from robaudit.load.kinds import Kind, names
from robaudit.load.preprocessor import normalization
from robaudit.load.stated_resizing import hugging_face_resizing
from robaudit.load.unchanged import Stamp, stamped

CONFIG_FILE = "config.json"
BUNDLE_FILE = "configs/metadata.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"
"""Where transformers since 5 keeps the same, among what a model has of processors."""
ASSIMILATED_FORMAT = "robaudit-assimilated"
MAX_CONFIG_BYTES = 2**20

Config = dict[str, Any]


class ConfigFile(NamedTuple):
    """A file of JSON, read once: hash and words are of the same bytes."""

    path: Path
    stamp: Stamp
    """As it was before it was read."""
    sha256: str
    said: Config


class Folder(NamedTuple):
    """What a folder says of itself."""

    kind: Kind
    config_files: tuple[ConfigFile, ...]
    """What says which network it is and what goes into it, config.json or metadata.json first."""
    config: Config
    weights: Path


def read_folder(path: Path) -> Folder:
    """Say what a model folder is.

    Raises:
        ModelError: it has no configuration, none that robaudit knows, or no weights.
    """
    if (path / BUNDLE_FILE).is_file() and not (path / CONFIG_FILE).is_file():
        metadata, (defined_in, network) = _read_json(path / BUNDLE_FILE), _network_definition(path)
        said = _bundle(metadata.said, network)
        return Folder(Kind.MONAI_BUNDLE, (metadata, *defined_in), said, _bundle_weights(path))
    if (path / "saved_model.pb").is_file():
        raise ModelError(f"{path}: is a TensorFlow SavedModel; export it to ONNX, channels first, and pass that")
    if not (path / CONFIG_FILE).is_file():
        raise ModelError(
            f"{path}: is a folder without {CONFIG_FILE}; pass the model file in it; images are DATA, after MODEL"
        )
    config = _read_json(path / CONFIG_FILE)
    kind, said, beside = _recognised(path, config.said)
    return Folder(kind, (config, *beside), said, _weights_file(path))


def _recognised(path: Path, config: Config) -> tuple[Kind, Config, tuple[ConfigFile, ...]]:
    """What kind of folder it is, what it says, and where it says that beside config.json."""
    if config.get("format") == ASSIMILATED_FORMAT:
        return Kind.ASSIMILATED, config, ()
    if isinstance(config.get("architecture"), str):
        return Kind.TIMM_FOLDER, _timm(config), ()
    if isinstance(config.get("architectures"), list) and isinstance(config.get("model_type"), str):
        beside, preprocessor = _preprocessor(path)
        return Kind.HUGGING_FACE_FOLDER, _hugging_face(beside, config, preprocessor), beside
    raise ModelError(
        f"{path}: its {CONFIG_FILE} names no timm or Hugging Face architecture and is not a folder that assimilate "
        "wrote; pass the weights file and --arch"
    )


def _read_json(file: Path) -> ConfigFile:
    stamp = stamped([file])[file]
    with file.open("rb") as opened:
        content = opened.read(MAX_CONFIG_BYTES + 1)
    said = json_object(file, content, "pass the weights file and --arch")
    return ConfigFile(file, stamp, hashlib.sha256(content).hexdigest(), said)


def json_object(file: Path, content: bytes, remedy: str) -> Config:
    """The JSON object that a file holds.

    Raises:
        ModelError: it holds none, or more than `MAX_CONFIG_BYTES`.
    """
    if len(content) > MAX_CONFIG_BYTES:
        raise ModelError(f"{file}: has more than {MAX_CONFIG_BYTES} bytes; {remedy}")
    try:
        config = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: is not valid JSON ({error}); {remedy}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{file}: is not a JSON object; {remedy}")
    return config


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _weights_file(path: Path) -> Path:
    """Return the weights of a folder, in the order in which timm looks for them."""
    for name in ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth", "model.pt"):
        if (path / name).is_file():
            return path / name
    for suffix in (".safetensors", ".pth", ".pt", ".bin"):
        found = sorted(file for file in path.glob(f"*{suffix}") if file.is_file())
        if len(found) > 1 and all(re.search(r"-\d+-of-\d+\.", file.name) for file in found):
            raise ModelError(
                f"{path}: has its weights in {len(found)} parts ({names(found)}); join them into one "
                f"model.safetensors: load the model with its library and save it with max_shard_size='1000GB'"
            )
        if len(found) > 1:
            raise ModelError(f"{path}: holds several weights files ({names(found)}); pass one of them and --arch")
        if found:
            return found[0]
    raise ModelError(f"{path}: holds {CONFIG_FILE} and no weights; put model.safetensors beside it")


# timm


def _timm(config: Config) -> Config:
    """Classes as a list, and the size of the pictures that the network was built for."""
    found = dict(config)
    own = config.get("pretrained_cfg", config)
    if not isinstance(own, Mapping):
        return found
    labels = config.get("label_names") or own.get("label_names") or own.get("labels")
    if labels is not None:
        found["label_names"] = _by_number(labels)
    side = arguments.get("img_size") if isinstance(arguments := config.get("model_args"), Mapping) else None
    if side is not None:
        channels = own["input_size"][:1] if isinstance(own.get("input_size"), list) else [3]
        size = [*channels, *(side if isinstance(side, list) else (side, side))]
        found |= {"pretrained_cfg": {**own, "input_size": size}} if "pretrained_cfg" in config else {"input_size": size}
    return found


def _by_number(labels: Any) -> Any:
    """Names in the order of the numbers that a dictionary gives them; anything else as it is."""
    if not isinstance(labels, dict):
        return labels
    numbered = {int(key): str(name) for key, name in labels.items() if key.isdecimal()}
    return [numbered[index] for index in range(len(labels))] if numbered.keys() == set(range(len(labels))) else None


# Hugging Face


def _hugging_face(beside: Sequence[ConfigFile], config: Config, preprocessor: Config) -> Config:
    """Classes from `id2label`, normalisation and size from the preprocessor's file beside it."""
    found = dict(config)
    labels = config.get("id2label")
    if isinstance(labels, dict) and all(isinstance(key, str) and key.isdecimal() for key in labels):
        found["label_names"] = [str(labels[key]) for key in sorted(labels, key=int)]
    try:
        found |= normalization(preprocessor, _channels(config))
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{beside[0].path}: cannot be used ({error}); correct it, or pass the weights file and --arch"
        ) from None
    found["bgr"] = bool(preprocessor.get("do_flip_channel_order"))
    resizing = hugging_face_resizing(preprocessor)
    found["resizing"] = None if resizing is None else asdict(resizing)
    size = _hugging_face_size(preprocessor) or config.get("image_size")
    if size:
        found["input_size"] = [_channels(config), *(size if isinstance(size, list | tuple) else (size, size))]
    return found


def _preprocessor(path: Path) -> tuple[tuple[ConfigFile, ...], Config]:
    """The file that says what is done to an image, if any, and what it says: of two, the one transformers prefers."""
    if (path / PROCESSOR_FILE).is_file():
        newer = _read_json(path / PROCESSOR_FILE)
        if isinstance(nested := newer.said.get("image_processor"), dict):
            return (newer,), nested
    if (path / PREPROCESSOR_FILE).is_file():
        older = _read_json(path / PREPROCESSOR_FILE)
        return (older,), older.said
    return (), {}


def _channels(config: Mapping[str, Any]) -> int:
    channels = config.get("num_channels", 3)
    return channels if isinstance(channels, int) and 0 < channels < 1000 else 3


def _hugging_face_size(preprocessor: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) of what reaches the network: the crop where there is one."""
    size = preprocessor.get("crop_size") if preprocessor.get("do_center_crop") else preprocessor.get("size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and {"height", "width"} <= size.keys():
        return size["height"], size["width"]
    if isinstance(size, dict) and "shortest_edge" in size:
        return size["shortest_edge"], size["shortest_edge"]
    return None


# MONAI


def _bundle(metadata: Config, network: Config) -> Config:
    """Channels, size and value range of the network's image input, and the names of its outputs."""
    data = metadata.get("network_data_format")
    image = _first(data, "inputs", "image")
    answer = _first(data, "outputs", "pred")
    found: Config = {"metadata": metadata, "network": network}
    channels = image.get("num_channels")
    shape = image.get("spatial_shape")
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(side, int) and side > 0 for side in shape):
        found["input_size"] = [channels, *shape]
    limits = _value_range(image)
    if isinstance(channels, int) and 0 < channels < 1000 and limits is not None:
        low, high = limits
        found |= {"mean": [-low / (high - low)] * channels, "std": [1 / (high - low)] * channels}
        found["normalization_source"] = f"value_range {low} to {high}"
    labels = answer.get("channel_def")
    if isinstance(labels, dict) and all(isinstance(key, str) and key.isdecimal() for key in labels):
        found["label_names"] = [str(labels[key]) for key in sorted(labels, key=int)]
    return found


def _first(data: Any, group: str, preferred: str) -> Config:
    entries = data.get(group) if isinstance(data, dict) else None
    if not isinstance(entries, dict) or not entries:
        return {}
    entry = entries.get(preferred, next(iter(entries.values())))
    return entry if isinstance(entry, dict) else {}


def _value_range(image: Config) -> tuple[float, float] | None:
    limits = image.get("value_range")
    if not isinstance(limits, list) or len(limits) != 2 or not all(isinstance(n, int | float) for n in limits):
        return None
    return (limits[0], limits[1]) if limits[0] < limits[1] else None


def _network_definition(path: Path) -> tuple[tuple[ConfigFile, ...], Config]:
    """The `network_def` of the bundle's configurations, where it is plain data, and the file that holds it."""
    for name in ("inference", "train", "evaluate"):
        file = path / "configs" / f"{name}.json"
        if file.is_file():
            config = _read_json(file)
            definition = config.said.get("network_def", config.said.get("network"))
            if isinstance(definition, dict):
                return (config,), {key: config.said.get(str(value)[1:], value) if _refers(value) else value
                                   for key, value in definition.items()}  # fmt: skip
    return (), {}


def _refers(value: Any) -> bool:
    """Whether a value stands for another entry, `@name`."""
    return isinstance(value, str) and value.startswith("@")


def _bundle_weights(path: Path) -> Path:
    for name in ("model.safetensors", "model.pt", "model.ts"):
        if (path / "models" / name).is_file():
            return path / "models" / name
    raise ModelError(f"{path}: is a MONAI bundle without models/model.pt or models/model.ts; fetch it again")
