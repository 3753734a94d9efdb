"""A model file or folder -> a classifier ready to be attacked. No code from the file runs."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.front.front import Front
from robaudit.load import architecture
from robaudit.load.classifier import Classifier, LoadedModel
from robaudit.load.contents import CONFIG_FILE, Contents, Kind, State, read_contents, state_tensors
from robaudit.load.safetensors_header import looks_like_safetensors
from robaudit.records import FileRef, FrontInfo, InputSize, ModelInfo, Normalization

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEFAULT_SIZE = (224, 224)

_REFUSED: Mapping[Kind, str] = {
    Kind.PICKLED_MODULE: "a pickled module, which runs code from the file when loaded",
    Kind.PICKLE: "a pickle that torch.save did not write",
    Kind.TORCHSCRIPT: "a TorchScript program",
    Kind.EXPORTED_PROGRAM: "a torch.export program",
    Kind.ONNX: "an ONNX graph",
}


def load_model(
    path: Path,
    *,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    folder_classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: tuple[int, int] | None = None,
    device: str = "cpu",
) -> LoadedModel:
    """Load a classifier in eval mode, its normalisation inside.

    Args:
        path: state dict or checkpoint (.pt, .pth, .safetensors, ...), timm folder, or folder written by assimilate.
        arch: timm architecture; None infers it from keys and shapes, or reads it from the folder.
        classes: class names in the order of the outputs; None takes the folder's own, then `folder_classes`.
        folder_classes: class names of the data, sorted; the last resort.
        mean: per channel, in [0, 1] units; None takes the folder's own, then ImageNet's.
        std: likewise.
        input_size: (height, width); None takes the folder's own, then 224x224.
        device: torch device.

    Raises:
        ModelError: missing, damaged, needs code to load, does not fit the architecture, or has other classes.
    """
    contents = read_contents(path)
    if contents.kind in _REFUSED:
        wanted = "save model.state_dict() with torch.save or safetensors and pass that"
        if contents.foreign_globals:
            wanted = f"it would import {', '.join(contents.foreign_globals[:3])}; {wanted}"
        raise ModelError(f"{path}: is {_REFUSED[contents.kind]}; {wanted}")
    config = contents.metadata if contents.kind in (Kind.ASSIMILATED, Kind.TIMM_FOLDER) else {}
    weights = _read_weights(contents)
    front = _build_front(path, config, weights) if contents.kind is Kind.ASSIMILATED else None
    arch, backbone, in_chans = _build_backbone(
        path, arch or config.get("backbone") or config.get("architecture"), weights
    )
    try:
        names = _class_names(path, backbone, classes, config, folder_classes)
        normalization = _normalization(path, config, mean, std, in_chans)
        height, width = input_size or _input_size(config)
    except (TypeError, ValueError, LookupError) as error:
        raise ModelError(
            f"{path}: its {CONFIG_FILE} holds what robaudit cannot use ({_first_line(error)}); "
            "correct it, or pass the weights file and --arch"
        ) from None
    classifier = Classifier(backbone, normalization, in_chans=in_chans, front=front).eval().to(_device(device))
    _require_input(path, classifier, height, width)
    return LoadedModel(
        classifier,
        ModelInfo(
            path=str(path),
            sha256=contents.sha256,
            arch=arch,
            n_classes=len(names),
            classes=names,
            input=InputSize(channels=in_chans, height=height, width=width),
            normalization=normalization,
            front=_front_info(config, front),
        ),
    )


def _read_weights(contents: Contents) -> dict[str, Tensor]:
    """The state dict, in float32, by names without prefixes."""
    assert contents.weights is not None
    state = state_tensors(contents) if contents.kind is not Kind.ASSIMILATED else State((), "", contents.groups[()])
    try:
        with contents.weights.open("rb") as file:
            is_safetensors = looks_like_safetensors(file.read(16))
        loaded = (
            load_file(contents.weights)
            if is_safetensors
            else torch.load(contents.weights, map_location="cpu", weights_only=True)
        )
        tensors = state.select(loaded)
    except pickle.UnpicklingError:
        blocked = ", ".join(contents.foreign_globals[:3]) or "its pickle protocol is not torch's own"
        raise ModelError(
            f"{contents.path}: needs code to load ({blocked}), which robaudit does not run; "
            "save model.state_dict() alone, with torch.save as it is"
        ) from None
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile, SafetensorError) as error:
        raise ModelError(f"{contents.path}: cannot be loaded ({_first_line(error)}); fetch or save it again") from None
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _build_front(path: Path, config: Mapping[str, Any], weights: dict[str, Tensor]) -> Front:
    """Build T and C from an assimilated folder, and leave the backbone's weights alone in `weights`."""
    try:
        front = Front(**config["front"])
        front.load_state_dict(_taken(weights, "front."))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path}: its front does not fit its weights ({_first_line(error)}); assimilate again"
        ) from None
    for name, tensor in _taken(weights, "backbone.").items():
        weights[name] = tensor
    return front


