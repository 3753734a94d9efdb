"""A loaded classifier answers as the network it was saved from, asked by hand."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.front.front import Front
from robaudit.load.classifier import Classifier, LoadedModel
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.kinds import Contents
from robaudit.load.model import load_model
from robaudit.load.network import Asked, Network, read_network
from robaudit.load.normalization import IMAGENET_MEAN, IMAGENET_STD
from robaudit.retrofit.before_training import with_front
from robaudit.retrofit.model_folder import write_model

ARCH = "test_resnet"
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)


def network(n_classes: int = 2, in_chans: int = 3) -> nn.Module:
    """An untrained network whose batch norm has statistics of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(n_classes + 10 * in_chans)
        made = timm.create_model(ARCH, num_classes=n_classes, in_chans=in_chans).train()
        made(torch.rand(8, in_chans, 32, 32))
    return made.eval()


NETWORK = network()
PICTURES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def by_hand(made: nn.Module, pictures: Tensor, mean: Any, std: Any) -> Tensor:
    channels = [(pictures[:, index] - m) / s for index, (m, s) in enumerate(zip(mean, std, strict=True))]
    return made(torch.stack(channels, dim=1))


@torch.no_grad()
def answers(loaded: LoadedModel, pictures: Tensor = PICTURES) -> Tensor:
    return loaded.classifier(pictures)


def weights(suffix: str = ".pt", made: nn.Module = NETWORK) -> dict[str, Tensor]:
    return {f"{suffix}{name}" if suffix != ".pt" else name: tensor for name, tensor in made.state_dict().items()}


