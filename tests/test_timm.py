"""timm finds retrofitted models once `robaudit.timm` is imported."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import resolve_data_config

import robaudit.timm  # noqa: F401  registers
from robaudit.errors import ModelError
from robaudit.load.model import load_model
from robaudit.retrofit.assimilate import with_front
from robaudit.retrofit.checkpoint import write_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An assimilated folder."""
    folder = tmp_path_factory.mktemp("model")
    plain = folder / "plain"
    plain.mkdir()
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=2).state_dict(), plain / "model.safetensors")
    cfg = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.25] * 3}
    (plain / "config.json").write_text(json.dumps({"architecture": "test_resnet", "pretrained_cfg": cfg}))
    vanilla = load_model(plain, classes=["sick", "well"])
    classifier = with_front(vanilla, 1, seed=0)
    classifier.front.start_at_random()
    write_model(folder, classifier, vanilla.info, image_channels=1)
    return folder


@pytest.mark.parametrize("pretrained", [False, True])
def test_the_whole_model_comes_with_its_weights(folder, pretrained):
    model = timm.create_model(f"local-dir:{folder}", pretrained=pretrained)
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), load_model(folder).classifier(x))


def test_timms_own_preprocessing_learns_that_normalisation_is_inside(folder):
    config = resolve_data_config(model=timm.create_model(f"local-dir:{folder}"))
    assert (config["mean"], config["std"], config["input_size"]) == ((0.0,), (1.0,), (1, 32, 32))


def test_it_cannot_be_refitted(folder):
    assert timm.create_model(f"local-dir:{folder}", num_classes=2).num_classes == 2
    with pytest.raises(ModelError, match="num_classes is 2, not 5"):
        timm.create_model(f"local-dir:{folder}", num_classes=5)
    with pytest.raises(ModelError, match="local-dir"):
        timm.create_model("robaudit_assimilated")
