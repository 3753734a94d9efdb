"""Two processes that share every batch train as one does, but for rounding where batch-norm's statistics are frozen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import together
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from robaudit.retrofit.draws import Draws
from robaudit.retrofit.team import Team, depends_on_sharing

FLOAT_NOISE = {"rel": 2e-5, "abs": 2e-6}
"""Of a loss after two epochs: convolutions of two images round otherwise than of four."""


@pytest.fixture(scope="module")
def both(model, data, tmp_path_factory):
    """Where two processes, joined by gloo, left the metrics and weights of every case."""
    out = tmp_path_factory.mktemp("together")
    script = Path(together.__file__)
    pair = [
        subprocess.Popen(
            [sys.executable, script, str(rank), "2", out / "store", model, data, out],
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for one in pair:
        _, told = one.communicate(timeout=600)
        assert one.returncode == 0, told
    return out


def curve(metrics):
    """Every loss of every epoch."""
    return [loss for row in metrics for part in (row["train"], row["val"]["losses"]) if part for loss in part.values()]


def shared(both, case, rank=0):
    return json.loads((both / f"{case}-{rank}.json").read_text()), torch.load(both / f"{case}-{rank}.pt")


@pytest.mark.parametrize("case", ["frozen", "robust", "trades"])
def test_two_processes_have_the_loss_curve_of_one(case, both, model, data):
    alone, weights = together.trained(case, model, data)
    metrics, their_weights = shared(both, case)
    assert curve(metrics) == pytest.approx(curve(alone), **FLOAT_NOISE)
    assert [row["val"]["n_correct"] for row in metrics] == [row["val"]["n_correct"] for row in alone]
    assert [row["worst_patch"] for row in metrics] == [row["worst_patch"] for row in alone]
    for name, weight in weights.items():
        torch.testing.assert_close(their_weights[name], weight, rtol=0, atol=1e-5)  # of steps of 1e-3


@pytest.mark.parametrize("case", list(together.CASES))
def test_all_processes_end_with_the_same_weights_and_figures(case, both):
    (first, weights), (second, their_weights) = (shared(both, case, rank) for rank in range(2))
    assert first == second
    assert all(torch.equal(weights[name], their_weights[name]) for name in weights)


def test_batch_norm_that_trains_differs_as_documented(both, model, data):
    """By more than rounding, as each process normalises by its own two images."""
    alone, _ = together.trained("batch-norm", model, data)
    metrics, _ = shared(both, "batch-norm")
    assert curve(metrics) != pytest.approx(curve(alone), **FLOAT_NOISE)


def test_running_means_of_batch_norm_are_those_of_the_whole_batch(both):
    for rank in range(2):
        torch.testing.assert_close(torch.load(both / f"statistics-{rank}.pt"), together.statistics())


def test_parts_are_the_whole_and_nearly_equal():
    parts = [Team(rank, 3).part([7, 5, 3, 2]) for rank in range(3)]
    assert [index for part in parts for index in part.indices] == [7, 5, 3, 2]
    assert sorted(len(part.indices) for part in parts) == [1, 1, 2]
    assert sum(part.share for part in parts) == 1


def test_an_image_gets_the_numbers_that_it_would_have_got_alone():
    whole = Draws(torch.Generator().manual_seed(3)).uniform((5, 2))
    parts = [Team(rank, 2).part([0, 1, 2, 3, 4]) for rank in range(2)]
    shares = [part.draws(torch.Generator().manual_seed(3)).uniform((len(part.indices), 2)) for part in parts]
    assert torch.equal(torch.cat(shares), whole)


class PowerMean(nn.Module):
    """Pooling whose exponents are learnt."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.full((4,), 3.0))


@pytest.mark.parametrize(
    ("network", "trains", "expected"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), "all", True),
        (nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), "front", False),
        (nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1)), "network", True),
        (nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.0), nn.LayerNorm(2)), "all", False),
        (nn.Sequential(nn.Linear(3, 2), StochasticDepth(0.1, "row")), "all", True),
        (PowerMean(), "all", False),
    ],
)
def test_what_depends_on_how_batches_are_shared_out(network, trains, expected):
    assert depends_on_sharing(network, trains) == expected
