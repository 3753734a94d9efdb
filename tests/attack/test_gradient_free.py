"""Square Attack and random corners: inside the ball, seeded, and able to find what a brute force finds."""

import math

import pytest
import torch
from small_models import SIDE, engine_for, images_for, rows_of, small_network

from robaudit import tally
from robaudit.attack.batching import Batches, Task, Work
from robaudit.attack.climb import Target
from robaudit.attack.gradient_free import _with_square, random_corners, square_attack
from robaudit.attack.step import ball
from robaudit.attack.threats import Corners, Source, Square


@pytest.fixture
def target():
    picture = torch.rand((1, SIDE, SIDE), generator=torch.Generator().manual_seed(3))
    return Target(picture, 0, "a" * 64, seed=0)


class Recorded:
    """A model that keeps what it is asked about, and answers with the sum of the picture under a mask."""

    def __init__(self, mask, bound=math.inf):
        self.mask, self.bound, self.asked = mask, bound, []

    def __call__(self, x):
        self.asked.append(x.detach()[0])
        score = (x * self.mask).sum((1, 2, 3))
        return torch.stack([torch.full_like(score, self.bound if self.bound < math.inf else 1e6), score], 1)


def conduct(dialogue, model):
    work = Work()
    (found,) = Batches(dict.fromkeys(Source, model), model, width=1).run([Task(dialogue, work)])
    return found, work


def test_every_query_is_in_the_ball_and_a_picture(target):
    for attack in (square_attack(target, Square(queries=60), 8), random_corners(target, Corners(draws=30), 8)):
        model = Recorded(torch.ones(1, SIDE, SIDE))
        found, work = conduct(attack, model)
        assert found is None
        assert work.gradients == 0
        assert work.forwards == len(model.asked) in (60, 30)
        for picture in model.asked:
            assert (picture - target.origin).abs().max() <= 8 / 255 + 1e-6
            assert picture.min() >= 0
            assert picture.max() <= 1


def test_square_keeps_what_brings_the_wrong_class_closer_and_nothing_else(target):
    """Every proposal differs from the best one before it in one square at most, as the paper's random search does."""
    mask = torch.randn((1, SIDE, SIDE), generator=torch.Generator().manual_seed(9))
    model = Recorded(mask)
    conduct(square_attack(target, Square(queries=200), 8), model)
    best, best_score = model.asked[0], float((model.asked[0] * mask).sum())
    sides = []
    for picture in model.asked[1:]:
        changed = (picture != best)[0].nonzero()
        height, width = (changed.amax(0) - changed.amin(0) + 1).tolist()
        sides.append(max(height, width))
        score = float((picture * mask).sum())
        if score > best_score:
            best, best_score = picture, score
    assert sides[0] > SIDE // 2, "the first squares cover most of the picture"
    assert max(sides[-20:]) <= 3, "the last ones are small"
    # Blind luck reaches no more than a few standard deviations of a random corner; the search goes far beyond.
    reached = best_score - float((target.origin * mask).sum())
    assert reached > 3 * 8 / 255 * float(mask.square().sum().sqrt())


def test_square_finds_the_corner_a_linear_model_falls_at(target):
    """The best corner of the ball is known: the search gets eight tenths of the way there, where luck gets nowhere."""
    mask = torch.ones(1, SIDE, SIDE)
    best_corner = (target.origin + 8 / 255).clamp(0, 1)
    start, best = float((target.origin * mask).sum()), float((best_corner * mask).sum())
    bound = start + 0.8 * (best - start)
    found, work = conduct(square_attack(target, Square(queries=400), 8), Recorded(mask, bound))
    assert found is not None
    assert found.prediction == 1
    assert work.forwards < 400
    lucky, _ = conduct(random_corners(target, Corners(draws=400), 8), Recorded(mask, bound))
    assert lucky is None


def test_the_same_image_gets_the_same_queries_and_another_seed_gets_others(target):
    def asked(target):
        model = Recorded(torch.ones(1, SIDE, SIDE))
        conduct(square_attack(target, Square(queries=10), 4), model)
        return torch.stack(model.asked)

    assert torch.equal(asked(target), asked(target))
    assert not torch.equal(asked(target), asked(Target(target.origin, 0, target.sha256, seed=1)))


def test_a_square_always_changes_something():
    origin = torch.full((3, 9, 9), 0.5)
    dice = torch.Generator().manual_seed(0)
    _, best = ball(origin, 0.1)
    for _ in range(50):
        proposal = _with_square(best, *ball(origin, 0.1), 0.2, dice)
        assert not torch.equal(proposal, best)


def test_corners_are_corners(target):
    model = Recorded(torch.ones(1, SIDE, SIDE))
    conduct(random_corners(target, Corners(draws=20), 8), model)
    moved = torch.stack(model.asked) - target.origin
    inside = (target.origin > 8 / 255) & (target.origin < 1 - 8 / 255)
    assert torch.allclose(moved.abs()[:, inside], torch.tensor(8 / 255), atol=1e-6)
    assert len({tuple(each.flatten().tolist()) for each in moved}) == 20


def test_survivors_are_tried_only_below_where_they_fell():
    network = small_network()
    images = images_for(network, 14)
    rows = rows_of(engine_for(network, images, "pgd", "+square", "+apgd-margin"), images)
    assert any(row.fooled_at["pgd"] not in (0, None) for row in rows)
    for row in rows:
        before = tally.fooling_eps(row, "pgd")
        for name in ("square", "apgd-margin"):
            assert row.fooled_at[name] is None or row.fooled_at[name] == 0 or row.fooled_at[name] < before
            before = min(before, tally.fooling_eps(row, name))


def test_queries_alone_find_a_little_less_than_gradients_on_an_honest_network():
    network = small_network()
    images = images_for(network, 14)
    rows = rows_of(engine_for(network, images, "square", "pgd"), images)
    by_queries = sum(tally.fooling_eps(row, "square") <= 8 for row in rows)
    by_gradients = sum(tally.fooling_eps(row, "pgd") <= 8 for row in rows)
    assert 2 < by_queries <= by_gradients
