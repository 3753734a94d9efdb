"""Answers are recognised, and the logits had from them give the same decisions as the answers themselves."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from containers import exported, exported_for_one, onnx_by_trace, scripted, traced
from torch import nn

from robaudit.errors import ModelError
from robaudit.load.features import NotAskedError, last_layer, penultimate
from robaudit.load.head import Head
from robaudit.load.in_memory import from_module
from robaudit.load.model import load_model
from robaudit.load.outputs import OutputKind, Outputs, find_outputs, output_kind


class Headed(nn.Module):
    """A linear network with something done to its logits."""

    def __init__(self, head, n_outputs=3, scale=1.0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, n_outputs))
        self.body[1].weight.data *= 4 * scale
        self.body[1].bias.data -= self.body(PICTURES).median(0).values.detach()
        self.head = head

    def forward(self, x):
        return self.head(self.body(x))


PICTURES = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def by_hand(z):
    powers = z.exp()
    return powers / powers.sum(1, keepdim=True)


HEADS = {
    "logits": (lambda z: z, 3, OutputKind.LOGITS, None),
    "softmax": (lambda z: z.softmax(1), 3, OutputKind.PROBABILITIES, 0),
    "functional softmax": (lambda z: F.softmax(z, dim=1), 3, OutputKind.PROBABILITIES, 0),
    "softmax module": (nn.Softmax(1), 3, OutputKind.PROBABILITIES, 0),
    "second softmax": (lambda z: (z + 0 * z.softmax(1)).softmax(1), 3, OutputKind.PROBABILITIES, 1),
    "softmax by hand": (by_hand, 3, OutputKind.PROBABILITIES, None),
    "log-softmax": (lambda z: z.log_softmax(1), 3, OutputKind.LOG_PROBABILITIES, None),
    "one logit": (lambda z: z, 1, OutputKind.ONE_LOGIT, None),
    "one sigmoid": (lambda z: z.sigmoid(), 1, OutputKind.ONE_PROBABILITY, 0),
    "sigmoid module": (nn.Sigmoid(), 1, OutputKind.ONE_PROBABILITY, 0),
    "sigmoid by hand": (lambda z: 1 / (1 + (-z).exp()), 1, OutputKind.ONE_PROBABILITY, None),
}


@pytest.mark.parametrize("name", HEADS)
def test_what_a_network_answers_with_is_recognised(name):
    head, n_outputs, kind, behind = HEADS[name]
    assert find_outputs(Headed(head, n_outputs), PICTURES) == Outputs(kind, behind)


@pytest.mark.parametrize("name", HEADS)
def test_logits_decide_as_the_answers_do(name):
    head, n_outputs, _, _ = HEADS[name]
    network = Headed(head, n_outputs)
    with torch.no_grad():
        logits = find_outputs(network, PICTURES).logits(network, PICTURES)
        raw = network.body(PICTURES)
    decided = (raw[:, 0] > 0).long() if n_outputs == 1 else raw.argmax(1)
    assert logits.shape == (64, max(2, n_outputs))
    assert torch.equal(logits.argmax(1), decided)
    probabilities = torch.cat([1 - raw.sigmoid(), raw.sigmoid()], 1) if n_outputs == 1 else raw.softmax(1)
    torch.testing.assert_close(logits.softmax(1), probabilities, atol=1e-5, rtol=0)


def test_behind_a_saturated_softmax_there_is_a_gradient():
    """Sure to the last bit: the probabilities' own gradient is zero, that of what comes before is not."""
    network = Headed(lambda z: z.softmax(1), scale=30000.0)
    x = PICTURES.clone().requires_grad_()
    (mute,) = torch.autograd.grad(network(x).amax(1).sum(), x)
    outputs = find_outputs(network, PICTURES)
    (speaking,) = torch.autograd.grad(outputs.logits(network, x).amax(1).sum(), x)
    assert outputs.behind == 0
    assert (mute.flatten(1).abs().amax(1) == 0).float().mean() > 0.5
    assert (speaking.flatten(1).abs().amax(1) > 0).all()


@pytest.mark.parametrize("answer", [-40.0, 0.3, 40.0])
def test_one_logit_becomes_two_of_the_same_probability_whose_gradient_fades_at_neither_end(answer):
    z = torch.tensor([[answer]], requires_grad=True)
    logits = Outputs(OutputKind.ONE_LOGIT).logits(lambda x: x, z)
    torch.testing.assert_close(logits.softmax(1)[:, 1], z.detach().sigmoid()[:, 0])
    (gradient,) = torch.autograd.grad(logits[0, 1] - logits[0, 0], z)
    assert float(gradient) == 1


