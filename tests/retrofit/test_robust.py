"""Adversarial fine-tuning: it selects by PGD, its guard works, and its rival can be run."""

import contextlib
import json
import math

import pytest
import timm
import torch
from torch.nn import functional as F

from robaudit.data.images import open_images
from robaudit.errors import TrainingError
from robaudit.load.model import load_model
from robaudit.progress import Silent
from robaudit.retrofit import train as training_loop
from robaudit.retrofit.assimilate import assimilate
from robaudit.retrofit.objective import class_weights
from robaudit.retrofit.samples import Samples
from robaudit.retrofit.state import StateFile, copied
from robaudit.retrofit.validate import validate
from robaudit.retrofit_records import UnderAttack

FRONT = {"robust": "fgsm", "epochs": 3, "batch_size": 8, "trains": "front"}
ROBUST = {"robust": "fgsm", "epochs": 3, "batch_size": 8, "learning_rate": 1e-3}


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def robust(model, data, tmp_path_factory, heard_lines):
    """A model trained by fast FGSM."""
    out = tmp_path_factory.mktemp("robust") / "out"
    return out, assimilate(model, data, out=out, progress=heard_lines, **ROBUST)


def test_every_epoch_is_measured_under_pgd_the_one_before_the_first_step_too(robust):
    out, _ = robust
    for row in metrics(out):
        attacked = row["val"]["under_attack"]
        assert (attacked["eps_255"], attacked["steps"], attacked["n_images"]) == (4, 5, 8)
        assert attacked["n_correct"] <= row["val"]["n_correct"]
        assert sum(attacked["n_correct_of_class"]) == attacked["n_correct"]


def test_the_epoch_kept_is_the_one_with_most_images_correct_under_attack(robust):
    out, record = robust
    best = min(
        metrics(out)[1:],
        key=lambda row: (-row["val"]["under_attack"]["n_correct"], row["val"]["under_attack"]["cross_entropy"]),
    )
    assert record.best.epoch == best["epoch"]


def test_weights_of_classes_hold_for_the_choice_of_the_epoch_too(robust):
    """Of 95 healthy and 5 ill, one epoch calls all healthy; the other finds the ill, and two healthy fewer."""
    all_healthy, finds_the_ill = (
        robust[1].best.model_copy(update={"val": robust[1].best.val.model_copy(update={"under_attack": attacked})})
        for attacked in (
            UnderAttack(n_correct=n, n_images=100, cross_entropy=1, eps_255=4, steps=5, n_correct_of_class=of_class)
            for n, of_class in ((95, (95, 0)), (93, (88, 5)))
        )
    )
    both, weights = [all_healthy, finds_the_ill], class_weights("balanced", {"healthy": 95, "ill": 5})
    assert min(both, key=lambda metrics: training_loop._rank(metrics, weights)) is finds_the_ill
    assert min(both, key=lambda metrics: training_loop._rank(metrics, None)) is all_healthy


def test_the_price_is_told_before_training(robust, heard_lines):
    said = heard_lines.lines
    price = next(index for index, text in enumerate(said) if "clean accuracy may fall" in text)
    first_epoch = next(index for index, text in enumerate(said) if text.startswith("epoch 1/3"))
    assert price < first_epoch
    assert any(text.startswith("up to 3 epochs of about") for text in said[:first_epoch])


def test_the_learning_rate_falls_to_zero_along_a_cosine(robust):
    out, record = robust
    assert record.settings["schedule"] == "cosine"
    steps_done = [(epoch + 0.5) / 3 for epoch in range(3)]  # two batches an epoch: the last step at half of it
    expected = [1e-3 * (1 + math.cos(math.pi * done)) / 2 for done in steps_done]
    assert [row["learning_rate"] for row in metrics(out)[1:]] == pytest.approx(expected)


@pytest.mark.parametrize("method", ["pgd", "trades"])
def test_the_other_methods_train_and_say_what_they_faced(model, data, tmp_path, method):
    settings = FRONT | {"robust": method, "epochs": 1, "robust_steps": 2}
    record = assimilate(model, data, out=tmp_path / "out", **settings)
    assert record.best.attack == method
    assert (record.best.train.divergence > 0) == (method == "trades")


