"""Architectures are told from the weights that their libraries make; none is allocated here but for its shapes."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from robaudit.errors import ModelError
from robaudit.load import architecture
from robaudit.load.architecture_index import INDEX_FILE, look_up
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.model import load_model

TIMM = [
    "resnet18", "resnet50", "wide_resnet50_2", "densenet121", "convnext_tiny", "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224", "vgg16_bn", "mobilenetv2_100", "regnety_002",
    "inception_v3", "xception41", "maxvit_tiny_tf_224", "vit_small_patch14_dinov2",
]  # fmt: skip
TORCHVISION = [
    "vit_b_16", "swin_t", "swin_v2_t", "efficientnet_b0", "convnext_tiny", "mobilenet_v3_small", "mobilenet_v2",
    "vgg16_bn", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "regnet_y_400mf", "alexnet", "googlenet",
    "maxvit_t",
]  # fmt: skip
ALL = [*TIMM, *(f"torchvision:{name}" for name in TORCHVISION)]


def shapes_of(arch: str, n_classes: int = 5, in_chans: int = 3) -> dict[str, tuple[int, ...]]:
    with torch.device("cpu" if "regnet_" in arch else "meta"):
        made = architecture.create(arch, n_classes, in_chans)
    return {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}


@pytest.mark.parametrize("arch", ALL)
def test_keys_and_shapes_tell_the_architecture_and_its_classes(arch: str) -> None:
    shapes = shapes_of(arch)
    assert architecture.candidates(shapes) == (arch,)
    assert architecture.n_classes(arch, shapes) == 5


@pytest.mark.parametrize("arch", ["resnet18", "densenet121", "vit_tiny_patch16_224", "torchvision:swin_t"])
@pytest.mark.parametrize("in_chans", [1, 5])
def test_weights_for_other_channels_are_recognised_too(arch: str, in_chans: int) -> None:
    shapes = shapes_of(arch, in_chans=in_chans)
    assert architecture.candidates(shapes) == (arch,)
    assert architecture.in_chans(arch, shapes) == in_chans


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "wide_resnet50_2"])
def test_a_network_that_both_libraries_have_goes_by_timms_name(name: str) -> None:
    assert architecture.candidates(shapes_of(f"torchvision:{name}")) == (name,)


@pytest.mark.parametrize("tf", ["tf_efficientnet_b0", "tf_mobilenetv3_small_100"])
def test_padding_leaves_no_trace_in_the_weights_so_a_person_must_say(tmp_path: Path, tf: str) -> None:
    """TensorFlow's convolutions pad otherwise, and its batch norm has another constant: other logits, same keys."""
    plain = tf.removeprefix("tf_")
    torch.save(timm.create_model(plain, num_classes=2).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ModelError, match=f"fits {plain}, {tf}; say which with --arch"):
        load_model(tmp_path / "m.pt")
    torch.save(
        {"arch": tf, "state_dict": timm.create_model(plain, num_classes=2).state_dict()}, tmp_path / "checkpoint.pt"
    )
    assert load_model(tmp_path / "checkpoint.pt", input_size=(64, 64)).info.arch == tf


def test_positions_tell_the_size_of_the_pictures(tmp_path: Path) -> None:
    made = timm.create_model("vit_tiny_patch16_224", num_classes=2, img_size=64).eval()
    torch.save(made.state_dict(), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", mean=(0, 0, 0), std=(1, 1, 1))
    assert (loaded.info.arch, loaded.size) == ("vit_tiny_patch16_224", (64, 64))
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.classifier(picture), made(picture))