@pytest.mark.parametrize("name", [name for name, (_, n_outputs, *_) in HEADS.items() if n_outputs == 1])
@pytest.mark.parametrize("threshold", [0.35, 0.5, 0.65])
def test_one_output_decides_at_its_threshold(name, threshold):
    head, n_outputs, *_ = HEADS[name]
    network = Headed(head, n_outputs)
    with torch.no_grad():
        outputs = replace(find_outputs(network, PICTURES), threshold=threshold)
        decided, p = outputs.logits(network, PICTURES).argmax(1), network.body(PICTURES)[:, 0].sigmoid()
    assert torch.equal(decided, (p > threshold).long())
    assert 0 < decided.sum() < len(decided), "or every threshold would do"


def test_a_threshold_moves_the_decision_and_leaves_the_gradient_alone():
    z = torch.tensor([[-40.0], [0.3], [40.0]], requires_grad=True)
    logits = Outputs(OutputKind.ONE_LOGIT, threshold=0.2).logits(lambda x: x, z)
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), z)
    assert torch.equal(gradient, torch.ones(3, 1))
    assert "threshold of 0.2" in Outputs(OutputKind.ONE_LOGIT, threshold=0.2).words


def test_rows_without_finite_numbers_do_not_hide_what_the_others_are():
    rows = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    rows[2] = float("nan")
    assert output_kind(rows) is OutputKind.PROBABILITIES
    assert output_kind(torch.full((3, 2), float("nan"))) is OutputKind.LOGITS


