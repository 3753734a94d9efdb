"""What a checkpoint keeps beside its weights of its pictures counts where it is clear, and is asked about where not."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from robaudit.errors import ModelError
from robaudit.load.beside_weights import numbers_in
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.model import load_model
from robaudit.load.torch_pickle import TensorInfo, View

MEAN, STD = [0.2, 0.3, 0.4], [0.1, 0.2, 0.3]
SAID = {"mean": MEAN, "std": STD, "input_size": [3, 40, 48]}
GIVEN = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": (32, 32)}


def saved(path: Path, beside: dict[str, Any], prefix: str = "") -> Path:
    torch.manual_seed(0)
    network: nn.Module = timm.create_model("test_resnet", num_classes=2)
    torch.save({"state_dict": {prefix + key: value for key, value in network.state_dict().items()}, **beside}, path)
    return path


@pytest.mark.parametrize(
    ("beside", "named"),
    [
        (SAID, "mean and std"),
        ({"args": Namespace(**SAID, epochs=3, img_size=None)}, "args.mean and args.std"),
        ({"pretrained_cfg": SAID, "mean": tuple(MEAN), "std": STD}, "mean and std"),
        ({"norm_mean": torch.tensor(MEAN), "norm_std": torch.tensor(STD).view(1, 3, 1, 1)}, "norm_mean and norm_std"),
    ],
    ids=["lists", "namespace", "twice the same", "tensors"],
)  # fmt: skip
def test_what_is_clear_counts_and_is_named(tmp_path: Path, beside: dict[str, Any], named: str) -> None:
    file = saved(tmp_path / "m.pt", beside)
    found, description = load_model(file).info, describe(read_contents(file))
    assert (list(found.normalization.mean), list(found.normalization.std)) == (MEAN, STD)
    assert found.normalization.source == f"the checkpoint's {named}"
    assert (description.stated.mean, description.obstacle) == (tuple(MEAN), None)
    if "norm_mean" not in beside:
        assert (found.input.height, found.input.width, found.input.source) == (40, 48, "checkpoint")
        assert description.input_size == ((40, 48), "checkpoint")
    given = load_model(file, **GIVEN).info  # type: ignore[arg-type]
    assert (given.normalization.source, given.input.height, given.input.source) == ("given", 32, "given")


@pytest.mark.parametrize(
    ("beside", "said", "asked"),
    [
        ({"mean": 0.93, "std": 0.01}, "keeps mean 0.93 and std 0.01 beside its weights, which need not be", "--mean M"),
        ({"mean": MEAN}, r"keeps mean \[0.2, 0.3, 0.4\] and std nothing beside", "--mean M"),
        ({"mean": np.ones(3), "std": np.ones(3)}, "mean in a form that is not read", "--mean M"),
        ({"mean": MEAN, "std": STD, "cfg": {"mean": STD, "std": STD}}, "only one can be true.*--mean", "--mean M"),
        ({"img_size": 256, "config": {"crop_size": 224}}, "img_size 256 and config.crop_size 224 .*one", "--input"),
        ({"img_size": [40, 48]}, r"img_size \[40, 48\] .*not clearly the size .*--input-size height,width", "--input"),
        ({"input_size": 3}, "input_size 3 beside its weights, which is not clearly", "--input-size"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked_about(tmp_path: Path, beside: dict[str, Any], said: str, asked: str) -> None:
    file = saved(tmp_path / "m.pt", beside)
    with pytest.raises(ModelError, match=said):
        load_model(file)
    command = describe(read_contents(file)).command
    assert command is not None
    assert asked in command
    assert load_model(file, **GIVEN).info.normalization.source == "given"  # type: ignore[arg-type]


def test_numbers_of_other_pixels_are_refused_with_what_to_pass(tmp_path: Path) -> None:
    file = saved(tmp_path / "m.pt", {"mean": [127.5] * 3, "std": [255.0] * 3})
    with pytest.raises(
        ModelError, match=r"keeps beside its weights mean .* pass --mean 0.5,0.5,0.5 --std 1,1,1$"
    ) as stop:
        load_model(file)
    assert str(stop.value) == f"{file}: {describe(read_contents(file)).obstacle}"


def test_a_layer_in_front_that_does_something_else_is_asked_about(tmp_path: Path) -> None:
    file, layer = tmp_path / "m.pt", {"0.mean": torch.tensor(MEAN), "0.std": torch.tensor(STD)}
    weights = torch.load(saved(file, {}, "1."))["state_dict"] | layer
    torch.save({"state_dict": weights, "mean": MEAN, "std": STD}, file)
    assert load_model(file).info.normalization.source == "a layer of the file, in front of the network"
    torch.save({"state_dict": weights, "mean": STD, "std": STD}, file)
    with pytest.raises(ModelError, match=r"keeps mean .* and has a layer that .* other ones; pass the right ones"):
        load_model(file)


def test_text_of_a_safetensors_header_is_asked_about_and_not_shown(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=2)
    save_file(network.state_dict(), tmp_path / "m", metadata={"mean": "evil", "std": "[0.1, 0.2, 0.3]"})
    with pytest.raises(ModelError, match="keeps mean in a form that is not read and std in a form that is not read"):
        load_model(tmp_path / "m")


def test_a_storage_that_unpacks_to_less_than_it_claims_has_no_numbers() -> None:
    archive: Any = SimpleNamespace(room=lambda name: 12, read=lambda name: b"1234")
    as_tensor: Any = lambda item: TensorInfo((3,), "float32", View("0", 0, (1,)))  # noqa: E731
    assert numbers_in(archive, "m/data/", as_tensor)(None) is None


def test_entries_of_something_else_are_not_taken(tmp_path: Path) -> None:
    file = saved(tmp_path / "m.pt", {"mean": None, "std": {"auc": 0.1}, "config": {"lr": 0.1, "img_size": "large"}})
    assert load_model(file).info.normalization.source == "assumed: ImageNet"
