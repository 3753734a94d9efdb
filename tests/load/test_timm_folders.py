"""Folders that timm itself writes: its own options, classes and sizes come back, or are refused by name."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from containers import write_timm_folder
from timm.models import save_for_hf

from robaudit.errors import ModelError
from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.load.model import load_model
from robaudit.retrofit.model_folder import write_model

NAMES = ["well", "ill", "unsure"]


@pytest.mark.parametrize(
    ("arch", "options", "size"),
    [
        ("test_resnet", {}, 160),
        ("test_resnet", {"global_pool": "max"}, 160),
        ("test_resnet", {"act_layer": "gelu"}, 160),
        ("test_efficientnet", {"bn_eps": 0.1, "pad_type": "same"}, 160),
        ("test_vit", {"img_size": 96}, 96),
        ("test_vit", {"img_size": 64, "global_pool": "avg"}, 64),
        ("test_resnet", {"drop_path_rate": 0.1, "in_chans": 4}, 160),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_arguments_that_timm_built_it_with(tmp_path: Path, arch: str, options: dict[str, Any], size: int) -> None:
    torch.manual_seed(0)
    made = timm.create_model(arch, num_classes=3, **options).eval()
    save_for_hf(made, tmp_path / "m", model_config={"label_names": NAMES})
    loaded = load_model(tmp_path / "m")
    seen = torch.rand(2, options.get("in_chans", 3), size, size)
    mean, std = loaded.info.normalization.mean, loaded.info.normalization.std
    taken = (seen - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(seen), made(taken))
    assert (loaded.size, loaded.info.arch, loaded.info.classes) == ((size, size), arch, tuple(NAMES))


def test_they_outlive_a_retrofit(tmp_path: Path) -> None:
    made = timm.create_model("test_resnet", num_classes=3, global_pool="max").eval()
    save_for_hf(made, tmp_path / "m")
    vanilla = load_model(tmp_path / "m", classes=NAMES)
    whole = Classifier(vanilla.classifier.backbone, vanilla.classifier.normalization, in_chans=3, front=Front(1, 3))
    (tmp_path / "retrofit").mkdir()
    write_model(tmp_path / "retrofit", whole.eval(), vanilla.info, 1, vanilla.recipe)
    seen = torch.rand(2, 1, 160, 160)
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "retrofit").classifier(seen), whole(seen))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"depth": 10**9}, "its model_args set depth, which robaudit does not pass on to timm; pass the weights file"),
        ({"checkpoint_path": "/etc/passwd", "pretrained": True}, "its model_args set checkpoint_path, pretrained,"),
        ({"img_size": 10**9}, "input_size holds something else than sizes"),
        ({"global_pool": {"of": "x"}}, "its model_args set global_pool"),
        ({"act_layer": "no such"}, "cannot be built with its model_args"),
        ({"global_pool": "catavgmax"}, r"does not fit test_resnet \(1 of another shape, such as fc.weight"),
    ],
)
def test_other_arguments_are_refused(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    made = timm.create_model("test_resnet", num_classes=3)
    write_timm_folder(made, tmp_path, "test_resnet", num_classes=3, model_args=options)
    with pytest.raises(ModelError, match=expected):
        load_model(tmp_path, input_size=(32, 32))


@pytest.mark.parametrize(
    "config",
    [
        {"label_names": {"2": "unsure", "0": "well", "1": "ill"}},
        {"pretrained_cfg": {"label_names": NAMES}},
        {"labels": NAMES},
    ],
)
def test_every_way_in_which_timm_names_classes(tmp_path: Path, config: dict[str, Any]) -> None:
    write_timm_folder(timm.create_model("test_resnet", num_classes=3), tmp_path, "test_resnet", **config)
    assert load_model(tmp_path, input_size=(32, 32)).info.classes == tuple(NAMES)
