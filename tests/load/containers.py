"""One network in every file that people keep one in."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robaudit.load.contents import read_contents
from robaudit.load.model import DEFAULT_SIZE, load_model
from robaudit.load.network import Asked, read_network
from robaudit.load.trial import tried

Save = Callable[[nn.Module, Tensor, Path], None]
"""Network, pictures it takes, where to."""


def answers(path: Path, pictures: Tensor, **options: Any) -> Tensor:
    """Logits of a classifier whose normalisation is switched off."""
    n = pictures.shape[1]
    loaded = load_model(path, mean=[0.0] * n, std=[1.0] * n, input_size=tuple(pictures.shape[-2:]), **options)
    with torch.no_grad():
        return loaded.classifier(pictures)


def row(
    path: Path, pictures: Tensor, output: str | None = None, label_index: int | None = None, **asked: Any
) -> Tensor:
    """What the network itself answers, however many outputs it has."""
    network = read_network(read_contents(path), Asked(**asked))
    size = tuple(pictures.shape[-2:]) or DEFAULT_SIZE
    with torch.no_grad():
        return tried(path, network, size, output, label_index).backbone.eval()(pictures)


# Weights alone


def state_dict(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.save(network.state_dict(), path)


def legacy(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)


def pickle_protocol_4(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.save(network.state_dict(), path, pickle_protocol=4)


def safetensors(network: nn.Module, pictures: Tensor, path: Path) -> None:
    save_file(network.state_dict(), path)


def nested(*keys: str, prefix: str = "", **beside: Any) -> Save:
    def save(network: nn.Module, pictures: Tensor, path: Path) -> None:
        saved: Any = {prefix + name: tensor for name, tensor in network.state_dict().items()}
        for key in reversed(keys):
            saved = {key: saved, "epoch": 7, **beside}
        torch.save(saved, path)

    return save


class Hyperparameters:
    """What training scripts leave in a checkpoint: an object that only their own code can load."""

    learning_rate = 0.1


def lightning(network: nn.Module, pictures: Tensor, path: Path) -> None:
    weights = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    weights["criterion.weight"] = torch.ones(3)
    torch.save(
        {
            "epoch": 3, "global_step": 30, "pytorch-lightning_version": "2.5.0", "state_dict": weights,
            "hyper_parameters": Hyperparameters(), "optimizer_states": [{"state": {0: {"step": torch.ones(1)}}}],
        },
        path,
    )  # fmt: skip


def data_parallel(network: nn.Module, pictures: Tensor, path: Path) -> None:
    nested("state_dict", prefix="module.")(network, pictures, path)


def compiled(network: nn.Module, pictures: Tensor, path: Path) -> None:
    nested("model", prefix="module._orig_mod.")(network, pictures, path)


def averaged(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.save(torch.optim.swa_utils.AveragedModel(network).state_dict(), path)


def named_by_its_trainer(network: nn.Module, pictures: Tensor, path: Path) -> None:
    nested("state_dict", prefix="my_cnn.")(network, pictures, path)


WEIGHTS: dict[str, Save] = {
    save.__name__: save
    for save in (
        state_dict, legacy, pickle_protocol_4, safetensors, lightning, data_parallel, compiled, averaged,
        named_by_its_trainer,
    )
} | {"checkpoint": nested("model_state_dict"), "twice nested": nested("net", "state_dict")}  # fmt: skip


def bundle(network: nn.Module, pictures: Tensor, folder: Path) -> None:
    """A MONAI bundle that says nothing of its network."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text("{}")
    torch.save(network.state_dict(), folder / "models" / "model.pt")


def write_timm_folder(network: nn.Module, folder: Path, arch: str, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": arch} | config))
    return folder


# Programs


def quietly(save: Save) -> Save:
    def quiet(network: nn.Module, pictures: Tensor, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit and the older exporter are deprecated, their files are not
            save(network, pictures, path)

    quiet.__name__ = save.__name__
    return quiet


@quietly
def traced(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.jit.save(torch.jit.trace(network, pictures, strict=False, check_trace=False), str(path))


@quietly
def scripted(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.jit.save(torch.jit.script(network), str(path))


@quietly
def frozen(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.jit.save(torch.jit.freeze(torch.jit.script(network)), str(path))


@quietly
def exported(network: nn.Module, pictures: Tensor, path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=4096)
    torch.export.save(torch.export.export(network, (pictures,), dynamic_shapes=({0: batch},)), path)


@quietly
def exported_for_one(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.export.save(torch.export.export(network, (pictures[:1],)), path)


@quietly
def onnx_by_trace(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.onnx.export(
        network, (pictures,), str(path), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}}
    )


@quietly
def onnx_by_export(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.onnx.export(network, (pictures[:1],), str(path), dynamo=True, verbose=False)


@quietly
def pickled(network: nn.Module, pictures: Tensor, path: Path) -> None:
    torch.save(network, path)


PROGRAMS: dict[str, Save] = {
    save.__name__: save
    for save in (traced, scripted, exported, exported_for_one, onnx_by_trace, onnx_by_export)
}  # fmt: skip
