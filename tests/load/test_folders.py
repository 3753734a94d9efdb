"""Hugging Face folders, MONAI bundles and models of the hub: small ones, made here by the libraries themselves."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from containers import write_timm_folder
from safetensors.torch import save_file
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.hub import local_folder
from robaudit.load.kinds import Kind
from robaudit.load.model import load_model
from robaudit.load.preprocessor import normalization

GREY = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def answers(path: Path, pictures: Tensor, **options: Any) -> Tensor:
    return load_model(path, **options).classifier(pictures)


# Hugging Face


def vit(folder: Path, **config: Any) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    described = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16,
        num_channels=1, id2label={0: "well", 1: "ill", 2: "unsure"}, **config,
    )  # fmt: skip
    made = transformers.ViTForImageClassification(described).eval()
    made.save_pretrained(folder)
    preprocessor = {"image_mean": [0.25], "image_std": [0.5], "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return made


@pytest.mark.filterwarnings("ignore")
def test_a_hugging_face_folder_says_everything_itself(tmp_path: Path) -> None:
    made = vit(tmp_path)
    loaded = load_model(tmp_path, folder_classes=("ill", "unsure", "well"))
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(GREY), made((GREY - 0.25) / 0.5).logits)
    assert loaded.info.classes == ("well", "ill", "unsure")
    assert (loaded.size, loaded.info.arch) == ((32, 32), "ViTForImageClassification")
    assert describe(read_contents(tmp_path)).obstacle is None
    with pytest.raises(ModelError, match="has 3 outputs, got --label-index 3; wanted one of 0 well, 1 ill, 2 unsure"):
        load_model(tmp_path, label_index=3)


@pytest.mark.filterwarnings("ignore")
def test_findings_that_do_not_exclude_each_other_are_not_audited_together(tmp_path: Path) -> None:
    vit(tmp_path, problem_type="multi_label_classification")
    with pytest.raises(ModelError, match=r"do not exclude each other.*--label-index \(0 well, 1 ill, 2 unsure\)"):
        load_model(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_an_absurd_configuration_takes_no_memory(tmp_path: Path) -> None:
    vit(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"hidden_size": 2_000_000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not fit ViTForImageClassification"):
        load_model(tmp_path)


# MONAI


def bundle(folder: Path, network: nn.Module, definition: dict[str, Any] | None = None) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    data = {
        "inputs": {"image": {"num_channels": 1, "spatial_shape": [32, 32], "value_range": [-1, 1]}},
        "outputs": {"pred": {"channel_def": {"0": "well", "1": "ill"}}},
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": data}))
    if definition is not None:
        (folder / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}))
    torch.save({"model": network.state_dict()}, folder / "models" / "model.pt")
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("known", [True, False])
def test_a_monai_bundle(tmp_path: Path, known: bool) -> None:
    """Its DenseNet121 is torchvision's by other names; any other network is built by MONAI itself."""
    nets = pytest.importorskip("monai.networks.nets")
    torch.manual_seed(0)
    options: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
    if not known:
        options |= {"init_features": 8, "growth_rate": 4, "block_config": [1, 2]}
    made = (nets.DenseNet121 if known else nets.DenseNet)(**options).eval()
    definition = None if known else {"_target_": "DenseNet", **options}
    loaded = load_model(bundle(tmp_path / "b", made, definition))
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(GREY), made(GREY * 2 - 1), rtol=1e-4, atol=1e-5)
    assert (loaded.info.classes, loaded.size) == (("well", "ill"), (32, 32))
    assert loaded.info.arch == ("densenet121" if known else "DenseNet")
    assert loaded.info.normalization.source == "value_range -1 to 1"
    assert read_contents(tmp_path / "b").kind == Kind.MONAI_BUNDLE


def test_whatever_a_folder_configures_is_part_of_its_hash(tmp_path: Path) -> None:
    made = nn.Sequential(nn.Conv2d(1, 2, 3))
    hashes = [
        read_contents(bundle(tmp_path / str(index), made, definition)).sha256
        for index, definition in enumerate((None, {"_target_": "DenseNet"}, {"_target_": "SENet"}))
    ]
    torch.save(made.state_dict(), tmp_path / "pytorch_model.bin")
    config = {"architectures": ["ResNetForImageClassification"], "model_type": "resnet"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for mean in (None, 0.25, 0.5):
        if mean is not None:
            (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [mean] * 3}))
        hashes.append(read_contents(tmp_path).sha256)
    assert len(set(hashes)) == 6


