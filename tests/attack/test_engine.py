"""The engine end to end on small networks: closed form, brute force, order, shards, batch shape, untouched model."""

import copy
import itertools
import random
from dataclasses import replace

import pytest
import torch
from foolbox.attacks import brendel_bethge
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import SIDE, TensorImages, engine_for, images_for, rows_of, small_network
from torch import nn

from robaudit import tally
from robaudit.attack.batching import UnanswerableError, Work
from robaudit.attack.climb import Target
from robaudit.attack.curve import CUDA_BATCH_SIZE
from robaudit.attack.foolbox_adapter import FoolboxRunner
from robaudit.attack.names import parse_attacks
from robaudit.attack.prepare import Speedups, fingerprint
from robaudit.attack.search import Search
from robaudit.attack.threats import FoolboxAttack, Source
from robaudit.errors import ModelError, SettingsError
from robaudit.progress import Silent

FOUR = ("fgsm", "bim", "mifgsm", "pgd")
GRID = tuple(range(1, 9))


class Linear(nn.Module):
    """Two classes, z = (0, w.x + b): the smallest fooling eps of an image is |w.x + b| / |w|_1."""

    def __init__(self, side: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(side * side, generator=generator))
        self.bias = nn.Parameter(-0.5 * self.weight.sum().detach())

    def forward(self, x):
        score = x.flatten(1) @ self.weight + self.bias
        return torch.stack([torch.zeros_like(score), score], 1)


def test_a_linear_model_falls_at_the_eps_known_in_closed_form():
    side = 12
    model = Linear(side)
    pictures = []
    generator = torch.Generator().manual_seed(1)
    direction = model.weight.detach().sign().view(1, side, side)
    for index in range(16):
        # Mid-grey, away from 0 and 1, so that clipping plays no part; shifted by (index + 0.5) / 2 levels.
        picture = 0.5 + 0.1 * (torch.rand((1, side, side), generator=generator) - 0.5)
        score = float(model(picture[None])[0, 1].detach())
        wanted = (index + 0.5) / 2 / 255 * float(model.weight.detach().abs().sum())
        pictures.append(picture + (wanted - score) / float(model.weight.detach().abs().sum()) * direction)
    images = with_pictures(images_for(model, 16, side=side), pictures, label="1")
    few_steps = ("bim-2", "bim-3", "mifgsm-5", "pgd-3")
    rows = rows_of(engine_for(model, images, *FOUR, *few_steps), images)
    expected = [next((eps for eps in GRID if eps > (index + 0.5) / 2), None) for index in range(16)]
    for name in (*FOUR, *few_steps):
        assert [row.fooled_at[name] for row in rows] == expected, name


def with_pictures(images: TensorImages, pictures: list[torch.Tensor], label: str) -> TensorImages:
    refs = tuple(copy.copy(ref) for ref in images.refs)
    for ref in refs:
        object.__setattr__(ref, "label", label)
    return TensorImages(images.root, refs, images.classes, images.channels, pictures=tuple(pictures))