def write_folder(folder: Path, made: nn.Module = NETWORK, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(made.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": ARCH} | config))
    return folder


# What people have


def state_dict(path: Path) -> None:
    torch.save(weights(), path)


def nested_under(*keys: str, prefix: str = "") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        saved: Any = {prefix + name: tensor for name, tensor in weights().items()}
        for key in reversed(keys):
            saved = {key: saved, "epoch": 7}
        torch.save(saved, path)

    return write


def legacy(path: Path, protocol: int = 2) -> None:
    torch.save(weights(), path, _use_new_zipfile_serialization=False, pickle_protocol=protocol)


def safetensors(path: Path) -> None:
    save_file(weights(), path)


@pytest.mark.parametrize(
    "write",
    [
        state_dict,
        nested_under("state_dict"),
        nested_under("state_dict", prefix="module."),
        nested_under("model", "state_dict", prefix="model."),
        nested_under("net", prefix="module._orig_mod."),
        legacy,
        safetensors,
    ],
)
def test_every_kind_of_file_gives_the_logits_of_the_model_it_was_saved_from(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "model.of.any.suffix"
    write(path)
    loaded = load_model(path, arch=ARCH)
    assert torch.equal(answers(loaded), by_hand(NETWORK, PICTURES, IMAGENET_MEAN, IMAGENET_STD))
    assert not loaded.classifier.training
    assert (loaded.info.arch, loaded.info.n_classes, loaded.size) == (ARCH, 2, (160, 160))


def test_a_legacy_file_of_another_pickle_protocol_loads(tmp_path: Path) -> None:
    legacy(tmp_path / "model.pt", protocol=3)
    loaded = load_model(tmp_path / "model.pt", arch=ARCH)
    assert torch.equal(answers(loaded), by_hand(NETWORK, PICTURES, IMAGENET_MEAN, IMAGENET_STD))


def test_a_legacy_file_of_a_pickle_protocol_that_torch_does_not_load_safely_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(weights(), path, pickle_protocol=4, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="needs code to load"):
        load_model(path, arch=ARCH)


def test_a_timm_folder_says_everything_itself(tmp_path: Path) -> None:
    cfg = {"mean": MEAN, "std": STD, "input_size": [3, 32, 48]}
    folder = write_folder(tmp_path / "m", label_names=["well", "ill"], num_classes=2, pretrained_cfg=cfg)
    loaded = load_model(folder, folder_classes=("ill", "well"))
    assert torch.equal(answers(loaded), by_hand(NETWORK, PICTURES, MEAN, STD))
    assert (loaded.size, loaded.info.classes) == ((32, 48), ("well", "ill"))
    assert (loaded.info.normalization.mean, loaded.info.normalization.source) == (MEAN, "config.json")


def test_what_is_given_takes_precedence_over_the_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", label_names=["a", "b"], mean=[0] * 3, std=[1] * 3, input_size=[3, 32, 32])
    loaded = load_model(folder, classes=("x", "y"), mean=MEAN, std=STD, input_size=(64, 64))
    assert torch.equal(answers(loaded), by_hand(NETWORK, PICTURES, MEAN, STD))
    assert (loaded.info.classes, loaded.size, loaded.info.normalization.source) == (("x", "y"), (64, 64), "given")


@pytest.mark.parametrize("in_chans", [3, 1])
def test_an_assimilated_folder_gives_the_logits_of_the_whole_it_was_written_from(tmp_path: Path, in_chans: int) -> None:
    vanilla = load_model(write_folder(tmp_path / "vanilla", network(2, in_chans)), classes=("a", "b"))
    front = Front(1, in_chans)
    with torch.no_grad():  # no longer the no-op it begins as
        for weight in front.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    whole = Classifier(
        vanilla.classifier.backbone, vanilla.classifier.normalization, in_chans=in_chans, front=front
    ).eval()
    (tmp_path / "retrofit").mkdir()
    write_model(tmp_path / "retrofit", whole, vanilla.info, image_channels=1)
    loaded = load_model(tmp_path / "retrofit")
    grey = PICTURES[:, :1]
    with torch.no_grad():
        assert torch.equal(answers(loaded, grey), whole(grey))
        assert not torch.allclose(answers(loaded, grey), vanilla.classifier(grey), atol=1e-4)
    assert loaded.info.front is not None
    assert loaded.info.front.vanilla.sha256 == vanilla.info.sha256
    assert loaded.info.front.modules == ("T+C" if in_chans == 3 else "T")
    assert loaded.info.classes == ("a", "b")
    assert loaded.classifier.takes_channels == 1


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    halves = {name: t.half() if t.is_floating_point() else t for name, t in weights().items()}
    torch.save(halves, tmp_path / "half.pt")
    loaded = load_model(tmp_path / "half.pt", arch=ARCH)
    assert {t.dtype for t in loaded.classifier.parameters()} == {torch.float32}
    rounded = network()
    rounded.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in halves.items()})
    assert torch.equal(answers(loaded), by_hand(rounded, PICTURES, IMAGENET_MEAN, IMAGENET_STD))


def test_a_grey_image_is_repeated_inside_the_model(tmp_path: Path) -> None:
    state_dict(tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", arch=ARCH)
    grey = PICTURES[:, :1]
    assert torch.equal(answers(loaded, grey), answers(loaded, torch.cat([grey] * 3, dim=1)))


def test_a_one_channel_network_takes_grey_images_and_refuses_coloured_ones(tmp_path: Path) -> None:
    made = network(2, in_chans=1)
    torch.save(weights(made=made), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", arch=ARCH)
    assert torch.equal(answers(loaded, PICTURES[:, :1]), by_hand(made, PICTURES[:, :1], (0,), (1,)))
    assert loaded.info.normalization.source == "assumed: none"
    loaded.require_channels(1)
    with pytest.raises(ModelError, match=r"takes grey pictures \(1 channel\), the pictures have 3; convert") as stop:
        loaded.require_channels(3)
    assert "assimilate" not in str(stop.value), "it never was"


@pytest.mark.parametrize("found", [1, 3])
def test_a_network_of_channels_that_no_picture_has_is_refused_for_what_it_is(tmp_path: Path, found: int) -> None:
    torch.save(weights(made=network(2, in_chans=4)), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", arch=ARCH)
    with pytest.raises(ModelError, match=rf"takes 4 channels; robaudit reads .* 1 or 3 .*have {found}\)"):
        loaded.require_channels(found)
    assert "takes 4 channels" in (describe(read_contents(tmp_path / "m.pt")).obstacle or "")


class ChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2))[:, :2]


def test_a_program_that_wants_channels_last_is_refused_for_it(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(ChannelsLast(), (torch.rand(2, 32, 32, 3),)), tmp_path / "m.pt2")
    with pytest.raises(ModelError, match=r"input is \(batch, 32, 32, 3\): it seems to want channels last"):
        load_model(tmp_path / "m.pt2")


def test_the_hash_is_that_of_the_weights(tmp_path: Path) -> None:
    hashes = set()
    for index in range(2):
        torch.save(weights(made=network(2 + index)), tmp_path / "m.pt")
        hashes.add(load_model(tmp_path / "m.pt", arch=ARCH).info.sha256)
    assert len(hashes) == 2


@pytest.mark.parametrize("changed", ["model.safetensors", "config.json"])
def test_a_file_that_is_replaced_between_its_hash_and_its_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    """As by a training that saves its best: the record would name other weights than were measured."""
    folder = write_folder(tmp_path / "model")
    other = write_folder(tmp_path / "other")

    def after_hashing(contents: Contents, asked: Asked) -> Network:
        (other / changed).replace(folder / changed)
        return read_network(contents, asked)

    monkeypatch.setattr("robaudit.load.model.read_network", after_hashing)
    contents = read_contents(folder)
    with pytest.raises(ModelError, match=rf"{changed}: changed while it was read; start again"):
        load_model(folder)
    with pytest.raises(ModelError, match=rf"{changed}: changed while it was read; start again"):
        describe(contents)


# Classes


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("0", "1")),
        ({"folder_classes": ("a", "b")}, ("a", "b")),
        ({"folder_classes": ("a", "b"), "classes": ("b", "a")}, ("b", "a")),
    ],
)
def test_where_class_names_come_from(tmp_path: Path, options: dict[str, Any], expected: tuple[str, ...]) -> None:
    state_dict(tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt", arch=ARCH, **options).info.classes == expected


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ({"idx_to_class": {0: "b", 1: "a"}}, ("b", "a")),
        ({"idx_to_class": {"1": "a", "0": "b"}}, ("b", "a")),
        ({"class_to_idx": {"a": 1, "b": 0}}, ("b", "a")),
        ({"id2label": {0: "b", 1: "a"}, "label2id": {"b": 0, "a": 1}}, ("b", "a")),
        ({"label_names": {0: "b", 1: "a"}}, ("b", "a")),
        ({"names": ["b", "a"]}, ("b", "a")),
        ({"names": {0: "b", 1: "a"}}, ("b", "a")),
        ({"classes": ["b", "a"], "names": ["x", "y"]}, ("b", "a")),
        ({"names": ["b", "a"], "idx_to_class": {0: "p", 1: "q"}}, ("x", "y")),
        ({"classes": ["b", "a"], "class_to_idx": {"b": 0, "a": 1}}, ("b", "a")),
        ({"names": ["first", "second", "third"]}, ("x", "y")),
        ({"idx_to_class": {1: "a", 2: "b"}}, ("x", "y")),
        ({"idx_to_class": {0: "a", 1: "a"}}, ("x", "y")),
        ({"classes": 2}, ("x", "y")),
    ],
)  # fmt: skip
def test_a_checkpoint_states_the_order_of_its_classes(
    tmp_path: Path, beside: dict[str, Any], expected: tuple[str, ...]
) -> None:
    torch.save({"state_dict": weights(), **beside}, tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt", arch=ARCH, folder_classes=("x", "y")).info.classes == expected


@pytest.mark.parametrize(
    "beside",
    [
        {"classes": ["a", "b"], "class_to_idx": {"b": 0, "a": 1}},
        {"names": ["b", "a"], "idx_to_class": {0: "a", 1: "b"}},
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_asked_about(tmp_path: Path, beside: dict[str, Any]) -> None:
    torch.save({"state_dict": weights(), **beside}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"in two orders, (a,b and b,a|b,a and a,b); pass the order .* --classes"):
        load_model(tmp_path / "m.pt", arch=ARCH, folder_classes=("a", "b"))
    assert load_model(tmp_path / "m.pt", arch=ARCH, classes=("b", "a")).info.classes == ("b", "a")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"folder_classes": ("a", "b", "c")}, r"has 2 outputs, the data has 3 classes \(a, b, c\)"),
        ({"classes": ("a",)}, r"has 2 outputs, --classes lists 1 classes \(a\)"),
        ({"classes": ("a", "a")}, "classes a, a repeat a name"),
    ],
)
def test_classes_that_are_not_the_models_are_refused(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    state_dict(tmp_path / "m.pt")
    with pytest.raises(ModelError, match=expected):
        load_model(tmp_path / "m.pt", arch=ARCH, **options)


def test_a_single_output_tells_two_classes_apart(tmp_path: Path) -> None:
    made = network(1)
    with torch.no_grad():
        made.fc.bias -= 5  # a number outside [0, 1] is no probability
    torch.save(weights(made=made), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", arch=ARCH, folder_classes=("a", "b")).with_outputs_seen_on(PICTURES)
    z = by_hand(made, PICTURES, IMAGENET_MEAN, IMAGENET_STD)
    torch.testing.assert_close(answers(loaded), torch.cat([-z / 2, z / 2], dim=1))
    with pytest.raises(ModelError, match="has one output, which tells two classes apart, the data has 3 classes"):
        load_model(tmp_path / "m.pt", arch=ARCH, folder_classes=("a", "b", "c"))


def test_a_threshold_is_recorded_and_goes_with_the_retrofit(tmp_path: Path) -> None:
    torch.save(weights(made=network(1)), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", arch=ARCH, folder_classes=("a", "b"), threshold=0.3)
    assert loaded.info.loading is not None
    assert loaded.info.loading.threshold == 0.3
    p = by_hand(network(1), PICTURES, IMAGENET_MEAN, IMAGENET_STD).sigmoid()[:, 0]
    assert torch.equal(answers(loaded.with_outputs_seen_on(PICTURES)).argmax(1), (p > 0.3).long())

    whole = with_front(loaded, 3, seed=0)
    (tmp_path / "retrofit").mkdir()
    write_model(tmp_path / "retrofit", whole, loaded.info, 3, loaded.recipe)
    again = load_model(tmp_path / "retrofit")
    assert again.info.loading is not None
    assert again.info.loading.threshold == 0.3
    assert torch.equal(answers(again), answers(replace(loaded, classifier=whole.eval())))


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 30, float("nan")])
def test_a_threshold_is_a_probability(tmp_path: Path, threshold: float) -> None:
    torch.save(weights(made=network(1)), tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"^--threshold .*: wanted a probability above 0 and below 1"):
        load_model(tmp_path / "m.pt", arch=ARCH, threshold=threshold)


def test_a_threshold_is_for_one_output(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "m.pt")
    with pytest.raises(ModelError, match="has 2 outputs, and the largest decides; --threshold is for"):
        load_model(tmp_path / "m.pt", arch=ARCH, threshold=0.3)
    assert load_model(tmp_path / "m.pt", arch=ARCH, threshold=0.3, label_index=1).info.n_classes == 2


@pytest.mark.parametrize(
    "head", ["text", {"threshold": "0.3"}, {"threshold": True}, {"label_index": "1"}, {"output": ["logits"]}]
)
def test_what_a_folder_says_of_its_head_is_not_taken_on_trust(tmp_path: Path, head: Any) -> None:
    write_folder(tmp_path, head=head)
    with pytest.raises(ModelError, match=r"config\.json holds what robaudit cannot use \(head"):
        load_model(tmp_path)


# Normalisation, input, device


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"mean": MEAN}, "--mean and --std belong together"),
        ({"std": STD}, "--mean and --std belong together"),
        ({"mean": (0.5,), "std": (0.5,)}, r"takes 3 channel\(s\)"),
        ({"mean": MEAN, "std": (1, 0, 1)}, "std above 0"),
        ({"mean": (float("nan"),) * 3, "std": STD}, "got mean .*pass --mean and --std with one number per channel"),
        ({"device": "banana"}, "--device banana: is not usable here"),
    ],
)
def test_settings_that_do_not_fit_the_model(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    state_dict(tmp_path / "m.pt")
    with pytest.raises(ModelError, match=expected):
        load_model(tmp_path / "m.pt", arch=ARCH, **options)


def test_a_grid_the_network_cannot_take_is_said_at_once(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_tiny_patch16_224", num_classes=2).state_dict(), tmp_path / "vit.pt")
    with pytest.raises(ModelError, match=r"takes no 64x64 images .*--input-size"):
        load_model(tmp_path / "vit.pt", arch="vit_tiny_patch16_224", input_size=(64, 64))


# What does not fit


def test_an_architecture_timm_does_not_know(tmp_path: Path) -> None:
    state_dict(tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"timm knows no architecture 'resnet19'; see timm\.list_models"):
        load_model(tmp_path / "m.pt", arch="resnet19")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: w.pop("layer1.0.conv1.weight"), "1 missing, such as layer1.0.conv1.weight"),
        (lambda w: w.update({"more.weight": torch.zeros(1)}), "1 unexpected, such as more.weight"),
        (
            lambda w: w.update({"bn1.bias": torch.zeros(5)}),
            r"1 of another shape, such as bn1.bias \[5\] instead of \[32\]",
        ),
        (lambda w: w.pop("fc.weight"), "1 missing, such as fc.weight"),
    ],
)
def test_a_misfit_names_keys(tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], expected: str) -> None:
    changed = weights()
    change(changed)
    torch.save(changed, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=rf"does not fit test_resnet \({expected}\); pass another --arch"):
        load_model(tmp_path / "m.pt", arch=ARCH)


