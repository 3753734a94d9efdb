"""The grid a model is asked on: what a person says, else the file, else the architecture; and the record says which."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from backbones import pictures
from containers import exported_for_one, write_timm_folder
from torch import nn

from robaudit.errors import ModelError
from robaudit.front.front import Front
from robaudit.load import architecture
from robaudit.load.classifier import Classifier
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.model import load_model
from robaudit.retrofit.model_folder import write_model

UNCHANGED = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


def saved(path: Path, arch: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    made = timm.create_model(arch, num_classes=2, **options).eval()
    torch.save(made.state_dict(), path)
    return made


@pytest.mark.parametrize(
    ("arch", "side"),
    [
        ("test_resnet", 160),
        ("efficientnet_b3", 288),
        ("swinv2_tiny_window8_256", 256),
        ("deit3_small_patch16_384", 384),
        ("inception_v3", 299),
        ("torchvision:efficientnet_b3", 300),
        ("torchvision:swin_v2_t", 256),
        ("torchvision:maxvit_t", 224),
        ("torchvision:vit_h_14", 224),
        ("torchvision:vit_b_16", 224),
    ],
)
def test_what_a_library_trains_it_at(arch: str, side: int) -> None:
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in architecture.create(arch, 2).state_dict().items()}
    assert architecture.native_size(arch, shapes) == ((side, side), "architecture")


def test_the_record_and_inspect_say_where_the_size_is_from(tmp_path: Path) -> None:
    plain, positions, folder, program = (tmp_path / name for name in ("plain", "positions", "folder", "program"))
    made = saved(plain, "test_resnet")
    saved(positions, "test_vit", img_size=64)
    write_timm_folder(made, folder, "test_resnet", input_size=[3, 32, 48])
    exported_for_one(made, pictures(32), program)
    expected = [
        (plain, {}, (160, 160), "architecture"),
        (positions, {}, (64, 64), "weights"),
        (folder, {}, (32, 48), "configuration"),
        (program, {}, (32, 32), "program"),
        (folder, {"input_size": (64, 64)}, (64, 64), "given"),
        (plain, {"factory": f"{__name__}:network"}, (224, 224), "assumed"),
    ]
    for path, options, size, source in expected:
        loaded = load_model(path, **options)
        assert (loaded.size, loaded.info.input.source) == (size, source)
        if not options and path is not program:
            document = describe(read_contents(path)).document()
            assert (document["input_size"], document["input_size_source"]) == (size, source)


def test_pictures_that_would_fill_the_memory_are_not_made(tmp_path: Path) -> None:
    """240 GB for the two that a model is tried on."""
    write_timm_folder(
        saved(tmp_path / "m", "test_resnet"), tmp_path / "folder", "test_resnet", input_size=[3, 10**5, 10**5]
    )
    for path, options in ((tmp_path / "folder", {}), (tmp_path / "m", {"input_size": (10**5, 10**5)})):
        with pytest.raises(ModelError, match=r"would take 100000x100000 images of 3 channel\(s\).*--input-size"):
            load_model(path, **options)


def network() -> nn.Module:
    made: nn.Module = timm.create_model("test_resnet", num_classes=2)
    return made


def test_a_folder_of_timm_that_says_nothing_of_its_size(tmp_path: Path) -> None:
    write_timm_folder(network(), tmp_path, "test_resnet", num_classes=2, model_args={"global_pool": "max"})
    loaded = load_model(tmp_path)
    assert (loaded.size, loaded.info.input.source) == ((160, 160), "architecture")


SWIN = "swin_tiny_patch4_window7_224"


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A Swin of another size than its architecture's, which nothing among its weights tells."""
    path = tmp_path_factory.mktemp("swin") / "m.pt"
    return saved(path, SWIN, img_size=(256, 224)), path


def test_a_swin_is_built_for_the_size_that_is_asked_for(swin: tuple[nn.Module, Path], tmp_path: Path) -> None:
    made, path = swin
    seen = torch.rand(1, 3, 256, 224, generator=torch.Generator().manual_seed(0))
    loaded = load_model(path, input_size=(256, 224), **UNCHANGED)
    with torch.no_grad():
        assert torch.equal(loaded.classifier(seen), made(seen))
    whole = Classifier(loaded.classifier.backbone, loaded.classifier.normalization, in_chans=3, front=Front(3, 3))
    write_model(tmp_path, whole.eval(), loaded.info, 3, loaded.recipe)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path).classifier(seen), whole(seen))


def test_a_folder_tells_a_swin_its_size(swin: tuple[nn.Module, Path], tmp_path: Path) -> None:
    write_timm_folder(swin[0], tmp_path, SWIN, pretrained_cfg={"input_size": [3, 256, 224]})
    loaded = load_model(tmp_path, **UNCHANGED)
    assert (loaded.size, loaded.info.input.source) == ((256, 224), "configuration")


def test_a_size_that_a_swin_cannot_be_built_for(swin: tuple[nn.Module, Path]) -> None:
    with pytest.raises(ModelError, match=r"takes no 16x16 images .*pass another --input-size; its own is 224x224$"):
        load_model(swin[1], input_size=(16, 16))


@pytest.mark.parametrize(("arch", "size"), [("test_maxvit", (64, 96)), ("mixer_s32_224", (64, 64))])
def test_a_size_that_is_not_that_of_the_weights(tmp_path: Path, arch: str, size: tuple[int, int]) -> None:
    saved(tmp_path / "m", arch)
    with pytest.raises(ModelError, match=rf"takes no {size[0]}x{size[1]} images .*--input-size") as caught:
        load_model(tmp_path / "m", arch=arch, input_size=size)
    assert len(str(caught.value).splitlines()) == 1