class FewPixels(nn.Module):
    """A crooked function of four pixels, small enough to try every corner of the ball."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.first = nn.Parameter(torch.randn(4, 8, generator=generator) * 4)
        self.second = nn.Parameter(torch.randn(8, 2, generator=generator))

    def forward(self, x):
        return torch.tanh((x[:, 0, :2, :2].flatten(1) - 0.5) @ self.first) @ self.second * 3


def test_no_image_called_robust_by_brute_force_is_called_fooled_and_few_are_missed():
    """An independent search over a fine lattice of the ball: the engine finds no less robust image than exists."""
    model = FewPixels()
    images = images_for(model, 24, side=8)
    grid = (8, 24, 48)
    rows = rows_of(engine_for(model, images, "bim", "pgd", "pgd-margin", "apgd", grid=grid), images)
    found = [tally.worst_eps(row) for row in rows]
    exists = [
        brute_force(model, picture, int(ref.label), grid)
        for picture, ref in zip(images.pictures, images.refs, strict=True)
    ]
    assert all(ours >= truth for ours, truth in zip(found, exists, strict=True))
    assert sum(ours > truth for ours, truth in zip(found, exists, strict=True)) <= 1
    assert len(set(found)) >= 3, "the case shows nothing if all images fall alike"


def brute_force(model: nn.Module, picture: torch.Tensor, label: int, grid: tuple[int, ...]) -> int:
    lattice = torch.tensor(list(itertools.product(torch.linspace(-1, 1, 9).tolist(), repeat=4)))
    with torch.no_grad():
        if int(model(picture[None]).argmax()) != label:
            return 0
        for eps in grid:
            moved = picture.repeat(len(lattice), 1, 1, 1)
            moved[:, 0, :2, :2] = (moved[:, 0, :2, :2] + eps / 255 * lattice.view(-1, 2, 2)).clamp(0, 1)
            if (model(moved).argmax(1) != label).any():
                return eps
    return tally.NEVER


def sums_of(rows, classes, protocol="nested"):
    sums = tally.Sums(parse_attacks(FOUR), FOUR if protocol == "paper" else (), classes, GRID, protocol)
    sums.add(*rows)
    return sums


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def images(network):
    return images_for(network, 14)


@pytest.fixture(scope="module")
def rows(network, images):
    return rows_of(engine_for(network, images, *FOUR), images)


def test_the_case_is_informative(rows):
    """Images fall at different eps, some resist, some are wrong from the start."""
    worst = {tally.worst_eps(row) for row in rows}
    assert 0 in worst
    assert len(worst) >= 4


def test_clean_errors_count_as_fooled_at_zero(rows, images):
    wrong = [row for row in rows if row.prediction != row.label]
    assert len(wrong) == 2
    for row in wrong:
        assert set(row.fooled_at.values()) == {0}
        assert row.raw_fooled_at["fgsm"] == GRID


def test_order_does_not_matter(network, images, rows):
    shuffled = list(images.refs)
    random.Random(0).shuffle(shuffled)
    assert rows_of(engine_for(network, images, *FOUR), images, tuple(shuffled)) == rows


def test_shards_join_to_the_whole(network, images, rows):
    first = rows_of(engine_for(network, images, *FOUR), images, images.refs[:5])
    second = rows_of(engine_for(network, images, *FOUR), images, images.refs[5:])
    assert sorted(first + second, key=lambda row: row.id) == rows


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_the_batch_shape_changes_at_most_borderline_images(network, images, rows, batch_size):
    others = rows_of(engine_for(network, images, *FOUR, batch_size=batch_size), images)
    assert sum(one != other for one, other in zip(rows, others, strict=True)) <= 1


@pytest.fixture(scope="module")
def swept(network, images):
    """Each eps on its own: rows by eps."""
    return {eps: rows_of(engine_for(network, images, "bim", "pgd", grid=(eps,)), images) for eps in GRID}


@pytest.mark.parametrize("search", list(Search))
@pytest.mark.parametrize("rescale", [True, False])
def test_every_search_agrees_with_running_every_eps(network, images, swept, search, rescale):
    """On this network fooling is monotone in eps, so the search may not differ from the full sweep."""
    searched = rows_of(engine_for(network, images, "bim", "pgd", search=search, rescale=rescale), images)
    for eps, alone in swept.items():
        for name in ("bim", "pgd"):
            assert [tally.fooling_eps(row, name) <= eps for row in searched] == [
                tally.fooling_eps(row, name) <= eps for row in alone
            ], (name, eps)


def test_no_speedup_changes_more_than_borderline_images(network, images, rows):
    plain = rows_of(
        engine_for(
            network, images, *FOUR, share_first_gradient=False, speedups=Speedups(fold=False, channels_last=False)
        ),
        images,
    )
    assert sum(one != other for one, other in zip(rows, plain, strict=True)) <= 1


def test_the_nested_curve_lies_at_or_below_the_paper_protocols(network, images, rows):
    """Best iterate and nesting can only find more than the last iterate of each eps on its own."""
    paper = rows_of(engine_for(network, images, *FOUR, protocol="paper"), images)
    ours, theirs = sums_of(rows, images.classes), sums_of(paper, images.classes, "paper")
    for (nested, _), (alone, _) in zip(ours.curves, theirs.curves, strict=True):
        assert all(our.n_correct <= their.n_correct for our, their in zip(nested, alone, strict=True))
    assert all(row.raw_fooled_at.keys() == set(FOUR) for row in paper)


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]), n_classes=st.integers(2, 4))
def test_adversarials_are_in_the_ball_they_are_credited_to_and_fool(seed, channels, n_classes):
    model = small_network(n_classes, channels, seed)
    images = images_for(model, 5, channels, seed)
    engine = engine_for(model, images, "fgsm", "bim", "pgd-margin")
    pictures = {ref.id: picture for ref, picture in zip(images.refs, images.pictures, strict=True)}
    for measured in engine.measure(images, images.refs, frozenset(pictures)):
        if measured.adversarial is None:
            assert tally.worst_eps(measured.row) in (0, tally.NEVER)
            continue
        eps = tally.worst_eps(measured.row)
        assert measured.adversarial.picture.shape[0] == channels
        picture = measured.adversarial.picture
        assert (picture - pictures[measured.row.id]).abs().max() <= eps / 255 + 1e-6
        assert picture.min() >= 0
        assert picture.max() <= 1
        with torch.no_grad():
            assert int(model(picture[None]).argmax()) == measured.adversarial.prediction
        assert str(measured.adversarial.prediction) != measured.row.label
        assert measured.row.fooled_at[measured.adversarial_attack] == eps


def test_the_model_is_left_as_it_was(images):
    model = small_network().train()
    model[0].weight.requires_grad_(False)
    model.to(memory_format=torch.channels_last)
    before = fingerprint(model)
    rows_of(engine_for(model, images, *FOUR), images)
    assert fingerprint(model) == before
    model[1].running_mean[0] += 1e-3
    assert fingerprint(model) != before


def test_gradients_are_counted_image_by_image(network, images):
    """An engine of batch 1, where every call is one image, must count what a hook sees."""
    seen = {"gradients": 0, "forwards": 0}
    engine = engine_for(network, images, "bim", batch_size=1)
    working = engine.sources[Source.MODEL]

    def counted(x):
        seen["gradients" if x.requires_grad else "forwards"] += len(x)
        return working(x)

    engine.sources = dict.fromkeys(engine.sources, counted)
    handle = network.register_forward_hook(lambda *_: seen.__setitem__("forwards", seen["forwards"] + 1))
    spent = [measured.work for measured in engine.measure(images, images.refs)]
    handle.remove()
    assert sum(work.gradients for work in spent) == seen["gradients"]
    assert sum(work.forwards for work in spent) == seen["forwards"]


def test_an_image_without_a_finite_answer_is_an_error_and_never_correct(images):
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small_network()

        def forward(self, x):
            logits = self.inner(x)
            dark = x.flatten(1).mean(1, keepdim=True) < threshold
            return torch.where(dark, torch.nan, logits)

    means = sorted(float(picture.mean()) for picture in images.pictures)
    threshold = (means[3] + means[4]) / 2
    rows = rows_of(engine_for(Blind(), images, "fgsm", "bim"), images)
    errors = [row for row in rows if row.error]
    assert len(errors) == 4
    assert all(row.prediction is None for row in errors)
    sums = sums_of(rows, images.classes)
    assert sums.clean.n_errors == 4
    assert all(point.n_correct <= 10 for point in sums.worst)


def test_memory_running_out_halves_the_batch_and_changes_nothing(network, images, rows):
    engine = engine_for(network, images, *FOUR, batch_size=None)
    working = engine.sources[Source.MODEL]
    assert engine.width == 8

    def small_memory(x):
        if len(x) > 4:
            raise torch.OutOfMemoryError
        return working(x)

    engine.sources = dict.fromkeys(engine.sources, small_memory)
    measured = list(engine.measure(images, images.refs))
    assert sorted((each.row for each in measured), key=lambda row: row.id) == rows
    assert {each.batch_size for each in measured} <= {4, 8}
    assert engine.width == 4


@pytest.mark.parametrize("attack", ["pgd", "foolbox:LinfFastGradientAttack"])
def test_while_pictures_are_read_the_model_is_not_said_to_be_asked(network, images, attack):
    """Whoever counts the seconds that a model takes would count those of slow storage."""
    asked, at_reading, at_asking = [()], [], []

    class FromDisk(TensorImages):
        def load(self, ref, size):
            at_reading.append(asked[-1])
            return super().load(ref, size)

    def fails_on_the_first(x):
        at_asking.append(asked[-1])
        if any(torch.equal(picture, images.pictures[0]) for picture in x):
            raise ValueError
        return exact(x)

    engine = engine_for(network, images, attack, batch_size=2)
    exact, engine.progress = engine.exact, Silent()
    engine.sources = dict.fromkeys(engine.sources, fails_on_the_first)
    engine.progress.asking = asked.append
    slow = FromDisk(**vars(images))
    assert [row.error for row in rows_of(engine, slow)].count(None) == len(images) - 1
    assert at_reading
    assert not any(at_reading)
    assert all(at_asking)


def on_a_cpu():
    """Ask for more memory than any machine has, as a network would: the error is torch's own."""
    torch.empty(2**55)