MONAIS: list[tuple[str, str, dict[str, Any]]] = [
    ("DenseNet121", "monai.networks.nets.DenseNet121", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}),
    ("densenet121", "monai.networks.nets.densenet.densenet121",
     {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_features": 16, "growth_rate": 8}),
    ("resnet18", "monai.networks.nets.resnet.resnet18",
     {"spatial_dims": 2, "n_input_channels": 1, "num_classes": 2, "conv1_t_stride": [2, 2]}),
    ("resnet10", "monai.networks.nets.resnet10", {"spatial_dims": 2, "n_input_channels": 1, "num_classes": 2}),
    ("EfficientNetBN", "EfficientNetBN", {"model_name": "efficientnet-b0", "in_channels": 1, "num_classes": 2}),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "target", "options"), MONAIS, ids=[name for name, *_ in MONAIS])
def test_a_network_of_monai_by_any_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, target: str, options: dict[str, Any]
) -> None:
    """Nothing is downloaded either, though EfficientNetBN does that unless it is told not to."""
    nets = pytest.importorskip("monai.networks.nets")
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("downloads"))
    torch.manual_seed(0)
    unlearnt = {"pretrained": False} if name == "EfficientNetBN" else {}
    made = getattr(nets, name)(**options, **unlearnt).eval()
    folder = bundle(tmp_path / "b", made, {"_target_": target, **options})
    loaded = load_model(folder)
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(GREY), made(GREY * 2 - 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"_target_": "scripts.mine.DenseNet121"}, r"its network scripts\.mine\.DenseNet121 is no classifier of MONAI"),
        ({"_target_": "os.system", "command": "true"}, r"its network os\.system is no classifier of MONAI"),
        ({"_target_": "monai.networks.nets.resnet"}, "is no classifier of MONAI"),
        ({"_target_": "monai.networks.nets.UNet"}, "is no classifier of MONAI"),
        ({"_target_": "TorchVisionFCModel", "model_name": "get_model"}, "is no classifier of MONAI"),
        ({"_target_": "resnet18", "num_classes": "$1 + 1"}, "holds expressions, which are not evaluated"),
        ({"_target_": "DenseNet", "norm": ["batch", {"_target_": "os.system"}]}, "holds expressions"),
        ({"_target_": "ResNet", "layers": [10**9], "block": "basic"}, r"more than 1000 layers \(layers\)"),
        ({"_target_": "DenseNet121", "no_such": 1}, "cannot be built from its network_def"),
    ],
)
def test_other_networks_than_monais_own_are_not_built(tmp_path: Path, definition: dict[str, Any], said: str) -> None:
    pytest.importorskip("monai.networks.nets")
    with pytest.raises(ModelError, match=said):
        load_model(bundle(tmp_path / "b", nn.Sequential(nn.Conv2d(1, 2, 3)), definition))


@pytest.mark.filterwarnings("ignore")
def test_a_hugging_face_network_of_a_thousand_million_layers(tmp_path: Path) -> None:
    vit(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"num_hidden_layers": 10**9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"asks for more than 1000 layers \(num_hidden_layers\)"):
        load_model(tmp_path)


