"""Architectures are told from the weights that timm itself makes; none is allocated here but for its shapes."""

import pytest
import timm
import torch

from robaudit.errors import ModelError
from robaudit.load import architecture
from robaudit.load.model import load_model

COMMON = [
    "resnet18", "resnet34", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "densenet121", "densenet169",
    "efficientnet_b0", "mobilenetv3_small_100", "convnext_tiny", "vit_tiny_patch16_224", "vit_small_patch16_224",
    "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224", "vgg11", "vgg16_bn",
]  # fmt: skip


def shapes_of(arch: str, n_classes: int = 5, in_chans: int = 3) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        made = timm.create_model(arch, num_classes=n_classes, in_chans=in_chans)
    return {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}


@pytest.mark.parametrize("arch", COMMON)
def test_keys_and_shapes_tell_the_architecture_and_its_classes(arch: str) -> None:
    shapes = shapes_of(arch)
    assert architecture.candidates(shapes) == (arch,)
    assert architecture.n_classes(arch, shapes) == 5


@pytest.mark.parametrize("arch", ["resnet18", "densenet121", "convnext_tiny", "vit_tiny_patch16_224"])
def test_one_channel_weights_are_recognised_too(arch: str) -> None:
    shapes = shapes_of(arch, in_chans=1)
    assert architecture.candidates(shapes) == (arch,)
    assert architecture.in_chans(arch, shapes) == 1


@pytest.mark.parametrize("arch", [name for names in architecture.FAMILIES.values() for name in names])
def test_every_architecture_tried_has_the_key_that_its_family_goes_by(arch: str) -> None:
    """A name in the wrong family, or unknown to timm, could never be found."""
    family = next(key for key, names in architecture.FAMILIES.items() if arch in names)
    assert family in shapes_of(arch)


def test_the_same_weights_are_no_other_architecture() -> None:
    shapes = shapes_of("resnet18")
    assert architecture.n_classes("resnet34", shapes) is None
    assert "missing, such as layer1.2.conv1.weight" in architecture.misfit("resnet34", shapes)
    assert architecture.misfit("resnet18", shapes) == ""


def test_unknown_weights_are_met_with_the_next_step(tmp_path) -> None:
    torch.save({"my.weight": torch.zeros(2, 2), "my.bias": torch.zeros(2)}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"fits no architecture .*keys such as my.weight, my.bias\); pass --arch"):
        load_model(tmp_path / "m.pt")


def test_a_known_family_that_fits_no_member_is_met_with_the_next_step(tmp_path) -> None:
    weights = timm.create_model("test_resnet", num_classes=2).state_dict()
    weights["layer1.0.conv1.weight"] = torch.zeros(7, 7, 3, 3)
    torch.save(weights, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="pass --arch, a timm name"):
        load_model(tmp_path / "m.pt")


def test_a_file_without_a_word_about_its_architecture_loads(tmp_path) -> None:
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), tmp_path / "m.pt")
    info = load_model(tmp_path / "m.pt").info
    assert (info.arch, info.n_classes) == ("test_resnet", 3)