def test_a_cpu_out_of_memory_halves_the_batch_and_says_so(network, images, rows):
    told = []
    engine = engine_for(network, images, *FOUR, batch_size=None)
    engine.progress = Silent()
    engine.progress.say = told.append
    working = engine.sources[Source.MODEL]
    engine.sources = dict.fromkeys(engine.sources, lambda x: on_a_cpu() if len(x) > 4 else working(x))
    assert sorted((each.row for each in engine.measure(images, images.refs)), key=lambda row: row.id) == rows
    assert len(told) == 1
    assert "memory ran out: going on in batches of 4" in told[0]


def answered_rightly(images, rows):
    """The row of the first such image, and its picture."""
    row = next(row for row in rows if row.prediction == row.label)
    return row, images.load(next(ref for ref in images.refs if ref.id == row.id), (SIDE, SIDE))


@pytest.mark.parametrize("batch_size", [None, 1])
@pytest.mark.parametrize("when", ["clean", "attacked"])
def test_an_image_that_needs_more_memory_than_there_is_counts_as_an_error(network, images, rows, batch_size, when):
    """Alone it cannot be asked about, so it withstands nothing; the others are measured as ever."""
    victim, picture = answered_rightly(images, rows)

    class Greedy(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            return on_a_cpu() if when == "clean" and is_exactly(x, picture) else self.inner(x)

    engine = engine_for(Greedy(), images, *FOUR, batch_size=batch_size)
    if when == "attacked":
        engine.sources = dict.fromkeys(engine.sources, lambda x: on_a_cpu() if is_exactly(x, picture) else network(x))
    found = {row.id: row for row in rows_of(engine, images)}
    lost = found[victim.id]
    assert lost.error is not None
    assert lost.prediction is None
    assert set(lost.fooled_at.values()) == {0}
    others = {row.id for row in rows if row.id != victim.id}
    assert {id_ for id_ in others if found[id_].error} == set()
    assert sums_of(found.values(), images.classes).clean.n_errors == 1


@pytest.mark.parametrize(("when", "batch_size"), [("clean", 4), ("attacked", 4), ("judged", 4), ("judged", 1)])
def test_an_image_on_which_the_model_raises_counts_as_an_error(network, images, rows, when, batch_size):
    """Its neighbours in a batch are asked again, in the same shape, and are told what they would have been."""
    victim, picture = answered_rightly(images, rows)

    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            distance = (x - picture).abs().flatten(1).amax(1)
            if ((distance == 0) if when == "clean" else (distance > 0) & (distance < 9 / 255)).any():
                raise IndexError("index 7 is out of range\nof something")
            return self.inner(x)

    engine = engine_for(Picky() if when != "attacked" else network, images, *FOUR, batch_size=batch_size)
    engine.sources = dict.fromkeys(engine.sources, Picky() if when == "attacked" else network)
    found = {row.id: row for row in rows_of(engine, images)}
    lost = found.pop(victim.id)
    assert lost.error == "the model fails on this image (IndexError: index 7 is out of range)"
    assert set(lost.fooled_at.values()) == {0}
    assert not any(row.error for row in found.values())
    if batch_size == 4:
        assert list(found.values()) == [row for row in rows if row.id != victim.id]


def test_a_model_that_fails_at_everything_ends_the_scan(network, images):
    """As a GPU that has crashed does: no image is to blame, and none is written off."""
    engine = engine_for(network, images, *FOUR)

    def broken(x):
        raise RuntimeError("unspecified launch failure")

    engine.sources = dict.fromkeys(engine.sources, broken)
    with pytest.raises(ModelError, match=r"[.]png: the model fails .*It fails on noise too .unspecified launch"):
        rows_of(engine, images)


def is_exactly(x, picture):
    return bool((x == picture).flatten(1).all(1).any())


def test_a_model_without_gradients_gets_a_batch_size_too(network, images):
    """On a GPU the width is found by taking a gradient, and a model may cut the path to it."""

    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = copy.deepcopy(network)

        def forward(self, x):
            return self.inner(x.detach())

    engine = engine_for(Detached(), images, "fgsm")
    engine.device = torch.device("cuda")
    assert engine._fitting_width() == CUDA_BATCH_SIZE


def test_a_batch_size_that_was_asked_for_is_not_changed_silently(network, images):
    engine = engine_for(network, images, "bim", batch_size=8)

    def no_memory(x):
        raise torch.OutOfMemoryError

    engine.sources = dict.fromkeys(engine.sources, no_memory)
    with pytest.raises(SettingsError, match="--batch-size 8: memory ran out; pass a smaller one"):
        rows_of(engine, images)
    assert engine.width == 8


class Mute(nn.Module):
    """The same logits as the small network, with another gradient."""

    def __init__(self, poison):
        super().__init__()
        self.inner, self.poison = small_network(), poison

    def forward(self, x):
        return self.poison(self.inner(x), x)


def not_finite(logits, x):
    return logits + 0 * (0 * x).sqrt().flatten(1).sum(1, keepdim=True)


def without_gradient(logits, x):
    return logits.detach() + 0 * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("poison", "kind"), [(not_finite, "non_finite_gradients"), (without_gradient, "zero_gradients")]
)
def test_useless_gradients_are_counted(images, poison, kind):
    """The same logits as the network, with a gradient that is not a number, or zero."""
    measured = list(engine_for(Mute(poison), images, "bim").measure(images, images.refs))
    counts = [getattr(each.work, kind) for each in measured]
    assert counts == [each.work.gradients for each in measured]
    assert sum(counts) > 0