class Picture(nn.Module):
    """A convolutional network that ends with a softmax, as programs are saved of it."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3))).softmax(1)


@pytest.mark.parametrize("save", [traced, scripted, exported, onnx_by_trace], ids=lambda save: save.__name__)
def test_the_softmax_of_a_program_is_looked_behind_too(save, tmp_path):
    network, example = Picture().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    file = tmp_path / "model"
    save(network, example, file)
    loaded = load_model(file, folder_classes=("a", "b"), input_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    classifier = loaded.with_outputs_seen_on(example).classifier
    assert classifier.outputs == Outputs(OutputKind.PROBABILITIES, 0)
    with torch.no_grad():
        before = network.head(network.body(example).relu().mean((2, 3)))
        torch.testing.assert_close(classifier(example), before)


class Squeezed(Picture):
    """One output, from which `.squeeze()` takes the batch of one picture as well."""

    def forward(self, x):
        return super().forward(x)[:, 1].squeeze()


class SqueezedLogit(Picture):
    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))[:, 1].squeeze()


@pytest.mark.parametrize("network", [Squeezed, SqueezedLogit])
@pytest.mark.parametrize("save", [traced, exported], ids=lambda save: save.__name__)
def test_one_number_for_one_picture_is_a_row(save, network, tmp_path):
    network, example = network().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    file = tmp_path / "model"
    save(network, example, file)
    loaded = load_model(file, folder_classes=("a", "b"), input_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    classifier = loaded.with_outputs_seen_on(example).classifier
    with torch.no_grad():
        assert classifier(example[:1]).shape == (1, 2)
        torch.testing.assert_close(classifier(example[:1]), classifier(example)[:1])


class SqueezedRow(Picture):
    """Two outputs; of one picture, a row without a batch."""

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3))).squeeze()


SAVES = {"traced": traced, "scripted": scripted, "exported": exported, "onnx": onnx_by_trace, "weights alone": None}


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_several_numbers_for_one_picture_are_a_row(save, tmp_path):
    """That it drops the batch of one is no sign of a network in training mode."""
    network, example = SqueezedRow().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    file = tmp_path / "model"
    options = {} if save else {"factory": f"{__name__}:SqueezedRow"}
    if save:
        save(network, example, file)
    else:
        torch.save(network.state_dict(), file)
    loaded = load_model(file, folder_classes=("a", "b"), input_size=(32, 32), normalization="none", **options)
    classifier = loaded.with_outputs_seen_on(example).classifier
    with torch.no_grad():
        for n in (1, 2, 4):
            torch.testing.assert_close(classifier(example[:n]), network(example)[:n])


@pytest.mark.parametrize("network", [Squeezed, SqueezedLogit, SqueezedRow])
def test_a_network_in_memory_that_squeezes_its_answer_answers_one_picture_as_among_others(network):
    network, example = network().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    loaded = from_module(network, classes=("a", "b"), size=(32, 32)).with_outputs_seen_on(example)
    with torch.no_grad():
        alone, together = loaded.classifier(example[:1]), loaded.classifier(example)
        torch.testing.assert_close(alone, together[:1])


class SqueezedWithin(Picture):
    """Of one picture, a row whose second dimension a softmax looks for in vain."""

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3)).squeeze()).log_softmax(1)


def test_a_network_in_memory_that_takes_no_picture_alone_is_refused_before_anything_is_measured():
    with pytest.raises(ModelError, match=r"in memory: takes no picture alone \(IndexError: .*let it keep the batch"):
        from_module(SqueezedWithin().eval(), classes=("a", "b"), size=(32, 32))


class Picky(Headed):
    """Raises on pictures that are dark enough."""

    def __init__(self, darkest):
        super().__init__(lambda z: z, n_outputs=1)
        self.darkest = darkest

    def forward(self, x):
        if bool((x.mean((1, 2, 3)) < self.darkest).any()):
            raise ZeroDivisionError("nothing to see")
        return super().forward(x).sigmoid()


def test_a_network_that_fails_on_a_picture_it_is_tried_on_is_understood_by_the_others():
    loaded = from_module(Picky(0.4), classes=("a", "b"), size=(4, 4), mean=(0.0,), std=(1.0,))
    assert loaded.with_outputs_seen_on(PICTURES).classifier.outputs.behind is not None
    loaded = from_module(Picky(1.1), classes=("a", "b"), size=(4, 4), mean=(0.0,), std=(1.0,))
    with pytest.raises(ModelError, match=r"Picky: fails on the pictures .*\(ZeroDivisionError: nothing to see\)"):
        loaded.with_outputs_seen_on(PICTURES)


class Decided(Picture):
    def forward(self, x):
        return super().forward(x).argmax(1)


def test_an_answer_that_is_decided_already_is_refused_with_what_to_do(tmp_path):
    network, example = Decided().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    traced(network, example, tmp_path / "m")
    with pytest.raises(ModelError, match=r"these are whole numbers.*save it without its last argmax"):
        load_model(tmp_path / "m", input_size=(32, 32))


class Findings(Picture):
    """A sigmoid for each output."""

    def forward(self, x):
        return self.head(self.body(x).relu().mean((2, 3))).sigmoid()


@pytest.mark.parametrize("save", [traced, scripted, exported, onnx_by_trace], ids=lambda save: save.__name__)
def test_findings_are_known_by_their_sigmoids_and_audited_one_at_a_time(save, tmp_path):
    """Two findings and two class folders: nothing but the sigmoids tells that they are no classes."""
    network, example = Findings().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    file = tmp_path / "model"
    save(network, example, file)
    known = {"folder_classes": ("a", "b"), "input_size": (32, 32), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    with pytest.raises(ModelError, match=r"a sigmoid for each of its 2 outputs.*--label-index \(0 to 1\), or"):
        load_model(file, **known).with_outputs_seen_on(example)
    classifier = load_model(file, label_index=1, **known).with_outputs_seen_on(example).classifier
    with torch.no_grad():
        torch.testing.assert_close(classifier(example).softmax(1)[:, 1], network(example)[:, 1])


def test_a_network_in_inference_mode_is_recognised_too():
    class Inferring(Headed):
        def forward(self, x):
            with torch.inference_mode():
                return super().forward(x)

    assert find_outputs(Inferring(lambda z: z), PICTURES).kind is OutputKind.LOGITS
    assert find_outputs(Inferring(lambda z: z.softmax(1)), PICTURES).kind is OutputKind.PROBABILITIES


def test_logits_that_happen_to_look_like_probabilities_are_logits():
    assert find_outputs(Headed(lambda z: z.clamp(0, 1)), PICTURES) == Outputs(OutputKind.LOGITS)


class Hidden(Picture):
    """A squash with something between it and the answer."""

    def raw(self, x):
        return self.head(self.body(x).relu().mean((2, 3)))


class OneSqueezed(Hidden):
    def forward(self, x):
        return self.raw(x)[:, :1].sigmoid().squeeze(1)


class OneReshaped(Hidden):
    def forward(self, x):
        return self.raw(x)[:, 1:].sigmoid().reshape(-1, 1, 1, 1) * 1.0


class OneInDict(Hidden):
    def forward(self, x):
        return {"probability": self.raw(x)[:, 1:].sigmoid(), "features": x}


class SoftmaxInTuple(Hidden):
    def forward(self, x):
        return x, self.raw(x).softmax(1).clone()


class SoftmaxOfOnePicture(Hidden):
    """Its program is of one picture, and is asked once for each."""

    def raw(self, x):
        return self.head(self.body(x).relu().mean((2, 3)).reshape(1, 8))

    def forward(self, x):
        gate = self.body(x).sigmoid().mean()
        return (self.raw(x) + 0 * gate).softmax(1)


@pytest.mark.parametrize("save", [traced, exported_for_one, onnx_by_trace], ids=lambda save: save.__name__)
@pytest.mark.parametrize("made", [OneSqueezed, OneReshaped, OneInDict, SoftmaxInTuple, SoftmaxOfOnePicture])
def test_a_squash_is_seen_through_what_stands_after_it(save, made, tmp_path):
    network, example = made().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    save(network, example[:1], tmp_path / "model")
    loaded = load_model(
        tmp_path / "model", folder_classes=("a", "b"), input_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    classifier = loaded.with_outputs_seen_on(example).classifier
    assert classifier.outputs.behind is not None
    with torch.no_grad():
        z = torch.cat([network.raw(picture[None]) for picture in example])
        if classifier.outputs.kind is OutputKind.ONE_PROBABILITY:
            z = z[:, :1] if made is OneSqueezed else z[:, 1:]
            z = torch.cat([-z / 2, z / 2], 1)
        torch.testing.assert_close(classifier(example), z)


@pytest.mark.parametrize("save", [traced, onnx_by_trace], ids=lambda save: save.__name__)
def test_one_of_several_findings_is_looked_behind(save, tmp_path):
    network, example = Findings().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    save(network, example, tmp_path / "model")
    loaded = load_model(
        tmp_path / "model", label_index=1, input_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3
    ).with_outputs_seen_on(example)
    assert loaded.classifier.outputs == Outputs(OutputKind.ONE_PROBABILITY, 0)


class Timid(nn.Module):
    """Answers with one logit that is a small positive number for every picture: the second class, each time."""

    def __init__(self, in_place=False):
        super().__init__()
        self.layer, self.in_place = nn.Linear(3, 1), in_place
        nn.init.constant_(self.layer.weight, 0.1)
        nn.init.constant_(self.layer.bias, 0.1)

    def forward(self, x):
        z = self.layer(x.mean((2, 3)))
        return z.sigmoid_() if self.in_place else z


@pytest.mark.parametrize("save", [None, traced, scripted, exported], ids=["module", "traced", "scripted", "exported"])
def test_what_a_linear_layer_answers_is_a_logit_also_between_0_and_1(save, tmp_path):
    """Taken for a probability, a logit of 0.3 would decide for the first class."""
    network, example = Timid().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert ((network(example) > 0) & (network(example) < 0.5)).all()
    if save is None:
        outputs = find_outputs(network, example)
    else:
        save(network, example, tmp_path / "model")
        loaded = load_model(tmp_path / "model", input_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
        outputs = loaded.with_outputs_seen_on(example).classifier.outputs
    assert outputs == Outputs(OutputKind.ONE_LOGIT)
    assert find_outputs(Timid(in_place=True), example).kind is OutputKind.ONE_PROBABILITY


@pytest.mark.parametrize("save", [None, traced, onnx_by_trace])
@pytest.mark.parametrize(
    "after",
    [lambda z, t: z / t, lambda z, t: (z + 0.5 * z) / 2, lambda z, t: z @ t.T + 0.05, lambda z, t: 0.4 - z[:, 0]],
    ids=["temperature", "mean", "weights", "negative"],
)
def test_a_sum_of_what_layers_answer_is_a_logit_also_between_0_and_1(save, after, tmp_path):
    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 1)
            nn.init.constant_(self.layer.weight, 0.1)
            nn.init.constant_(self.layer.bias, 0.1)
            self.t = nn.Parameter(torch.full((1, 1), 1.1))

        def forward(self, x):
            return after(self.layer(x.relu()).mean((2, 3)), self.t)

    network, example = Summed().eval(), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert ((network(example) > 0) & (network(example) < 0.5)).all()
    if save is None:
        outputs = find_outputs(Head(network, 1, None, None), example)
    else:
        save(network, example, tmp_path / "model")
        loaded = load_model(tmp_path / "model", input_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
        outputs = loaded.with_outputs_seen_on(example).classifier.outputs
    assert outputs == Outputs(OutputKind.ONE_LOGIT)
    assert all(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize(
    "head",
    [
        lambda z: z.sigmoid_(),
        lambda z: (1 + z.tanh()) / 2,
        lambda z: z.square() / (1 + z.square()),
        lambda z: z.clamp(0, 1),
        lambda z: (z > 0).float(),
        lambda z: z.exp() / (1 + z.exp()),
        lambda z: torch.bmm(z.sigmoid()[:, None], z.sigmoid()[:, :, None])[:, 0],
        lambda z: 1 - (z.sigmoid_() + 0) / 2,
        lambda z: torch.cat([z, -z], 1).softmax(1) @ torch.tensor([[0.1], [0.9]]),
        lambda z: torch.einsum("bk,k->b", torch.cat([z, -z], 1).sigmoid(), torch.tensor([0.3, 0.7]))[:, None],
    ],
)
def test_one_number_that_anything_else_bounds_is_taken_for_a_probability(head):
    outputs = find_outputs(Headed(head, 1), PICTURES)
    assert outputs == Outputs(OutputKind.ONE_PROBABILITY)
    assert "taken for a probability" in outputs.words


def test_one_number_of_a_network_that_answers_without_gradients_alone_is_taken_for_a_probability():
    """It cannot be asked where its number comes from."""
    network = Headed(lambda z: torch.from_numpy(0.9 * z.sigmoid().numpy()), 1)
    assert find_outputs(network, PICTURES) == Outputs(OutputKind.ONE_PROBABILITY)
    assert all(weight.requires_grad for weight in network.parameters())


class SoftmaxOfFour(SoftmaxOfOnePicture):
    """Its program is of four pictures."""

    def raw(self, x):
        return self.head(self.body(x).relu().mean((2, 3)).reshape(4, 8))


@pytest.mark.parametrize("n_seen", [1, 4, 6])
def test_a_program_of_four_pictures_is_looked_behind_for_any_number(tmp_path, n_seen):
    """Seen on one batch of four and asked for eleven, every one of its three batches gives logits."""
    network, example = SoftmaxOfFour().eval(), torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    torch.export.save(torch.export.export(network, (example[:4],)), tmp_path / "model.pt2")
    loaded = load_model(
        tmp_path / "model.pt2", folder_classes=("a", "b"), input_size=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3
    )
    classifier = loaded.with_outputs_seen_on(example[:n_seen]).classifier
    with torch.no_grad():
        z = torch.cat([network.raw(part) for part in example.split(4)])
        torch.testing.assert_close(classifier(example[:11]), z[:11])


class Ended(nn.Module):
    """A linear network, and something done around its answer."""

    def __init__(self, answer):
        super().__init__()
        self.flat, self.answer = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), answer

    def forward(self, x):
        return self.answer(self.flat, x)


def without_records(network, x):
    with torch.inference_mode():
        return network(x)


@pytest.mark.parametrize(
    "answer",
    [lambda network, x: (100 * network(x)).round().long(), without_records],
    ids=["whole numbers", "inference"],
)
def test_whole_numbers_and_inference_mode_are_logits_too(answer):
    outputs = find_outputs(Ended(answer), PICTURES)
    assert outputs.kind is OutputKind.LOGITS
    assert outputs.logits(Ended(answer), PICTURES).is_floating_point()


class OneNumber(nn.Module):
    """A network of one logit, and something done to it."""

    def __init__(self, after=lambda z: z):
        super().__init__()
        self.flat, self.after = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), after

    def forward(self, x):
        return self.after(self.flat(x))


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize(
    ("after", "is_plain"),
    [(lambda z: z, True), (torch.sigmoid, True), (lambda z: z.clamp(-9, 9), False), (lambda z: z.mul_(9), False)],
    ids=["logit", "sigmoid", "clamped", "in place"],
)
def test_one_plain_logit_has_nothing_behind_it_at_any_threshold(after, is_plain, threshold):
    """What robaudit itself makes of one output, two columns and a shift, hides nothing."""
    network = OneNumber(after).eval()
    outputs = replace(find_outputs(network, PICTURES), threshold=threshold)
    behind = last_layer(lambda x: outputs.logits(network, x), PICTURES[:2])
    assert (behind is None) is is_plain


class Cascade(nn.Module):
    """Asks the second network about the bright pictures alone, and cuts its answers off."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Ended(lambda z, x: z(x)), Ended(lambda z, x: z(x))

    def forward(self, x):
        bright = x.mean((1, 2, 3)) > 0.5
        answers = self.first(x)
        if bright.any():
            answers = answers.index_put((bright,), self.second(x[bright]))
        return answers.clamp(-9, 9)


def test_a_network_that_asks_its_last_layer_about_some_pictures_alone_is_asked_for_its_answers():
    network = Cascade().eval()
    bright, dark = torch.full((2, 1, 4, 4), 0.9), torch.full((2, 1, 4, 4), 0.1)
    behind, features = last_layer(network, bright), penultimate(network, bright)
    for some in (torch.cat([bright, dark]), dark):
        torch.testing.assert_close(behind(some), network(some))
        with pytest.raises(NotAskedError):
            features(some)
    assert features(bright).shape == (2, 16)
