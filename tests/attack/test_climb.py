"""The climbs against independent loops: foolbox, six lines from the paper, and textbook projections."""

import itertools
import math

import eagerpy as ep
import foolbox
import pytest
import torch
import torch.nn.functional as F
from small_models import SIDE, small_network

from robaudit.attack.batching import Batches, Evaluation, Sight, Task, Work
from robaudit.attack.climb import Target, _start, _StepHalving, climb
from robaudit.attack.losses import Loss, ascent_loss
from robaudit.attack.seeding import derived_seed, uniform
from robaudit.attack.step import Iterate, take_steps
from robaudit.attack.threats import TABLE, Attack, Source

EPS_255 = 60
"""Large, so that gradients change sign on the way and the rules can differ."""


@pytest.fixture
def model():
    return small_network()


@pytest.fixture
def target(model):
    picture = torch.randint(0, 256, (1, SIDE, SIDE), generator=torch.Generator().manual_seed(7)).float() / 255
    with torch.no_grad():
        label = int(model(picture[None]).argmax())
    return Target(picture, label, "f" * 64, seed=0)


def iterates_of(model, target, attack, eps_255=EPS_255):
    """Every point the climb visits, the last included, whether or not it fools."""
    iterate, steps_left = _start(target, attack, eps_255, 0)
    points = [iterate.x]
    for _ in range(steps_left):
        take_steps([iterate], gradient(model, iterate)[None])
        points.append(iterate.x)
    return points


def gradient(model, iterate):
    x = iterate.x[None].clone().requires_grad_()
    loss = ascent_loss(model(x), torch.tensor([iterate.label]), torch.tensor([iterate.loss == "margin"]))
    return torch.autograd.grad(loss.sum(), x)[0][0]


def entropy_gradient(model, x, label):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(model(x), torch.tensor([label])), x)[0]


def test_mifgsm_is_the_six_lines_of_the_paper(model, target):
    """Dong et al. 2018, algorithm 1: accumulate the L1-normalised gradient, step along its sign."""
    eps = EPS_255 / 255
    x, x0, g = target.origin[None], target.origin[None], torch.zeros(1)
    expected = [x[0]]
    for _ in range(10):
        grad = entropy_gradient(model, x, target.label)
        g = 1.0 * g + grad / grad.abs().sum()
        x = (x + eps / 10 * g.sign()).clamp(x0 - eps, x0 + eps).clamp(0, 1)
        expected.append(x[0])
    actual = iterates_of(model, target, TABLE["mifgsm"])
    assert len(actual) == 11
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_mifgsm_is_not_foolboxs_accumulation_of_signs(model, target):
    """Foolbox 3.3.4 takes the sign before the momentum sum; where the two rules part, we follow the paper."""
    attack = foolbox.attacks.LinfMomentumIterativeFastGradientMethod(rel_stepsize=1 / 10, steps=10, momentum=1.0)
    theirs = foolbox_final(attack, model, target)
    ours = iterates_of(model, target, TABLE["mifgsm"])[-1]
    assert not torch.equal(ours, theirs)


@pytest.mark.parametrize("n_steps", [1, 2, 5, 10])
def test_bim_is_foolboxs_iterate_by_iterate(model, target, n_steps):
    theirs = foolbox_final(foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=1 / 4, steps=n_steps), model, target)
    torch.testing.assert_close(iterates_of(model, target, TABLE["bim"])[n_steps], theirs, rtol=0, atol=1e-6)