def _taken(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    names = [name for name in weights if name.startswith(prefix)]
    return {name.removeprefix(prefix): weights.pop(name) for name in names}


def _build_backbone(path: Path, arch: str | None, weights: dict[str, Tensor]) -> tuple[str, nn.Module, int]:
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    arch = arch or _inferred(path, shapes)
    if arch not in timm.list_models():
        raise ModelError(f"{path}: timm knows no architecture {arch!r}; see timm.list_models() and pass --arch")
    n_classes = architecture.n_classes(arch, shapes)
    if n_classes is None:
        raise ModelError(f"{path}: does not fit {arch} ({architecture.misfit(arch, shapes)}); pass another --arch")
    in_chans = architecture.in_chans(arch, shapes)
    with torch.random.fork_rng():  # weights about to be replaced are drawn at random
        backbone = timm.create_model(arch, num_classes=n_classes, in_chans=in_chans)
    backbone.load_state_dict(weights, strict=True)
    return arch, backbone, in_chans


def _inferred(path: Path, shapes: architecture.Shapes) -> str:
    found = architecture.candidates(shapes)
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelError(f"{path}: fits {', '.join(found)}; say which with --arch")
    first = ", ".join(list(shapes)[:3])
    raise ModelError(f"{path}: fits no architecture robaudit infers (keys such as {first}); pass --arch, a timm name")


def _class_names(
    path: Path,
    backbone: nn.Module,
    classes: Sequence[str] | None,
    config: Mapping[str, Any],
    folder_classes: Sequence[str] | None,
) -> tuple[str, ...]:
    n_outputs = int(backbone.num_classes)  # type: ignore[arg-type]
    if n_outputs < 2:
        raise ModelError(f"{path}: has one output, wanted one logit per class; export it with two outputs [-z/2, z/2]")
    names = classes or config.get("classes") or config.get("label_names") or folder_classes
    names = tuple(map(str, names or range(n_outputs)))
    if len(names) != n_outputs:
        whose = "--classes lists" if classes else "the data has"
        raise ModelError(
            f"{path}: has {n_outputs} outputs, {whose} {len(names)} classes ({', '.join(names)}); "
            "pass the model's own classes with --classes, or join folders with --merge"
        )
    if len(set(names)) < len(names):
        raise ModelError(f"{path}: classes {', '.join(names)} repeat a name; pass different ones with --classes")
    return names


def _normalization(
    path: Path,
    config: Mapping[str, Any],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    in_chans: int,
) -> Normalization:
    if (mean is None) != (std is None):
        raise ModelError(f"{path}: --mean and --std belong together; pass both")
    own = config.get("pretrained_cfg", config)
    if mean is not None and std is not None:
        source = "given"
    elif "mean" in own and "std" in own:
        mean, std = own["mean"], own["std"]
        source = str(config.get("normalization_source", "config.json"))
    else:
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if in_chans == 3 else ((0.0,) * in_chans, (1.0,) * in_chans)
        source = "assumed: ImageNet" if in_chans == 3 else "assumed: none"
    if not len(mean) == len(std) == in_chans or min(std) <= 0:
        raise ModelError(
            f"{path}: takes {in_chans} channel(s), got mean {list(mean)} and std {list(std)}; "
            "pass one number per channel, std above 0"
        )
    return Normalization(mean=tuple(mean), std=tuple(std), source=source)


def _input_size(config: Mapping[str, Any]) -> tuple[int, int]:
    own = config.get("pretrained_cfg", config)
    size = own.get("input_size")
    return (int(size[-2]), int(size[-1])) if size else DEFAULT_SIZE


def _require_input(path: Path, classifier: Classifier, height: int, width: int) -> None:
    """Ask once, so that a grid the network cannot take is named before hours are spent."""
    picture = torch.zeros(1, classifier.takes_channels, height, width, device=classifier.mean.device)
    try:
        with torch.no_grad():
            classifier(picture)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"{path}: takes no {height}x{width} images ({_first_line(error)}); "
            "pass the grid it was trained on with --input-size"
        ) from None


def _front_info(config: Mapping[str, Any], front: Front | None) -> FrontInfo | None:
    return FrontInfo(vanilla=FileRef(**config["vanilla"]), modules=front.modules_name) if front is not None else None


def _device(name: str) -> torch.device:
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"--device {name}: is not usable here ({_first_line(error)}); pass cpu") from None
    return device


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