def test_gradients_of_another_model_are_work_and_say_nothing_of_this_one(network, images):
    """Those of a surrogate that has none, and those that foolbox asks for."""
    surrogate = Mute(without_gradient)
    engine = engine_for(network, images, "bim", "transfer", "foolbox:LinfDeepFoolAttack", surrogate=surrogate)
    alone = list(engine_for(network, images, "bim").measure(images, images.refs))
    measured = list(engine.measure(images, images.refs))
    assert sum(each.work.gradients for each in measured) > sum(each.work.gradients for each in alone)
    own = {each.row.id: each.work.own_gradients for each in alone}
    assert {each.row.id: each.work.own_gradients for each in measured} == own
    assert sum(own.values()) == sum(each.work.gradients for each in alone)
    assert all(each.work.zero_gradients == 0 for each in measured)


@pytest.mark.parametrize("search", list(Search))
def test_an_attack_added_on_survivors_may_draw_level(network, images, search):
    """What fell to an attack falls to it again at the same eps, if that may be tried; that is no new adversarial."""
    engine = engine_for(network, images, "pgd", search=search)
    measured = list(engine.measure(images, images.refs))
    clean = {ref.id: sight for ref, sight in engine.clean_sights(images, images.refs)}
    worst = {each.row.id: each.row.fooled_at["pgd"] for each in measured if each.row.fooled_at["pgd"] != 0}
    assert set(worst.values()) - {None}
    again = replace(engine.plan.attacks[0], scope="survivors")
    for ties, expected in ((True, worst), (False, dict.fromkeys(worst))):
        found = {ref.id: one for ref, one in engine.pursue(images, again, worst, clean, ties=ties)}
        assert {id_: one.found_255 for id_, one in found.items()} == expected
        assert all(one.adversarial is None for one in found.values())
    anew = {ref.id: one for ref, one in engine.pursue(images, again, dict.fromkeys(worst), clean)}
    assert {id_: one.found_255 for id_, one in anew.items()} == worst
    assert all((one.realisable is None) == (one.adversarial is None) for one in anew.values())
    assert max(one.excess for one in anew.values()) <= 1e-6