def test_the_rival_is_a_plain_timm_folder_and_names_what_it_passes_over(model, data, tmp_path, heard_lines):
    out, passed_over = tmp_path / "rival", {"levels": 8, "scaled": False}
    record = assimilate(
        model, data, out=out, front="none", progress=heard_lines, **passed_over, **(ROBUST | {"epochs": 1})
    )
    said = "no T and C: the network alone is fine-tuned, without texture term; without use here: levels, scaled"
    assert said in heard_lines.lines
    assert (record.modules, record.settings["alpha"]) == ("none", 1.0)
    assert (record.best.val.saturated, record.best.train.texture) == (None, 0.0)
    ours = load_model(out)
    assert ours.info.front is None
    assert ours.info.classes == ("across", "down")
    theirs = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    x = torch.rand(2, 3, 40, 40)
    normalised = (x - ours.classifier.mean) / ours.classifier.std
    with torch.no_grad():
        torch.testing.assert_close(theirs(normalised), ours.classifier(x))


def pretend(monkeypatch, under_attack, n_images=8):
    """Let validation say how many images withstand PGD, and the single step, epoch by epoch from 0 on."""
    counts = iter(under_attack)

    def pretending(objective, validation, *, single_step):
        by_pgd, by_single_step = next(counts)
        attacked = UnderAttack(
            n_correct=by_pgd, n_images=n_images, cross_entropy=1.0, eps_255=4, steps=5,
            n_correct_single_step=by_single_step if single_step else None,
        )  # fmt: skip
        return validate(objective, validation).model_copy(update={"under_attack": attacked})

    monkeypatch.setattr(training_loop, "validate", pretending)


def test_a_blind_fgsm_is_sent_back_and_pgd_takes_over(model, data, tmp_path, monkeypatch, heard_lines):
    """Six of eight withstand PGD after epoch 1, none after epoch 2."""
    pretend(monkeypatch, [(0, 0), (6, 6), (0, 8), (7, 8)])
    out = tmp_path / "out"
    record = assimilate(model, data, out=out, progress=heard_lines, **FRONT)
    rows = metrics(out)
    assert [row["attack"] for row in rows] == [None, "fgsm", "fgsm", "pgd"]
    assert [row["fell_back"] for row in rows] == [False, False, True, False]
    assert record.best.epoch == 3
    assert any("back to epoch 1, and on with PGD" in text for text in heard_lines.lines)


COLLAPSES = {
    "what withstood PGD before falls": [(6, 6), (4, 6)],
    "what withstood little withstands single steps alone": [(0, 2), (0, 8)],
}


@pytest.mark.parametrize("collapse", COLLAPSES.values(), ids=list(COLLAPSES))
def test_a_collapse_of_the_first_epoch_goes_back_to_the_model_before(
    model, data, tmp_path, monkeypatch, heard_lines, collapse
):
    pretend(monkeypatch, [*collapse, (7, 8), (5, 5)])
    saved, save = [], StateFile.save

    def saving(self, now):
        saved.append(copied(now.classifier.backbone))
        save(self, now)

    monkeypatch.setattr(StateFile, "save", saving)
    out = tmp_path / "out"
    record = assimilate(model, data, out=out, progress=heard_lines, **ROBUST)
    assert [row["attack"] for row in metrics(out)] == [None, "fgsm", "pgd", "pgd"]
    assert [row["fell_back"] for row in metrics(out)] == [False, True, False, False]
    assert record.best.epoch == 2
    assert any("back to the model before training" in text for text in heard_lines.lines)
    vanilla = load_model(model).classifier.backbone.state_dict()
    assert all(torch.equal(saved[0][name].cpu(), weight) for name, weight in vanilla.items())
    assert not all(torch.equal(saved[1][name].cpu(), weight) for name, weight in vanilla.items())


