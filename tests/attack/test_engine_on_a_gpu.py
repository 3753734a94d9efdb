"""What a GPU changes, and what it must not: run where there is one."""

import random
from contextlib import contextmanager

import pytest
import timm
import torch
from small_models import TensorImages, engine_for, images_for, rows_of, small_network
from torch import nn

from robaudit import tally
from robaudit.attack.prepare import Speedups, fingerprint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

ATTACKS = ("fgsm", "bim", "mifgsm", "pgd", "pgd-margin", "apgd", "square-100")
FEW = ("fgsm", "bim", "pgd-margin-20")
BFLOAT16 = Speedups(bfloat16=True)


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def images(network):
    return images_for(network, 40)


def untrained(name: str) -> tuple[nn.Module, TensorImages]:
    """A network of the usual parts, whose gradients some GPU kernels add up in any order; its classes in balance."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = timm.create_model(name, in_chans=1, num_classes=2).train()
        side = network.patch_embed.img_size[0] if hasattr(network, "patch_embed") else 64
        for _ in range(3):
            network(torch.rand(32, 1, side, side))
        network.eval().requires_grad_(False)
        head = network.get_classifier()
        head.bias -= network(torch.rand(32, 1, side, side)).median(dim=0).values
    images = images_for(network, 12, side=side)
    return network.cuda(), images


def test_the_rows_are_those_of_the_cpu_but_at_borders(network, images):
    """In float32 rounding alone differs: a value may move by one eps where an image stands at its border."""
    ours = rows_of(engine_for(network, images, *ATTACKS, batch_size=40), images)
    theirs = rows_of(engine_for(small_network().cuda(), images, *ATTACKS, batch_size=40), images)
    pairs = [(a.fooled_at[name], b.fooled_at[name]) for a, b in zip(ours, theirs, strict=True) for name in a.fooled_at]
    assert len({tally.worst_eps(row) for row in ours}) >= 4, "the case shows nothing if all images fall alike"
    assert sum(a != b for a, b in pairs) <= len(pairs) / 50


@pytest.mark.parametrize("name", ["resnet18", "test_vit"])
@pytest.mark.parametrize("speedups", [Speedups(), BFLOAT16], ids=["float32", "bfloat16"])
def test_the_same_every_time_and_in_every_order(name, speedups):
    network, images = untrained(name)
    first, *others = (engine_for(network, images, *FEW, speedups=speedups, batch_size=8) for _ in range(3))
    rows = rows_of(first, images)
    shuffled = random.Random(0).sample(images.refs, len(images))
    assert rows == rows_of(others[0], images)
    assert rows == rows_of(others[1], images, tuple(shuffled))


def test_folding_is_judged_in_true_float32(network):
    """TF32, which cuDNN computes in unless told not to, rounds by more than folding may change."""
    engine = engine_for(small_network().cuda(), images_for(network, 2), "fgsm", speedups=Speedups(fold=True))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in engine.exact.modules())


def test_the_model_is_left_as_it_was(network, images):
    on_gpu = small_network().cuda()
    before, numbers = fingerprint(on_gpu), numeric_settings()
    rows_of(engine_for(on_gpu, images, *FEW, speedups=BFLOAT16, batch_size=40), images)
    assert fingerprint(on_gpu) == before
    assert numeric_settings() == numbers


def numeric_settings() -> tuple[object, ...]:
    cudnn = torch.backends.cudnn
    return cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, torch.get_float32_matmul_precision()


def test_a_batch_that_does_not_fit_is_halved():
    """By the driver's own word, not by a mock: this process may use but a little of the card."""

    class Wide(nn.Module):
        """Needs 64 MiB an image, and lets gradients through."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = small_network()

        def forward(self, x):
            room = x.new_zeros(len(x), 2**24)
            return self.inner(x) + 0 * room[:, :1]

    network = Wide().cuda()
    images = images_for(small_network(), 12)
    with a_card_of(2**30 * 3 // 2):
        engine = engine_for(network, images, "fgsm", "bim", batch_size=None)
        assert engine.width in (4, 8, 16)
        rows = rows_of(engine, images)
        engine.width = 128  # as if others had taken the memory since
        again = rows_of(engine, images)
        assert engine.width < 32
    assert [row.fooled_at for row in rows] == [row.fooled_at for row in again]


@contextmanager
def a_card_of(n_bytes: int):
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + n_bytes) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
