"""A small retrofit to export."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.load.model import load_model
from robaudit.retrofit.checkpoint import write_model

SIDE = 32


@pytest.fixture(scope="session")
def assimilated(tmp_path_factory):
    """A folder with T and C far from their start, in front of an untrained network."""
    folder = tmp_path_factory.mktemp("model")
    plain = folder / "plain"
    plain.mkdir()
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=2).state_dict(), plain / "model.safetensors")
    cfg = {"input_size": [3, SIDE, SIDE], "mean": [0.5] * 3, "std": [0.25] * 3}
    config = {"architecture": "test_resnet", "num_classes": 2, "label_names": ["sick", "well"], "pretrained_cfg": cfg}
    (plain / "config.json").write_text(json.dumps(config))
    vanilla = load_model(plain)
    front = Front(1, 3)
    front.start_at_random()
    classifier = Classifier(vanilla.classifier.backbone, vanilla.info.normalization, in_chans=3, front=front)
    write_model(folder, classifier, vanilla.info, image_channels=1)
    return folder