NO_COLLAPSES = {
    "nothing learnt yet": [(0, 6), (0, 6)],
    "both rise": [(0, 4), (4, 8)],
    "a little lost": [(6, 6), (5, 6)],
    "single steps fooled more than PGD before": [(6, 2), (7, 7)],
    "one image lost of very few": [(1, 1), (0, 1)],
}


@pytest.mark.parametrize("case", NO_COLLAPSES)
def test_a_first_epoch_that_sees_what_it_trains_against_stays_with_fgsm(model, data, tmp_path, monkeypatch, case):
    pretend(monkeypatch, NO_COLLAPSES[case], n_images=3 if "very few" in case else 8)
    record = assimilate(model, data, out=tmp_path / "out", **(FRONT | {"epochs": 1}))
    assert (record.best.epoch, record.best.fell_back) == (1, False)


def test_a_training_that_goes_blind_in_its_only_epoch_writes_nothing(model, data, tmp_path, monkeypatch):
    pretend(monkeypatch, [(6, 6), (0, 8)])
    with pytest.raises(TrainingError, match=r"blind in the only epoch .*; nothing was written; use more --epochs"):
        assimilate(model, data, out=tmp_path / "out", **(ROBUST | {"epochs": 1}))
    assert list(tmp_path.iterdir()) == []  # nor does anything stand in the way of the advice


def test_a_collapse_of_the_first_epoch_is_remembered_over_an_interruption(model, data, tmp_path, monkeypatch):
    class Interrupting(Silent):
        def advance(self, n=1, note=""):
            if note.startswith("epoch 2/"):
                raise KeyboardInterrupt

    collapse, after = [(6, 6), (0, 8)], [(7, 7), (6, 6)]
    records = []
    for name, pieces in (("whole", [[*collapse, *after]]), ("interrupted", [collapse, after])):
        for piece in pieces:
            pretend(monkeypatch, piece)
            interrupted = contextlib.suppress(KeyboardInterrupt) if piece is collapse else contextlib.nullcontext()
            with interrupted:
                heard = Interrupting() if piece is collapse else Silent()
                records.append(assimilate(model, data, out=tmp_path / name, progress=heard, **ROBUST))
    whole, interrupted = records
    assert whole.weights == interrupted.weights
    assert whole.best.epoch == interrupted.best.epoch == 2


def test_the_single_step_that_the_guard_watches_is_fast_fgsm(robust, model, data):
    """Worked out anew for the model before training: one signed step of 1.25 eps from a random start."""
    out, _ = robust
    validation = open_images(data, "val")
    vanilla = load_model(model, folder_classes=validation.classes)
    batch = Samples(validation, vanilla.size, None, vanilla.classifier.device).batch(list(range(8)))
    pixels, labels = batch.pixels, batch.labels
    eps = 4 / 255
    noise = (2 * torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0)) - 1) * eps
    x = (pixels + noise).clamp(0, 1).requires_grad_()
    F.cross_entropy(vanilla.classifier(x), labels).backward()
    attacked = (x.detach() + 1.25 * eps * x.grad.sign()).clamp(pixels - eps, pixels + eps).clamp(0, 1)
    n_correct = int((vanilla.classifier(attacked).argmax(1) == labels).sum())
    assert [row["val"]["under_attack"]["n_correct_single_step"] is None for row in metrics(out)] == [
        False, False, True, True,
    ]  # fmt: skip
    assert metrics(out)[0]["val"]["under_attack"]["n_correct_single_step"] == n_correct


def test_a_model_under_attack_gets_better_by_training_against_it(model, data, tmp_path):
    """Six epochs on stripes: more images withstand PGD than before the first step, or all of them."""
    out = tmp_path / "out"
    settings = ROBUST | {"epochs": 6, "learning_rate": 3e-3, "robust_eps_255": 8}
    record = assimilate(model, data, out=out, **settings)
    before = metrics(out)[0]["val"]["under_attack"]
    after = record.best.val.under_attack
    assert after.n_correct >= before["n_correct"]
    assert after.cross_entropy < before["cross_entropy"]
