"""Answers that change from pass to pass, or with the company, are noticed."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "attack"))
from small_models import engine_for, images_for, small_network

from robaudit.checks.repeatable import unrepeatable


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def images(network):
    return images_for(network, 14)


class Noisy(nn.Module):
    def __init__(self, scale=1.0):
        super().__init__()
        self.inner, self.scale = small_network(), scale

    def forward(self, x):
        return self.scale * self.inner(x + 0.01 * torch.rand_like(x))


@pytest.mark.parametrize("scale", [1, 1e-20])
def test_a_model_that_answers_differently_the_second_time_is_noticed(network, images, scale):
    """A change counts beside the largest answer, however small all are."""
    assert unrepeatable(engine_for(network, images, "fgsm"), images) == 0
    assert unrepeatable(engine_for(Noisy(scale), images, "fgsm"), images) > 1e-3


class Remembering(nn.Module):
    """Answers near-duplicates as the first of them; its gradients are right."""

    def __init__(self):
        super().__init__()
        self.inner, self.answered = small_network(), {}

    def forward(self, x):
        rows = []
        for thumbnail, row in zip((4 * x.mean((1, 2, 3))).round().tolist(), self.inner(x), strict=True):
            rows.append(row + (self.answered.setdefault(thumbnail, row.detach().clone()) - row).detach())
        return torch.stack(rows)


def test_a_model_that_remembers_what_it_was_asked_is_noticed(images):
    """No parameter or buffer changes; after the images, every picture near them gets their answer."""
    engine = engine_for(Remembering(), images, "fgsm")
    list(engine.clean_sights(images, images.refs))
    assert unrepeatable(engine, images) > 1e-3
    assert unrepeatable(engine, images) > 1e-3


class Changed(nn.Module):
    """A network, and something done to its input or to its logits."""

    def __init__(self, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.inner, self.before, self.after = small_network(), before, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


def noisy_off_the_files_grid(x):
    levels = x * 255
    is_off = ((levels - levels.round()).abs().amax((1, 2, 3)) > 1e-3).view(-1, 1, 1, 1)
    return x + is_off * 0.1 * torch.rand_like(x)


@pytest.mark.parametrize(
    "model",
    [
        Changed(after=lambda z: z - z.mean(0)),  # as batch-norm without running statistics
        Changed(before=lambda x: x - 0.5 * x.mean(0)),
        Changed(before=noisy_off_the_files_grid),
        Changed(after=lambda z: z + 1e5 + 0.1 * torch.rand_like(z)),
        Changed(after=lambda z: z if len(z) == 1 else z.flip(1)),
    ],
    ids=["batch's logits", "batch's pictures", "noise off the pictures", "noise beside a large constant", "alone"],
)
def test_answers_that_depend_on_the_batch_or_are_random_where_attacks_look_are_noticed(images, model):
    assert unrepeatable(engine_for(model, images, "fgsm", grid=(3,)), images) > 1e-3


@pytest.mark.parametrize("n_images", [1, 14])
def test_a_model_whose_answer_depends_on_the_other_images_is_noticed(images, n_images):
    """Repeating a batch does not show it: its images have the same neighbours every time."""
    some = replace(images, refs=images.refs[:n_images])
    model = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), small_network()).eval()
    assert unrepeatable(engine_for(model, images, "fgsm"), some) > 1e-3
    assert unrepeatable(engine_for(small_network(), images, "fgsm"), some) == 0