def test_an_attack_that_bounds_another_norm_is_refused(network, images):
    with pytest.raises(SettingsError, match="L-inf"):
        engine_for(network, images, "foolbox:L2PGD")
    with pytest.raises(SettingsError, match="no such attack"):
        engine_for(network, images, "foolbox:NoSuchAttack")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("GenAttack", "needs a class to move to"),  # was run, refused every image, and counted as resisted by all
        ("InversionAttack", "bounds another norm"),
        ("LinfinityBrendelBethgeAttack", "needs numba"),
    ],
)
def test_a_foolbox_attack_that_cannot_be_run_is_refused_before_the_scan(monkeypatch, network, images, name, why):
    monkeypatch.setattr(brendel_bethge, "NUMBA_IMPORT_ERROR", ModuleNotFoundError("No module", name="numba"))
    with pytest.raises(SettingsError, match=f"foolbox:{name}: {why}"):
        engine_for(network, images, f"foolbox:{name}")


def test_a_foolbox_attack_that_finds_nothing_to_begin_with_proposes_nothing(network, images, monkeypatch):
    """Decision-based attacks raise where no start is found; that image resisted, and the scan goes on."""

    def nothing(*_, **__):
        raise ValueError("init_attack failed for 1 of 1 inputs")

    monkeypatch.setattr("robaudit.attack.foolbox_adapter.find_attack", lambda name: nothing)
    monkeypatch.setattr("robaudit.attack.curve.find_attack", lambda name: nothing)
    rows = rows_of(engine_for(network, images, "foolbox:Boundary"), images)
    assert {row.fooled_at["foolbox:Boundary"] for row in rows} == {0, None}


