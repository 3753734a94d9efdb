"""Texture on a GPU: the CPU's numbers, and the same ones every time."""

import pytest
import torch

from robaudit.texture.sot import loss_features, second_order_texture

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 1, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("levels", [8, 32, 256])
def test_the_features_are_those_of_the_cpu(images, levels):
    ours = second_order_texture(images.double(), levels=levels)
    theirs = second_order_texture(images.double().cuda(), levels=levels).cpu()
    assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-10)


def gradient_of(images):
    leaf = images.clone().requires_grad_()
    features = loss_features(leaf)
    (features * torch.linspace(-1, 1, features.shape[-1], device=leaf.device)).sum().backward()
    return leaf.grad


def test_the_gradient_is_that_of_the_cpu_and_the_same_every_time(images):
    on_gpu = [gradient_of(images.cuda()) for _ in range(3)]
    assert all(torch.equal(on_gpu[0], other) for other in on_gpu[1:])
    assert torch.allclose(gradient_of(images), on_gpu[0].cpu(), rtol=1e-4, atol=1e-6)
