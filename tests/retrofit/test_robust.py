"""Adversarial fine-tuning: it selects by PGD, its guard works, and its rival can be run."""

import json
import math

import pytest
import timm
import torch

from robaudit.load.model import load_model
from robaudit.retrofit import train as training_loop
from robaudit.retrofit.assimilate import assimilate
from robaudit.retrofit.record import UnderAttack

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


def test_the_epoch_kept_is_the_one_with_most_images_correct_under_attack(robust):
    out, record = robust
    best = min(
        metrics(out)[1:],
        key=lambda row: (-row["val"]["under_attack"]["n_correct"], row["val"]["under_attack"]["cross_entropy"]),
    )
    assert record.best.epoch == best["epoch"]


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
    settings = ROBUST | {"robust": method, "epochs": 1, "robust_steps": 2, "trains": "front"}
    record = assimilate(model, data, out=tmp_path / "out", **settings)
    assert record.best.attack == method
    assert (record.best.train.divergence > 0) == (method == "trades")


def test_the_rival_is_a_plain_timm_folder(model, data, tmp_path):
    out = tmp_path / "rival"
    record = assimilate(model, data, out=out, front="none", **(ROBUST | {"epochs": 1}))
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


def test_a_blind_fgsm_is_sent_back_and_pgd_takes_over(model, data, tmp_path, monkeypatch, heard_lines):
    """Validation pretends: six of eight correct under attack after epoch 1, none after epoch 2."""
    honest = training_loop.validate
    shares = iter([0, 6, 0, 7])

    def pretending(objective, validation):
        n_correct = next(shares)
        attacked = UnderAttack(n_correct=n_correct, n_images=8, cross_entropy=1.0, eps_255=4, steps=5)
        return honest(objective, validation).model_copy(update={"under_attack": attacked})

    monkeypatch.setattr(training_loop, "validate", pretending)
    out = tmp_path / "out"
    record = assimilate(model, data, out=out, progress=heard_lines, trains="front", **ROBUST)
    rows = metrics(out)
    assert [row["attack"] for row in rows] == [None, "fgsm", "fgsm", "pgd"]
    assert [row["fell_back"] for row in rows] == [False, False, True, False]
    assert record.best.epoch == 3
    assert any("back to epoch 1, and on with PGD" in text for text in heard_lines.lines)


def test_a_model_under_attack_gets_better_by_training_against_it(model, data, tmp_path):
    """Six epochs on stripes: more images withstand PGD than before the first step, or all of them."""
    out = tmp_path / "out"
    settings = ROBUST | {"epochs": 6, "learning_rate": 3e-3, "robust_eps_255": 8}
    record = assimilate(model, data, out=out, **settings)
    before = metrics(out)[0]["val"]["under_attack"]
    after = record.best.val.under_attack
    assert after.n_correct >= before["n_correct"]
    assert after.cross_entropy < before["cross_entropy"]