# What a preprocessor does


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ViTImageProcessor", {}),
        ("ViTImageProcessor", {"do_rescale": False, "image_mean": [120.0, 110.0, 100.0], "image_std": [60.0] * 3}),
        ("ViTImageProcessor", {"rescale_factor": 1 / 127.5}),
        ("ViTImageProcessor", {"do_normalize": False, "do_rescale": False}),
        ("EfficientNetImageProcessor", {"image_std": [0.2, 0.3, 0.4]}),
        ("EfficientNetImageProcessor", {"rescale_offset": True, "rescale_factor": 1 / 127.5, "include_top": False}),
        ("EfficientNetImageProcessor", {"do_normalize": False, "image_std": [0.2, 0.3, 0.4]}),
        ("EfficientNetImageProcessor", {"do_normalize": False, "include_top": False}),
        ("EfficientNetImageProcessor", {"rescale_offset": True, "do_rescale": False}),
        ("EfficientNetImageProcessor", {"rescale_offset": True, "do_normalize": False, "image_std": [0.2, 0.3, 0.4]}),
        ("MobileViTImageProcessor", {}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_pixels_reach_the_network_as_the_librarys_own_preprocessor_brings_them(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, kind)(do_resize=False, do_center_crop=False, **options)
    processor.save_pretrained(tmp_path)
    picture = torch.randint(0, 256, (3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    wanted = processor(picture, return_tensors="pt")["pixel_values"][0].float()
    found = normalization(json.loads((tmp_path / "preprocessor_config.json").read_text()), 3)
    mean, std = (torch.tensor(found[name])[:, None, None] for name in ("mean", "std"))
    turned = "--bgr" in found.get("normalization_source", "")
    assert turned == (kind == "MobileViTImageProcessor")
    torch.testing.assert_close(((picture.flip(0) if turned else picture) / 255 - mean) / std, wanted)


@pytest.mark.parametrize(
    ("left_out", "known"),
    [("include_top", True), ("rescale_offset", True), ("image_std", False), ("image_mean", False)],
)
def test_what_a_preprocessor_leaves_to_its_class(left_out: str, known: bool) -> None:
    """EfficientNet's divides by the deviation once more unless it is told not to."""
    written = {
        "image_processor_type": "EfficientNetImageProcessorFast", "image_mean": [0.5] * 3, "image_std": [0.2] * 3,
        "do_normalize": True, "include_top": True, "rescale_offset": False,
    }  # fmt: skip
    del written[left_out]
    found = normalization(written, 3)
    assert found == ({"mean": pytest.approx([0.5] * 3), "std": pytest.approx([0.04] * 3)} if known else {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("beside", [False, True])
def test_what_transformers_5_says_of_pixels_in_the_file_of_all_processors(tmp_path: Path, beside: bool) -> None:
    """Beside the older file too, which it then leaves unread."""
    transformers = pytest.importorskip("transformers", minversion="5")
    vit(tmp_path)
    if not beside:
        (tmp_path / "preprocessor_config.json").unlink()
    nested = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.75], "image_std": [0.125]}
    nested |= {"size": {"height": 48, "width": 48}, "do_resize": False}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": nested}))
    wanted = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(
        (GREY[0] * 255).round().byte().numpy(), input_data_format="channels_first", return_tensors="pt"
    )["pixel_values"]
    config = read_contents(tmp_path).metadata
    found = ((GREY[:1] * 255).round() / 255 - config["mean"][0]) / config["std"][0]
    torch.testing.assert_close(found, wanted.float())
    assert config["input_size"] == [1, 48, 48]


def test_other_processors_are_none_of_images(tmp_path: Path) -> None:
    vit(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    assert read_contents(tmp_path).metadata["mean"] == [0.25]


def test_a_preprocessor_that_makes_no_sense(tmp_path: Path) -> None:
    vit(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"rescale_factor": [1], "image_mean": [0.5]}))
    with pytest.raises(ModelError, match=r"preprocessor_config.json: cannot be used .*; correct it, or pass"):
        load_model(tmp_path)


# The hub


def cached(cache: Path, network: nn.Module) -> None:
    """What the hub's own client leaves behind after it has fetched a model."""
    repository = cache / "models--clinic--chest"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    write_timm_folder(network, repository / "snapshots" / ("0" * 40), "test_resnet", label_names=["well", "ill"])


def test_a_model_of_the_hub_and_a_hub_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    made = timm.create_model("test_resnet", num_classes=2).eval()
    cached(tmp_path, made)
    pictures = torch.rand(2, 3, 32, 32)
    name = Path("hf-hub:clinic/chest")
    with torch.no_grad():
        found = answers(name, pictures, mean=[0, 0, 0], std=[1, 1, 1], input_size=(32, 32))
        assert torch.equal(found, made(pictures))
    assert load_model(name, input_size=(32, 32)).info.path == "hf-hub:clinic/chest"
    with pytest.raises(ModelError, match=r"^hf-hub:clinic/other: cannot be fetched .*or pass a local folder"):
        load_model(Path("hf-hub:clinic/other"))


def test_whatever_says_how_images_are_prepared_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda _, name, **__: asked.append(name) or tmp_path / name)
    assert local_folder(Path("hf-hub:clinic/chest")) == tmp_path
    assert {"config.json", "preprocessor_config.json", "processor_config.json", "model.safetensors"} == set(asked)


def test_a_timm_wrapper_of_hugging_face_is_a_timm_folder(tmp_path: Path) -> None:
    made = timm.create_model("test_resnet", num_classes=2).eval()
    write_timm_folder(made, tmp_path, "test_resnet", model_type="timm_wrapper")
    save_file({f"timm_model.{name}": t for name, t in made.state_dict().items()}, tmp_path / "model.safetensors")
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        found = answers(tmp_path, pictures, mean=[0, 0, 0], std=[1, 1, 1], input_size=(32, 32))
        assert torch.equal(found, made(pictures))