@pytest.mark.parametrize(
    "config",
    [
        {"mean": 0.5, "std": 0.5},
        {"mean": ["x"] * 3, "std": ["y"] * 3},
        {"label_names": 2},
        {"input_size": 224},
        {"pretrained_cfg": 3},
        {"pretrained_cfg": {"input_size": [3, "high", "wide"]}},
        {"shown": "--invert"},
        {"shown": [f"--trust {'0' * 64}"]},
    ],
)
def test_a_folder_whose_configuration_makes_no_sense(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"its config\.json holds what robaudit cannot use"):
        load_model(write_folder(tmp_path / "m", **config))


# Files that are no model


CANARY = "ROBAUDIT_TEST_CANARY"


class Bomb(nn.Linear):
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, (f"import os; os.environ[{CANARY!r}] = 'it ran'",)


def write_pickled_module(path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 2)), path)


def write_bomb(path: Path) -> None:
    torch.save({"state_dict": weights(), "hook": Bomb(1, 1)}, path)


def write_legacy_bomb(path: Path) -> None:
    torch.save({"state_dict": weights(), "hook": Bomb(1, 1)}, path, _use_new_zipfile_serialization=False)


def write_plain_pickle_bomb(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(1, 1)))


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (write_pickled_module, r"is a pickled module.*torch\.nn\.modules"),
        (write_legacy_bomb, r"needs code to load \(.*exec\)"),
        (write_plain_pickle_bomb, r"is a pickle that torch\.save did not write.*exec"),
    ],
)
def test_code_in_a_file_is_named_and_does_not_run(tmp_path: Path, write: Callable[[Path], None], named: str) -> None:
    write(tmp_path / "m.pt")
    with pytest.raises(ModelError, match=named):
        load_model(tmp_path / "m.pt")
    assert CANARY not in os.environ


