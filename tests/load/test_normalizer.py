"""A layer in front that normalises is left out of the network, and what it does is what the model is audited with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from containers import Save, exported, pickled, scripted
from safetensors.torch import save_file
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.model import load_model

MEAN, STD = [0.3, 0.4, 0.5], [0.2, 0.25, 0.35]
SIZE = (32, 32)


class Normalize(nn.Module):
    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Inside(Normalize):
    """The network inside the layer."""

    def __init__(self, mean: list[float], std: list[float], net: nn.Module) -> None:
        super().__init__(mean, std)
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(super().forward(x))


class Calibrated(Inside):
    """It normalises what the network answers."""

    def forward(self, x: Tensor) -> Tensor:
        return (self.net(x) - self.mean.flatten()) / self.std.flatten()


def before(net: nn.Module, mean: list[float] = MEAN, std: list[float] = STD) -> nn.Module:
    return nn.Sequential(Normalize(mean, std), net)


def within(net: nn.Module) -> nn.Module:
    return Inside(MEAN, STD, net)


def parallel(net: nn.Module) -> nn.Module:
    return nn.DataParallel(before(net))


def network() -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = timm.create_model("test_resnet", num_classes=2).eval()
    return made


@pytest.mark.parametrize("save", [torch.save, save_file], ids=["torch", "safetensors"])
@pytest.mark.parametrize("wrap", [before, within, parallel])
def test_it_becomes_the_normalisation(
    tmp_path: Path, wrap: Callable[[nn.Module], nn.Module], save: Callable[[Any, Path], None]
) -> None:
    whole, file = wrap(network()).eval(), tmp_path / "m.pt"
    save(whole.state_dict(), file)
    loaded = load_model(file, input_size=SIZE)
    assert loaded.info.arch == "test_resnet"
    assert (loaded.info.normalization.mean, loaded.info.normalization.std) == (tuple(MEAN), tuple(STD))
    assert loaded.info.normalization.source == "a layer of the file, in front of the network"
    picture = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(picture), whole(picture))
    description = describe(read_contents(file))
    assert description.obstacle is None
    assert description.command is not None
    assert "--arch" not in description.command


def test_it_is_not_lost_where_the_network_beside_it_is_named(tmp_path: Path) -> None:
    torch.save(before(network()).state_dict(), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", weights="1", input_size=SIZE)
    assert loaded.info.normalization.mean == tuple(MEAN)


def test_a_factory_has_it_inside_or_takes_what_lies_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_networks.py").write_text(
        "import test_normalizer as t\ndef whole(): return t.before(t.network())\ndef alone(): return t.network()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    whole = before(network()).eval()
    torch.save(whole.state_dict(), tmp_path / "m.pt")
    asked: list[dict[str, Any]] = [
        {"factory": "own_networks:whole", "normalization": "none"},
        {"factory": "own_networks:whole"},
        {"factory": "own_networks:alone", "weights": "1"},
    ]
    picture = torch.rand(2, 3, *SIZE)
    for options in asked:
        with torch.no_grad():
            found = load_model(tmp_path / "m.pt", input_size=SIZE, **options).classifier(picture)
            torch.testing.assert_close(found, whole(picture))


@pytest.mark.parametrize("save", [scripted, exported, pickled])
def test_inside_a_program_it_stays_and_nothing_is_assumed(tmp_path: Path, save: Save) -> None:
    def saved(mean: list[float], std: list[float]) -> tuple[nn.Module, dict[str, Any]]:
        whole = before(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), mean, std).eval()
        save(whole, picture, tmp_path / "m")
        return whole, {"input_size": (8, 8), "trust": read_contents(tmp_path / "m").sha256}

    picture = torch.rand(2, 3, 8, 8)
    whole, options = saved(MEAN, STD)
    loaded = load_model(tmp_path / "m", **options)
    assert loaded.info.normalization.source == "none: a layer inside the network normalises"
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(picture), whole(picture))
    assert load_model(tmp_path / "m", normalization="half", **options).info.normalization.mean == (0.5,) * 3
    _, options = saved([128.0] * 3, [64.0] * 3)
    with pytest.raises(ModelError, match=r"a layer inside .*--mean 0,0,0 --std 0\.00392157,0\.00392157,0\.00392157"):
        load_model(tmp_path / "m", **options)


def test_what_the_checkpoint_says_of_a_layer_inside_is_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robaudit.load.network.call_factory", lambda name: before(network()))
    file, kept = tmp_path / "m.pt", {"state_dict": before(network()).state_dict(), "std": STD}
    torch.save(kept | {"mean": MEAN}, file)
    assert load_model(file, factory="my:own", input_size=SIZE).info.normalization.mean == (0.0,) * 3
    torch.save(kept | {"mean": [0.5] * 3}, file)
    with pytest.raises(ModelError, match="a layer that normalises with other ones"):
        load_model(file, factory="my:own", input_size=SIZE)


def test_a_layer_inside_of_other_than_the_channels_is_no_normalisation_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, file = Calibrated([1.0, 2.0], [1.5, 1.0], network()), tmp_path / "m.pt"
    monkeypatch.setattr("robaudit.load.network.call_factory", lambda name: made)
    torch.save(made.state_dict(), file)
    loaded = load_model(file, factory="my:own", input_size=SIZE)
    assert loaded.info.normalization.source == "assumed: ImageNet"
    torch.save({"state_dict": made.state_dict(), "mean": MEAN, "std": STD}, file)
    loaded = load_model(file, factory="my:own", input_size=SIZE)
    assert loaded.info.normalization.mean == tuple(MEAN)


def test_statistics_of_features_are_no_normalisation_of_pictures(tmp_path: Path) -> None:
    beside = {"0.mean": torch.zeros(512), "0.std": torch.ones(512)}
    torch.save(beside | {f"1.{key}": value for key, value in network().state_dict().items()}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="holds more than one network, or one and something else"):
        load_model(tmp_path / "m.pt")


def test_what_is_given_takes_precedence(tmp_path: Path) -> None:
    torch.save(before(network()).state_dict(), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", mean=[0.0] * 3, std=[1.0] * 3, input_size=SIZE)
    assert loaded.info.normalization.std == (1.0, 1.0, 1.0)


def test_one_of_other_pixels_is_refused_with_what_to_pass(tmp_path: Path) -> None:
    torch.save(before(network(), [127.5] * 3, [255.0] * 3).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"pass --mean 0.5,0.5,0.5 --std 1,1,1$"):
        load_model(tmp_path / "m.pt", input_size=SIZE)


def test_inspect_says_what_a_scan_would(tmp_path: Path) -> None:
    """And suggests no command that cannot work."""
    made = network()
    made.fc = nn.Sequential(nn.Linear(made.num_features, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(made.state_dict(), tmp_path / "m.pt")
    description = describe(read_contents(tmp_path / "m.pt"))
    with pytest.raises(ModelError) as stop:
        load_model(tmp_path / "m.pt")
    assert str(stop.value) == f"{tmp_path / 'm.pt'}: {description.obstacle}"
    assert description.command is None


def test_inspect_refuses_a_normalisation_that_a_scan_refuses(tmp_path: Path) -> None:
    config = {"architecture": "test_resnet", "mean": MEAN, "std": [0.0] * 3}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(network().state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="pass --mean and --std") as stop:
        load_model(tmp_path)
    assert str(stop.value) == f"{tmp_path}: {describe(read_contents(tmp_path)).obstacle}"


def test_what_a_checkpoint_says_of_its_architecture_is_believed_as_far_as_it_fits(tmp_path: Path) -> None:
    torch.save({"state_dict": network().state_dict(), "arch": "resnet18"}, tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt", input_size=SIZE).info.arch == "test_resnet"
    assert describe(read_contents(tmp_path / "m.pt")).architectures == ("test_resnet",)
