"""The attacker of training: always inside its ball, and worse for the model than chance."""

import pytest
import torch
from torch.nn import functional as F

from robaudit.retrofit.adversary import Adversary, divergence, perturbed, pgd
from robaudit.retrofit.draws import Draws

EPS = 4 / 255


def linear(seed=0):
    """Logits of a linear model, for which one full sign step is the optimum."""
    weights = torch.randn(2, 36, generator=torch.Generator().manual_seed(seed))
    return lambda x: x.flatten(1) @ weights.T


def images():
    x = torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    x[0], x[1] = 0.0, 1.0
    return x, torch.tensor([0, 1, 0, 1, 0, 1])


def generator():
    return Draws(torch.Generator().manual_seed(2))


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "trades"])
def test_perturbed_images_stay_in_the_ball_and_the_range_and_carry_no_gradient(attack):
    x, y = images()
    seen = perturbed(linear(), x, y, Adversary(attack, robust_eps_255=4), attack, generator())
    assert (seen - x).abs().max() <= EPS + 1e-7
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert not seen.requires_grad


def test_pgd_reaches_the_optimum_of_a_linear_model():
    """Every pixel at the corner of the ball that the sign of its weight says."""
    x, y = images()
    x = 0.1 + 0.8 * x  # so that the range never cuts the ball
    logits = linear()
    seen = pgd(logits, x, y, EPS, 5, generator())
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits(x), y, reduction="sum"), x)
    torch.testing.assert_close(seen, x + EPS * gradient.sign())


def test_one_step_from_a_random_start_is_the_published_rule():
    x, y = images()
    logits = linear()
    seen = perturbed(logits, x, y, Adversary("fgsm", robust_eps_255=4), "fgsm", generator())
    start = (x + (2 * torch.rand(x.shape, generator=generator().generator) - 1) * EPS).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits(start), y), start)
    expected = x + (start + 1.25 * EPS * gradient.sign() - x).clamp(-EPS, EPS)
    torch.testing.assert_close(seen, expected.clamp(0, 1).detach())


def test_trades_raises_the_divergence_beyond_chance():
    x, y = images()
    logits = linear()
    seen = perturbed(logits, x, y, Adversary("trades", robust_eps_255=4, robust_steps=3), "trades", generator())
    noise = (x + (2 * torch.rand(x.shape, generator=generator().generator) - 1) * EPS).clamp(0, 1)
    clean = logits(x).log_softmax(1)
    assert divergence(clean, logits(seen)).mean() > 2 * divergence(clean, logits(noise)).mean()


def test_the_divergence_is_kullback_and_leiblers():
    first, second = torch.randn(2, 5, 3, generator=generator().generator)
    p, q = first.softmax(1), second.softmax(1)
    torch.testing.assert_close(divergence(first.log_softmax(1), second), (p * (p / q).log()).sum(1))


def test_the_same_generator_gives_the_same_images():
    x, y = images()
    first, second = (pgd(linear(), x, y, EPS, 2, generator()) for _ in range(2))
    assert torch.equal(first, second)