def test_what_training_has_not_learnt_may_be_missing_or_superfluous(tmp_path: Path) -> None:
    made = timm.create_model("test_resnet", num_classes=2).eval()
    weights = {key: value for key, value in made.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(weights | {"layer1.0.relative_position_index": torch.zeros(3)}, tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", mean=(0, 0, 0), std=(1, 1, 1), input_size=(32, 32))
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.classifier(picture), made(picture))


def test_keys_of_monai_and_of_old_torchvision_are_densenets_too(tmp_path: Path) -> None:
    made = architecture.create("densenet121", 2).eval()
    old = {
        key.replace("norm1", "norm.1").replace("conv1", "conv.1").replace("norm2", "norm.2").replace("conv2", "conv.2")
        if "denselayer" in key
        else key: value
        for key, value in made.state_dict().items()
    }
    torch.save(old, tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", mean=(0, 0, 0), std=(1, 1, 1), input_size=(32, 32))
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.classifier(picture), made(picture))


@pytest.mark.parametrize(("arch", "head"), [("test_resnet", "fc"), ("test_efficientnet", "classifier")])
@pytest.mark.parametrize("save", [torch.save, save_file])
def test_dropout_before_the_head_moves_its_name_and_nothing_else(
    tmp_path: Path, arch: str, head: str, save: Any
) -> None:
    made = timm.create_model(arch, num_classes=2).eval()
    setattr(made, head, nn.Sequential(nn.Dropout(0.5), made.get_submodule(head)))
    save(made.eval().state_dict(), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", mean=(0, 0, 0), std=(1, 1, 1), input_size=(32, 32))
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.classifier(picture), made(picture))
    assert describe(read_contents(tmp_path / "m.pt")).architectures == (arch,)


@pytest.mark.parametrize("wrap", [lambda layer: layer, nn.Sequential], ids=["linear", "sequential"])
@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v2", "mnasnet0_5"])
def test_a_plain_layer_in_place_of_torchvisions_classifier_is_its_head(tmp_path: Path, name: str, wrap: Any) -> None:
    made = models.get_model(name, weights=None)
    made.classifier = wrap(nn.Linear(1280, 3))
    torch.save(made.eval().state_dict(), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", mean=(0, 0, 0), std=(1, 1, 1), input_size=(32, 32))
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.classifier(picture), made(picture))
    assert describe(read_contents(tmp_path / "m.pt")).architectures == (f"torchvision:{name}",)


def test_an_architecture_that_does_not_fit_is_not_the_end(tmp_path: Path) -> None:
    made = timm.create_model("test_resnet", num_classes=2)
    made.fc = nn.Sequential(nn.Linear(made.num_features, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(made.state_dict(), tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"2 missing, such as fc.weight; 4 unexpected, .*pass .*--factory") as stop:
        load_model(tmp_path / "m.pt", arch="test_resnet")
    assert "\n" not in str(stop.value)


def test_a_head_of_several_layers_is_not_guessed_at(tmp_path: Path) -> None:
    made = timm.create_model("test_resnet", num_classes=2)
    made.fc = nn.Sequential(nn.Linear(made.num_features, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(made.state_dict(), tmp_path / "m.pt")
    with pytest.raises(ModelError, match="fits no architecture"):
        load_model(tmp_path / "m.pt")


def fill(network: nn.Module) -> nn.Module:
    """Draw every weight by its name, so that two networks of the same keys have the same."""
    dice = torch.Generator().manual_seed(0)
    for key, weight in sorted(network.state_dict().items()):
        if weight.is_floating_point():
            drawn = torch.randn(weight.shape, generator=dice)
            is_scale = weight.dim() == 1 and key.endswith(("weight", "running_var", "gamma"))
            weight.copy_(1 + 0.1 * drawn.abs() if is_scale else drawn / max(1, weight[:1].numel()) ** 0.5)
    return network.eval()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("resnet18", "torchvision:resnet18", True),
        ("densenet121", "torchvision:densenet121", True),
        ("vit_tiny_patch16_224", "deit_tiny_patch16_224", True),
        ("vit_tiny_patch16_224", "vit_tiny_patch16_384", True),
        ("efficientnet_b0", "tf_efficientnet_b0", False),
        ("resnet18", "resnetblur18", False),
    ],
)
@torch.no_grad()
def test_the_index_takes_for_one_what_answers_alike(one: str, other: str, same: bool) -> None:
    picture = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    side = 224 if other.endswith("_384") else None
    first, second = fill(architecture.create(one, 2)), fill(architecture.create(other, 2, size=side))
    assert torch.allclose(first(picture), second(picture), rtol=1e-4, atol=1e-5) is same


def test_the_index_names_only_what_the_installed_libraries_have_or_had() -> None:
    import json

    named = [
        name for hashes in json.loads(INDEX_FILE.read_text()).values() for names in hashes.values() for name in names
    ]
    known = [name for name in named if architecture.is_known(name)]
    assert len(known) > 0.9 * len(named) > 1000
    assert look_up({}) == ()


def test_the_same_weights_are_no_other_architecture() -> None:
    shapes = shapes_of("resnet18")
    assert architecture.n_classes("resnet34", shapes) is None
    assert "missing, such as layer1.2.conv1.weight" in architecture.misfit("resnet34", shapes)
    assert architecture.misfit("resnet18", shapes) == ""


def test_unknown_weights_are_met_with_the_next_step(tmp_path: Path) -> None:
    torch.save({"my.weight": torch.zeros(2, 2), "my.bias": torch.zeros(2)}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"fits no architecture .*keys such as .*weight.*; pass --arch.*--factory"):
        load_model(tmp_path / "m.pt")


def test_a_known_family_that_fits_no_member_is_met_with_the_next_step(tmp_path: Path) -> None:
    weights = timm.create_model("test_resnet", num_classes=2).state_dict()
    weights["layer1.0.conv1.weight"] = torch.zeros(7, 7, 3, 3)
    torch.save(weights, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="pass --arch, a timm name"):
        load_model(tmp_path / "m.pt")


def test_a_file_without_a_word_about_its_architecture_loads(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "m.pt")
    info = load_model(tmp_path / "m.pt").info
    assert (info.arch, info.n_classes) == ("test_resnet", 3)