def test_code_beside_weights_is_left_out_and_told(tmp_path: Path) -> None:
    write_bomb(tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", arch=ARCH)
    assert torch.equal(answers(loaded), by_hand(NETWORK, PICTURES, IMAGENET_MEAN, IMAGENET_STD))
    assert loaded.info.loading is not None
    assert loaded.info.loading.left_out == ("builtins.exec",) or loaded.info.loading.left_out == ("__builtin__.exec",)
    assert CANARY not in os.environ


def test_torchscript_without_a_module_is_refused(tmp_path: Path) -> None:
    import zipfile

    torch.save({}, tmp_path / "m.pt")
    with zipfile.ZipFile(tmp_path / "m.pt", "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/code/__torch__.py", "")
    with pytest.raises(ModelError, match=r"its data holds no module; save model\.state_dict\(\)"):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize("write", [state_dict, safetensors, legacy])
@pytest.mark.parametrize("kept", [0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, write: Callable[[Path], None], kept: float) -> None:
    path = tmp_path / "m.pt"
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ModelError, match="fetch or save it again"):
        load_model(path, arch=ARCH)


def archived(path: Path, form: str) -> None:
    folder = path.parent / "packed"
    folder.mkdir()
    (folder / "m.pt").write_bytes(b"weights")
    Path(shutil.make_archive(str(path), form, folder)).rename(path)


def shards(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"architecture": ARCH}))
    for number in (1, 2):
        (path / f"model-0000{number}-of-00002.safetensors").write_bytes(b"weights")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "cannot be read"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("weights"), "is a text file"),
        (lambda path: path.mkdir(), "is a folder without config.json"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no state dict"),
        (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(9)), "is a TensorFlow Lite file"),
        (lambda path: path.write_bytes(b"GGUF" + bytes(9)), "is a GGUF file"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "is an HDF5 file, as Keras writes"),
        (lambda path: archived(path, "tar"), "is a tar archive .unpack it first"),
        (lambda path: archived(path, "zip"), r"holds no model \(m.pt\), but a file that may be one: unpack it first"),
        (lambda path: shards(path), "has its weights in 2 parts .*max_shard_size"),
    ],
)
def test_what_is_no_model_is_said_in_one_line(tmp_path: Path, make: Callable[[Path], Any], expected: str) -> None:
    path = tmp_path / "model"
    make(path)
    with pytest.raises(ModelError, match=expected) as caught:
        load_model(path, arch=ARCH)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).splitlines()) == 1