def test_an_error_of_the_model_is_not_taken_for_a_foolbox_attack_that_found_nothing(network, images):
    def working(x):
        raise ValueError("no such channel")

    target = Target(images.pictures[0], 0, "f" * 64, seed=0)
    with pytest.raises(UnanswerableError, match=r"a[.]png: the model fails on this image .ValueError: no such"):
        FoolboxRunner(working, torch.device("cpu"), Work(), "a.png").perturb(target, FoolboxAttack("LinfPGD"), 8)


def test_the_copy_that_has_not_been_asked_takes_no_memory_for_weights(network, images):
    engine = engine_for(network, images, "fgsm")
    for own, shared in zip(network.state_dict().values(), engine.unasked.state_dict().values(), strict=True):
        assert own.data_ptr() == shared.data_ptr()


@pytest.mark.parametrize("name", ["foolbox:LinfDeepFoolAttack", "foolbox:LInfFMNAttack"])
def test_attacks_that_stop_at_the_border_are_as_strong_with_gradients_in_bfloat16(network, images, name):
    plain, fast = (
        rows_of(engine_for(network, images, name, speedups=Speedups(bfloat16=bfloat16)), images)
        for bfloat16 in (False, True)
    )
    assert plain == fast
    assert len({row.fooled_at[name] for row in plain}) >= 4


def test_a_foolbox_attack_is_judged_by_our_rule(network, images):
    rows = rows_of(engine_for(network, images, "foolbox:LinfPGD", grid=(2, 8)), images)
    ours = rows_of(engine_for(network, images, "pgd", grid=(2, 8)), images)
    for eps in (2, 8):
        theirs = sum(tally.fooling_eps(row, "foolbox:LinfPGD") <= eps for row in rows)
        assert abs(theirs - sum(tally.fooling_eps(row, "pgd") <= eps for row in ours)) <= 1
