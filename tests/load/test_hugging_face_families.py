"""Hugging Face folders of every family of networks that its library has, as the library itself writes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from backbones import pictures
from heads import two
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from robaudit.audit.scan import scan
from robaudit.errors import ModelError
from robaudit.load.model import load_model
from robaudit.retrofit.assimilate import assimilate

FAMILIES: dict[str, dict[str, Any]] = {
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "EfficientNet": {"width_coefficient": 0.2, "depth_coefficient": 0.1, "hidden_dim": 256},
    "ConvNext": {"num_stages": 2, "hidden_sizes": [8, 16], "depths": [1, 1]},
    "ViT": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "DeiT": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
    "Swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    "MobileNetV2": {"depth_multiplier": 0.1, "min_depth": 4},
    "RegNet": {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "groups_width": 4},
}
HEADS: dict[str, tuple[int, dict[str, Any]]] = {
    "logits": (3, {}), "one logit": (1, {}), "one finding of three": (3, {"label_index": 2}),
}  # fmt: skip


def saved(folder: Path, family: str, n_outputs: int) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    options = FAMILIES[family] | ({"image_size": 32} if family in ("ViT", "DeiT", "Swin", "MobileNetV2") else {})
    torch.manual_seed(n_outputs)
    described = getattr(transformers, f"{family}Config")(num_labels=n_outputs, **options)
    made: nn.Module = getattr(transformers, f"{family}ForImageClassification")(described).train()
    with torch.no_grad():
        for head in (
            layer for layer in made.modules() if isinstance(layer, nn.Linear) and layer.out_features == n_outputs
        ):
            nn.init.normal_(head.weight)
            nn.init.constant_(head.bias, -9 if n_outputs == 1 else 0)
        if family not in ("ViT", "DeiT", "Swin", "ConvNext"):
            made(torch.rand(4, 3, 32, 32))  # statistics of batch norm
    made.eval().save_pretrained(folder)
    preprocessor = {"image_mean": [0.25] * 3, "image_std": [0.5] * 3, "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_gives_the_logits_of_the_network_it_was_saved_from(tmp_path: Path, family: str, head: str) -> None:
    n_outputs, options = HEADS[head]
    made, seen = saved(tmp_path, family, n_outputs), pictures(32)
    loaded = load_model(tmp_path, **options).with_outputs_seen_on(seen)
    with torch.no_grad():
        z = made((seen - 0.25) / 0.5).logits
        expected = two(z[:, 2:] if options else z) if head != "logits" else z
        torch.testing.assert_close(loaded.classifier(seen), expected, rtol=1e-4, atol=1e-5)
    assert (loaded.size, loaded.info.input.source) == ((32, 32), "configuration")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
def test_weights_are_not_rounded_to_the_precision_that_a_configuration_names(tmp_path: Path, key: str) -> None:
    """Such as one that was trained in half precision and saved in full."""
    made = saved(tmp_path, "ViT", 3)
    config = json.loads((tmp_path / "config.json").read_text())
    config = {name: value for name, value in config.items() if name not in ("dtype", "torch_dtype")}
    (tmp_path / "config.json").write_text(json.dumps(config | {key: "bfloat16"}))
    loaded = load_model(tmp_path).classifier.backbone.state_dict().values()
    assert all(torch.equal(weight, own) for weight, own in zip(loaded, made.state_dict().values(), strict=True))


@pytest.mark.filterwarnings("ignore")
def test_weights_are_not_rounded_to_the_precision_of_the_first(tmp_path: Path) -> None:
    made = saved(tmp_path, "ViT", 3)
    first, *_ = made.state_dict()
    weights = made.state_dict() | {first: made.state_dict()[first].bfloat16()}
    save_file(weights, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in config.items() if "dtype" not in k}))
    loaded = load_model(tmp_path).classifier.backbone.state_dict().values()
    assert all(torch.equal(weight, own.float()) for weight, own in zip(loaded, weights.values(), strict=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("audit", [scan, assimilate], ids=["scan", "assimilate"])
def test_colours_that_a_preprocessor_turns_round_are_asked_for(tmp_path: Path, audit: Callable[..., Any]) -> None:
    saved(tmp_path / "m", "ViT", 2)
    file = tmp_path / "m" / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"do_flip_channel_order": True, "do_normalize": True}))
    colours = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    for number, pixels in enumerate(colours):
        place = tmp_path / "data" / ("train", "train", "val", "test")[number % 4] / f"LABEL_{number // 4 % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number}.png")
    with pytest.raises(ModelError, match=r"takes blue, green, red, .* come as red, .*; pass --bgr, or correct"):
        audit(tmp_path / "m", tmp_path / "data", out=tmp_path / "out")
    loaded = load_model(tmp_path / "m")
    loaded.require_channels(3, bgr=True)
    loaded.require_channels(1, bgr=False)  # grey is the same in any order


@pytest.mark.filterwarnings("ignore")
def test_a_regression_is_no_classifier(tmp_path: Path) -> None:
    """Transformers itself writes this of one output that was trained with whole or broken numbers as labels."""
    saved(tmp_path, "ResNet", 1)
    config = json.loads((tmp_path / "config.json").read_text()) | {"problem_type": "regression"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"its configuration says regression, .* remove problem_type"):
        load_model(tmp_path)
