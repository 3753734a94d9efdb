"""timm finds retrofitted models once `robaudit.timm` is imported."""

import sys
from types import SimpleNamespace

import pytest
import timm
import torch
from timm.data import resolve_data_config
from torch import nn

import robaudit.timm  # noqa: F401  registers
from robaudit.errors import ModelError
from robaudit.load.model import load_model
from robaudit.retrofit.before_training import with_front
from robaudit.retrofit.model_folder import write_model


@pytest.mark.parametrize("pretrained", [False, True])
def test_the_whole_model_comes_with_its_weights(assimilated, pretrained):
    model = timm.create_model(f"local-dir:{assimilated}", pretrained=pretrained)
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(x), load_model(assimilated).classifier(x))


def test_timms_own_preprocessing_learns_that_normalisation_is_inside(assimilated):
    config = resolve_data_config(model=timm.create_model(f"local-dir:{assimilated}"))
    assert (config["mean"], config["std"], config["input_size"]) == ((0.0,), (1.0,), (1, 32, 32))


def test_it_cannot_be_refitted(assimilated):
    assert timm.create_model(f"local-dir:{assimilated}", num_classes=2).num_classes == 2
    with pytest.raises(ModelError, match="num_classes is 2, not 5"):
        timm.create_model(f"local-dir:{assimilated}", num_classes=5)
    with pytest.raises(ModelError, match="local-dir"):
        timm.create_model("robaudit_assimilated")


def own_network():
    """A network of somebody's own code."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def test_a_retrofit_of_a_network_of_ones_own_takes_its_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "own_code", SimpleNamespace(network=own_network))
    torch.save(own_network().state_dict(), tmp_path / "weights.pt")
    vanilla = load_model(
        tmp_path / "weights.pt", factory="own_code:network", classes=["sick", "well"], input_size=(32, 32)
    )
    write_model(tmp_path, with_front(vanilla, 1, seed=0), vanilla.info, 1, vanilla.recipe)
    with pytest.raises(ModelError, match="own_code:network"):
        timm.create_model(f"local-dir:{tmp_path}")
    model, x = timm.create_model(f"local-dir:{tmp_path}", factory="own_code:network"), torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), vanilla.classifier(x))


class Probabilities(nn.Module):
    """A network that ends with a softmax."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        """Answer with probabilities."""
        return (8 * self.body(x).mean((2, 3))).softmax(1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_model_that_answers_probabilities_gives_the_logits_that_scan_attacks(tmp_path):
    """The same as scan's, which sees the answers to images; and no logarithm of what the softmax has rounded."""
    torch.manual_seed(0)
    torch.jit.script(Probabilities().eval()).save(tmp_path / "program.pt")
    images = torch.rand(4, 1, 32, 32)
    vanilla = load_model(
        tmp_path / "program.pt", classes=["sick", "well"], mean=[0.5] * 3, std=[0.25] * 3, input_size=(32, 32)
    ).with_outputs_seen_on(images)
    classifier = with_front(vanilla, 1, seed=0)
    classifier.front.start_at_random()
    (tmp_path / "folder").mkdir()
    write_model(tmp_path / "folder", classifier, vanilla.info, 1, vanilla.recipe)

    model = timm.create_model(f"local-dir:{tmp_path / 'folder'}")
    with torch.no_grad():
        logits = model(images)
        as_scanned = load_model(tmp_path / "folder").with_outputs_seen_on(images).classifier
        answers = model.backbone(model.normalized(model.features_in(images)))
        assert torch.equal(logits, as_scanned(images))
        torch.testing.assert_close(logits.softmax(1), answers)
        assert not torch.allclose(logits, answers)
        assert not torch.allclose(logits, answers.log())
