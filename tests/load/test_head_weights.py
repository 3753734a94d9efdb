"""The weights of a network's last layer, found in whatever form the network comes."""

import pytest
import timm
import torch
from containers import PROGRAMS
from torch import nn

from robaudit.load.contents import read_contents
from robaudit.load.features import head_weights
from robaudit.load.network import Asked, read_network
from robaudit.load.trial import tried

PICTURES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5), nn.ReLU(),
        nn.Linear(5, 3), nn.Softmax(1),
    ).eval()  # fmt: skip


def named(network, weights):
    of = {id(weight): name for name, weight in network.named_parameters()}
    return {of[id(weight)] for weight in weights}


@pytest.mark.parametrize("save", PROGRAMS.values(), ids=PROGRAMS)
def test_the_last_layer_of_a_program_is_found(tmp_path, save):
    network = small()
    save(network, PICTURES, tmp_path / "m")
    read = tried(tmp_path / "m", read_network(read_contents(tmp_path / "m"), Asked()), (16, 16), None, None).backbone
    bias, weight = sorted(head_weights(read.eval(), PICTURES[:1]), key=torch.numel)
    assert torch.equal(weight if weight.shape == (3, 5) else weight.T, network[6].weight)
    assert torch.equal(bias, network[6].bias)


def test_two_layers_whose_answers_are_averaged_are_both_the_last():
    network = timm.create_model(
        "deit_tiny_distilled_patch16_224", num_classes=3, depth=1, img_size=16, embed_dim=6, num_heads=3
    ).eval()
    found = named(network, head_weights(network, PICTURES[:1]))
    assert found == {f"{head}.{part}" for head in ("head", "head_dist") for part in ("weight", "bias")}


def test_a_layer_beside_the_answer_is_not_the_last():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.mask = nn.Linear(3, 2), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            logits = self.head(x.mean((2, 3)))
            return {"logits": logits, "mask": self.mask(x)}["logits"]

    network = Beside().eval()
    assert named(network, head_weights(network, PICTURES)) == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LogSoftmax(1), nn.AvgPool1d(2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ],
    ids=["four numbers for two classes", "no weights"],
)
def test_without_a_layer_of_a_number_per_class_none_is_found(network):
    assert head_weights(network.eval(), PICTURES) == []
