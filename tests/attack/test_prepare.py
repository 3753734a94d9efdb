import threading

import pytest
import timm
import torch
from small_models import SIDE, small_network
from torch import nn
from torch.nn.utils import prune

from robaudit.attack.prepare import Speedups, fingerprint, in_bfloat16, judging, working_copy
from robaudit.errors import ModelError


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "densenet121"])
def test_folding_keeps_logits_and_gradients(name):
    """Networks whose batch-norms follow convolutions, carry activations inside, or come before them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=3).eval().double()
    randomise_statistics(model)
    x = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = working_copy(model, x, Speedups(fold=False, channels_last=False))
    fast = working_copy(model, x, Speedups())
    n_norms = sum(isinstance(module, nn.BatchNorm2d) for module in plain.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in fast.modules()) < n_norms
    for value, reference in zip(logits_and_gradient(fast, x), logits_and_gradient(plain, x), strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-6, atol=1e-9 * float(reference.abs().max()))


def randomise_statistics(model):
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))


def logits_and_gradient(model, x):
    x = x.clone().requires_grad_()
    logits = model(x)
    return logits.detach(), torch.autograd.grad(logits[:, 0].sum(), x)[0]


class UsesConvolutionTwice(nn.Module):
    """The convolution's output also goes round the batch-norm: folding would be wrong, and must be noticed."""

    def __init__(self):
        super().__init__()
        self.inner = small_network()

    def forward(self, x):
        raw = self.inner[0](x)
        return self.inner[2:](self.inner[1](raw) + raw)


def test_a_batch_norm_that_may_not_be_folded_stays():
    model = UsesConvolutionTwice().eval()
    x = torch.rand(2, 1, SIDE, SIDE)
    copied = working_copy(model, x, Speedups())
    assert any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())
    torch.testing.assert_close(copied(x), model(x).detach())


class LearnsForEver(nn.BatchNorm2d):
    """Takes its numbers from the batch also where the rest of the network is in eval mode."""

    def train(self, mode=True):
        return super().train(True)


def pruned():
    model = small_network()
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    return model


def spectrally_normalised():
    model = small_network()
    nn.utils.spectral_norm(model[0])
    return model.eval()


def never_in_eval_mode():
    model = small_network()
    model[1] = LearnsForEver(6)
    return model.eval()


@pytest.mark.parametrize("build", [pruned, spectrally_normalised, never_in_eval_mode])
def test_what_changes_from_pass_to_pass_is_not_folded(build):
    """A weight computed anew in each pass, or the statistics of a batch, leave nothing to fold."""
    model = build()
    x = torch.rand(4, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(x)
        copied = working_copy(model, x, Speedups())
        torch.testing.assert_close(copied(x), expected, rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())


class Volume(nn.Module):
    """Takes a picture for a volume one voxel deep, beside a plain convolution."""

    def __init__(self):
        super().__init__()
        self.flat, self.deep, self.head = nn.Conv2d(1, 3, 3), nn.Conv3d(3, 4, 1), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.deep(self.flat(x)[:, :, None]).mean((2, 3, 4)))


def test_weights_of_three_dimensions_keep_their_layout():
    model, x = Volume().eval(), torch.rand(2, 1, SIDE, SIDE)
    fast = working_copy(model, x, Speedups())
    assert fast.flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert fast.deep.weight.is_contiguous()
    torch.testing.assert_close(fast(x), model(x))


def test_a_model_that_cannot_be_copied_is_refused_saying_why():
    model = small_network()
    model.guard = threading.Lock()
    with pytest.raises(ModelError, match=r"cannot be copied .*lock"):
        working_copy(model, torch.rand(2, 1, SIDE, SIDE), Speedups())


def test_the_working_copy_is_frozen_and_its_own():
    model = small_network()
    copied = working_copy(model, torch.rand(2, 1, SIDE, SIDE), Speedups())
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    ours = {parameter.data_ptr() for parameter in model.parameters()}
    assert ours.isdisjoint(parameter.data_ptr() for parameter in copied.parameters())


def test_bfloat16_answers_in_float32_near_the_plain_ones():
    model = small_network()
    x = torch.rand(2, 1, SIDE, SIDE)
    plain = working_copy(model, x, Speedups())
    logits = in_bfloat16(plain)(x)
    assert logits.dtype is torch.float32
    assert not torch.allclose(logits, plain(x), rtol=1e-5), "computed in float32"
    torch.testing.assert_close(logits, plain(x), rtol=0.05, atol=0.2)


def test_judging_restores_every_modules_own_mode():
    model = small_network().train()
    model[1].eval()
    before = fingerprint(model)
    with judging(model):
        assert not any(module.training for module in model.modules())
    assert fingerprint(model) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[0].weight.data.add_(1e-6),
        lambda m: m[1].running_var.add_(1e-6),
        lambda m: m[0].weight.requires_grad_(False),
        lambda m: m.train(),
        lambda m: m.to(memory_format=torch.channels_last),
        lambda m: setattr(m[0].weight, "grad", torch.zeros_like(m[0].weight)),
    ],
)
def test_the_fingerprint_sees(change):
    model = small_network(channels=3)
    before = fingerprint(model)
    change(model)
    assert fingerprint(model) != before
