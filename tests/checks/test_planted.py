"""Adversarials that a new head plants: attacks can find them, whatever sleeps in the network."""

import torch
import torch.nn.functional as F

from robaudit.attack.batching import Work
from robaudit.attack.climb import Target
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.checks.planted import PLANTED, planted
from robaudit.checks.unbounded import WITHOUT_BOUND

EPS_255 = 4
N_UNITS = 24


def answer(features, target, work):
    """What an image answers to the question; it asks nothing of the audited model."""
    try:
        next(planted(features, EPS_255)(None, target, work))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a question to the audited model")


def test_a_unit_that_wakes_at_the_planted_corner_alone_carries_no_head():
    """A rectified unit flat over all that attacks see of the ball: of an honest network, one in a hundred images."""
    dice = torch.Generator().manual_seed(0)
    target = Target(0.3 + 0.4 * torch.rand((1, 12, 12), generator=dice), 0, "a" * 64, seed=0)
    weights = torch.randn((N_UNITS, 144), generator=dice) / 12
    seeds = [derived_seed(0, target.sha256, PLANTED, index) for index in range(N_UNITS // 2 + 1)]
    corner = uniform(target.origin.shape, 1.0, seeds[-1]).sign()

    def features(x, sleeping=True):
        towards = ((x - target.origin) * corner).sum((1, 2, 3)) / corner.numel() * 255 / EPS_255  # 1 at the corner
        asleep = 100 * F.relu(towards[:, None] - 0.9)
        live = x.flatten(1) @ weights.T
        return torch.cat([live, asleep], 1) if sleeping else live

    seen, without = Work(), Work()
    assert answer(features, target, seen) is True
    assert answer(lambda x: features(x, sleeping=False), target, without) is True
    assert seen == without, "the same head, found in as many steps"


def test_attacks_that_go_astray_miss_what_is_planted(monkeypatch):
    """Features whose gradient is another's."""
    monkeypatch.setattr("robaudit.checks.planted.WITHOUT_BOUND", WITHOUT_BOUND[:1])
    dice = torch.Generator().manual_seed(0)
    target = Target(0.3 + 0.4 * torch.rand((1, 12, 12), generator=dice), 0, "b" * 64, seed=0)
    weights, others = torch.randn((2, 144, N_UNITS), generator=dice) / 12

    def features(x):
        pixels = x.flatten(1)
        return (pixels @ weights).detach() + pixels @ others - (pixels @ others).detach()

    assert answer(features, target, Work()) is False