def test_fgsm_is_foolboxs(model, target):
    theirs = foolbox_final(foolbox.attacks.LinfFastGradientAttack(), model, target)
    torch.testing.assert_close(iterates_of(model, target, TABLE["fgsm"])[1], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_steps", [1, 7, 40])
def test_pgd_is_foolboxs_from_the_same_start(model, target, n_steps):
    class FromOurStart(foolbox.attacks.LinfProjectedGradientDescentAttack):
        def get_random_start(self, x0, epsilon):
            noise = uniform(target.origin.shape, epsilon, derived_seed(0, target.sha256, "pgd", EPS_255, 0))
            return ep.astensor((x0.raw + noise).clamp(0, 1))

    theirs = foolbox_final(FromOurStart(rel_stepsize=2.5 / 40, steps=n_steps), model, target)
    torch.testing.assert_close(iterates_of(model, target, TABLE["pgd"])[n_steps], theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_every_iterate_is_in_the_ball_and_a_picture(model, target, name):
    for point in iterates_of(model, target, TABLE[name], eps_255=8):
        assert (point - target.origin).abs().max() <= 8 / 255 + 1e-6
        assert point.min() >= 0
        assert point.max() <= 1


def foolbox_final(attack, model, target):
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    raw, _, _ = attack(wrapped, target.origin[None], torch.tensor([target.label]), epsilons=EPS_255 / 255)
    return raw[0].detach()


def conduct(dialogue, working, untouched=None):
    """Answer one climb through the real batches, one image wide; returns its result and what it spent."""
    work = Work()
    (result,) = Batches(dict.fromkeys(Source, working), untouched or working, width=1).run([Task(dialogue, work)])
    return result, work


def test_a_climb_stops_at_the_first_iterate_that_fools(model, target):
    attack = TABLE["pgd"]
    points = iterates_of(model, target, attack, eps_255=40)
    with torch.no_grad():
        wrong = (model(torch.stack(points)).argmax(1) != target.label).tolist()
    assert any(wrong), "the case is too hard to show anything"
    found, work = conduct(climb(target, attack, 40), model)
    assert torch.equal(found.picture, points[wrong.index(True)])
    assert found.prediction != target.label
    assert work.gradients == min(wrong.index(True) + 1, attack.steps)


@pytest.mark.parametrize("offset", [0.03, 0.1, 10.0])
def test_after_a_refused_claim_the_next_waits_until_half_of_what_it_lacked_is_made_up(model, target, offset):
    """As where a copy in bfloat16 errs all the way: it is asked a few times instead of at every step."""
    judged, towards_wrong = [], offset * (1 - F.one_hot(torch.tensor(target.label), 2).float())

    def untouched(x):
        judged.append(x[0])
        return model(x)

    found, _ = conduct(climb(target, TABLE["pgd"], 20), lambda x: model(x) + towards_wrong, untouched)
    points = torch.stack(iterates_of(model, target, TABLE["pgd"], eps_255=20)[:-1])  # the offset turns no gradient
    with torch.no_grad():
        true, other = model(points).gather(1, torch.tensor([[target.label, 1 - target.label]]).expand(40, 2)).T
    expected, lacking = [], math.inf
    for point, lack in zip(points, (true - other).tolist(), strict=True):
        if lack < offset and lack <= lacking / 2 + 1e-6:
            expected.append(point)
            if lack < 0:
                break
            lacking = lack
    assert 1 < len(expected) < 15
    torch.testing.assert_close(torch.stack(judged[: len(expected)]), torch.stack(expected), rtol=0, atol=1e-6)
    assert len(judged) <= len(expected) + 1  # the last iterate
    assert (found is not None) == bool((true < other).any())


def test_a_resisted_climb_costs_every_step_and_one_judgement(target):
    def flat(x):
        return (
            x.sum((1, 2, 3), keepdim=True)[:, :, 0, 0] * 0.001 * torch.tensor([1.0, -1.0]) + torch.eye(2)[target.label]
        )

    found, work = conduct(climb(target, TABLE["bim"], 1), flat)
    assert found is None
    assert (work.gradients, work.forwards) == (10, 1)


def test_the_paper_protocol_takes_every_step_even_after_fooling(model, target):
    points = iterates_of(model, target, TABLE["bim"], eps_255=40)
    found, work = conduct(climb(target, TABLE["bim"], 40, early_stop=False), model)
    assert (work.gradients, work.forwards) == (10, 1)
    with torch.no_grad():
        fooled = int(model(points[-1][None]).argmax()) != target.label
    assert (found is not None) == fooled


def test_apgd_halves_its_step_under_the_paper_protocol_too(model, target):
    """And its best point is judged, not its last."""
    visited = []

    def working(x):
        visited.append(x.detach()[0])
        return model(x)

    never_fooled = Batches(dict.fromkeys(Source, working), always(target.label), width=1)
    list(never_fooled.run([Task(climb(target, TABLE["apgd"], EPS_255, early_stop=False), Work())]))
    moves = [float((b - a).abs().max()) for a, b in itertools.pairwise(visited)]
    assert len(visited) == 40
    assert max(moves) > 4 * min(move for move in moves if move > 0)


@pytest.mark.parametrize("eps_255", [EPS_255, 30])  # at 30, a step is once halved though the loss rises: no new best
def test_apgd_is_the_loop_of_the_paper_but_for_the_rest_after_a_return(model, target, eps_255):
    """Croce & Hein 2020, algorithm 1; of `steps` gradients none is spent twice on the point it returns to."""
    visited = []

    def working(x):
        visited.append(x.detach()[0])
        return model(x)

    conduct(climb(target, TABLE["apgd"], eps_255, early_stop=False), working, untouched=always(target.label))
    expected, n_halvings = apgd_of_the_paper(model, target, visited[0], eps_255 / 255, steps=40)
    assert 2 <= n_halvings < 8, "both outcomes of a checkpoint are seen"
    torch.testing.assert_close(torch.stack(visited), torch.stack(expected), rtol=0, atol=1e-6)


def apgd_of_the_paper(model, target, start, eps, steps):
    shares = [0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    checkpoints = [math.ceil(round(share * steps, 9)) for share in shares]

    def clip(x):
        return x.clamp(target.origin - eps, target.origin + eps).clamp(0, 1)

    x = before = best = start
    step, visited, values, halved_at = 2 * eps, [], [], []
    highest_at = [-math.inf]
    for k in range(1, steps + 1):
        x_ = x[None].clone().requires_grad_()
        value = F.cross_entropy(model(x_), torch.tensor([target.label]))
        gradient = torch.autograd.grad(value, x_)[0][0]
        visited.append(x)
        values.append(float(value.detach()))
        if values[-1] == max(values) and values.count(values[-1]) == 1:
            best, best_gradient = x, gradient
        z = clip(x + step * gradient.sign())
        share = 1 if k == 1 else 0.75
        x, before = clip(x + share * (z - x) + (1 - share) * (x - before)), x
        if k - 1 in checkpoints[1:]:  # k evaluations are k - 1 steps
            since_checkpoint = k - 1 - checkpoints[len(highest_at) - 1]
            rises = sum(b > a for a, b in itertools.pairwise(values[-since_checkpoint - 1 :]))
            same_step = len(highest_at) > 1 and len(highest_at) - 1 not in halved_at
            if rises < 0.75 * since_checkpoint or (same_step and highest_at[-1] == max(values)):
                step /= 2
                halved_at.append(len(highest_at))
                x, before = clip(best + 0.75 * (clip(best + step * best_gradient.sign()) - best)), best
            highest_at.append(max(values))
    return visited, len(halved_at)


def test_a_shared_first_gradient_changes_no_iterate(model, target):
    at_the_image = Iterate(target.origin, target.label, eps=0.0, step_size=0.0, x=target.origin)
    shared = {Loss.CROSS_ENTROPY: gradient(model, at_the_image)}
    sharing = Target(target.origin, target.label, target.sha256, 0, first_gradients=shared)
    for name in ("fgsm", "bim", "mifgsm"):
        alone = iterates_of(model, target, TABLE[name])
        iterate, steps_left = _start(sharing, TABLE[name], EPS_255, 0)
        assert steps_left == TABLE[name].steps - 1
        assert torch.equal(iterate.x, alone[1])


def test_restarts_begin_elsewhere(model, target):
    twice = Attack("pgd", steps=3, step_fraction=0.1, random_start=True, restarts=2)
    first, _ = _start(target, twice, 4, 0)
    second, _ = _start(target, twice, 4, 1)
    assert not torch.equal(first.x, second.x)


def test_a_zero_or_non_finite_gradient_moves_nothing(target):
    for value in (0.0, float("nan"), float("inf")):
        iterate = Iterate(target.origin, 0, eps=0.1, step_size=0.1, x=target.origin, decay=1.0)
        take_steps([iterate], torch.full_like(target.origin, value)[None])
        assert torch.equal(iterate.x, target.origin)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_momentum_does_not_depend_on_how_many_images_step_together(two_threads):
    """Threads share out a large sum in another way for one image than for several, and it rounds differently."""
    gradients = torch.randn((8, 1, 256, 256), generator=torch.Generator().manual_seed(0))

    def at_rest():
        return Iterate(torch.zeros(1, 256, 256), 0, eps=0.1, step_size=0.1, x=torch.zeros(1, 256, 256), decay=1.0)

    together = [at_rest() for _ in gradients]
    take_steps(together, gradients)
    for iterate, gradient in zip(together, gradients, strict=True):
        alone = at_rest()
        take_steps([alone], gradient[None])
        assert torch.equal(alone.momentum, iterate.momentum)


def test_apgd_returns_to_a_point_that_has_a_loss(target):
    """A first answer without a number, as of a copy in bfloat16, is not the best for ever."""
    schedule = _StepHalving(40)
    iterate = Iterate(target.origin, 0, eps=0.1, step_size=0.2, x=target.origin, adaptive=True)
    for index, loss in enumerate([math.nan, 1.0, 0.5]):
        point = torch.full_like(target.origin, index)
        schedule.after_gradient(iterate, Evaluation(point, torch.zeros_like(point), loss, Sight((), 0)))
    assert schedule.best_value == 1.0
    assert torch.equal(schedule.best_point, torch.ones_like(target.origin))


def test_apgd_climbs_higher_than_pgd_of_equal_steps_on_average():
    """The point of its rule (Croce & Hein 2020, figure 1): a higher final loss for the same gradients."""
    model = small_network(n_classes=4, seed=3, sharpness=1.0)
    gains = []
    for index in range(12):
        picture = torch.rand((1, SIDE, SIDE), generator=torch.Generator().manual_seed(index))
        with torch.no_grad():
            label = int(model(picture[None]).argmax())
        target = Target(picture, label, str(index), 0)
        best = {name: best_loss(model, target, TABLE[name]) for name in ("pgd", "apgd")}
        gains.append(best["apgd"] - best["pgd"])
    assert sum(gains) > 0


def best_loss(model, target, attack):
    """Highest loss on the way, with the success test switched off."""
    values = []

    def working(x):
        logits = model(x)
        values.append(float(F.cross_entropy(logits, torch.tensor([target.label])).detach()))
        return logits

    conduct(climb(target, attack, 12), working, untouched=always(target.label))
    return max(values)


def always(label):
    """A model that sees the same in every picture."""
    return lambda x: F.one_hot(torch.full((len(x),), label), 10).float()
