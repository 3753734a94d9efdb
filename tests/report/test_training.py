"""Training curves: only of the very folder that was audited, and only numbers."""

import json
import re
from pathlib import Path

import pytest
from made_up_audits import audit_of_folder as audited
from made_up_audits import make_training

from robaudit.records import AuditRecord
from robaudit.report.chart import HALF
from robaudit.report.training import Training, read_training


def read(record: AuditRecord) -> Training:
    training = read_training(record)
    assert training is not None
    return training


def test_curves_are_drawn_from_epoch_0_and_the_best_epoch_is_named(folder: Path):
    training = read(audited(folder))
    assert training.sentence.startswith("3 epochs; loss and accuracy are of the 40 validation images.")
    assert (
        "Kept is epoch 2, where, of the epochs trained, the loss is lowest: 22 of 40 are right (55.0%)."
        in training.sentence
    )
    assert training.headings == ("loss", "cross-entropy", "GLCM loss", "correct")
    assert [row.losses[0] for row in training.rows] == ["0.9", "0.6", "0.3", "0.4"]
    assert [tick.label for tick in training.losses.y_ticks] == ["0", "1.4", "2.7"]


def test_losses_are_drawn_to_scale(folder: Path):
    """The largest loss is the top of the plot, zero its bottom."""
    total, _, texture = (
        [float(y) for _, y in re.findall(r"([\d.]+),([\d.]+)", line.path)]
        for line in read(audited(folder)).losses.lines
    )
    top, bottom = HALF.top, HALF.height - HALF.bottom
    assert texture[0] == top
    assert total[0] == pytest.approx(bottom + (top - bottom) * 0.9 / 2.7, abs=0.01)


def with_epochs(folder: Path, **changes: list[object]) -> Training:
    """What is read of a training whose epoch 2 was kept; `changes` replace what was measured, an entry an epoch."""
    path, record = folder / "metrics.jsonl", folder / "training.json"
    epochs = [json.loads(line) for line in path.read_text().splitlines()]
    for name, values in changes.items():
        for epoch, value in zip(epochs, values, strict=True):
            epoch["val"][name] = value
    path.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    record.write_text(json.dumps(make_training(best=epochs[2])))
    return read(audited(folder))


def under_attack(*n_correct: int) -> list[object]:
    return [{"n_correct": n, "n_images": 40, "cross_entropy": 0.7, "eps_255": 4, "steps": 3} for n in n_correct]


def test_a_kept_epoch_that_is_worse_than_the_model_before_the_first_step_is_said_to_be(folder: Path):
    assert "Before the first step" not in with_epochs(folder).sentence
    losses: list[object] = [{"total": total, "cross_entropy": total, "texture": 0} for total in (0.0165, 0.6, 0.3, 0.4)]
    said = with_epochs(folder, losses=losses).sentence
    assert " (55.0%). Before the first step the loss was lower (0.0165). Epoch 0 is" in said
    said = with_epochs(folder, under_attack=under_attack(20, 9, 12, 10)).sentence
    assert " (55.0%). Before the first step more withstood it: 20 of 40 (50.0%). Epoch 0 is" in said


def test_an_adversarial_training_shows_what_stands_under_attack_and_why_its_epoch_was_kept(folder: Path):
    training = with_epochs(folder, under_attack=under_attack(4, 9, 12, 10))
    assert (
        "Kept is epoch 2, where, of the epochs trained, most are right under PGD of 3 steps at 4/255: 12 of 40 "
        "(30.0%); without attack 22 of 40 are (55.0%). Epoch 0 is" in training.sentence
    )
    record = folder / "training.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"settings": {"class_weights": "balanced"}}))
    assert "of the epochs trained, most, weighed by class, are right under PGD" in read(audited(folder)).sentence
    assert [entry.name for entry in training.accuracy_legend] == ["without attack", "under attack"]
    assert training.headings[-2:] == ("correct without attack", "correct under attack")
    assert training.rows[2].right == ("22 of 40 (55.0%)", "12 of 40 (30.0%)")
    heights = [float(y) for _, y in re.findall(r"([\d.]+),([\d.]+)", training.accuracy.lines[1].path)]
    top, bottom = HALF.top, HALF.height - HALF.bottom
    assert heights == pytest.approx([bottom + (top - bottom) * n / 40 for n in (4, 9, 12, 10)], abs=0.01)


def test_settings_are_shown_and_those_of_ours_marked(folder: Path):
    record = json.loads((folder / "training.json").read_text())
    told = {"epochs": 300, "alpha": 0.9, "augment": "", "tint": False, "robust": "none", "robust_eps_255": 4}
    record |= {"settings": told, "ours": ["alpha", "augment", "tint"], "idle": ["robust_steps"]}
    (folder / "training.json").write_text(json.dumps(record))
    assert [(shown.name, shown.value, shown.ours) for shown in read(audited(folder)).settings] == [
        ("optimiser", "AdamW", True),
        ("epochs", "300", False),
        ("alpha", "0.9", True),
        ("augment", "none", True),
        ("tint", "no", True),
        ("robust", "none", False),
        ("robust eps", "4/255", False),
    ]
    (folder / "training.json").write_text(json.dumps(record | {"idle": ["robust_eps_255"], "optimiser": "SGD"}))
    shown = read(audited(folder)).settings
    assert (shown[0].value, shown[-1].name) == ("SGD", "robust")


def test_what_a_later_robaudit_wrote_besides_is_passed_over(folder: Path):
    """Anywhere in it; but what is known and is missing leaves the section out."""
    record = json.loads((folder / "training.json").read_text())
    record["vanilla"]["licence"] = record["something_later"] = "new"
    (folder / "training.json").write_text(json.dumps(record))
    assert read(audited(folder)).settings
    del record["best"]
    (folder / "training.json").write_text(json.dumps(record))
    assert read_training(audited(folder)) is None


def test_a_training_without_glcm_loss_draws_none(folder: Path):
    path = folder / "metrics.jsonl"
    path.write_text(re.sub(r'"texture": [\d.]+', '"texture": 0.0', path.read_text()))
    assert read(audited(folder)).headings == ("loss", "cross-entropy", "correct")


def test_a_folder_that_was_trained_anew_is_not_shown(folder: Path):
    record = audited(folder)
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert read_training(record) is None


@pytest.mark.parametrize("content", [None, b"", b"{}\n", b"\xff", b'{"epoch": "<script>"}\n'])
def test_metrics_that_are_missing_or_damaged_leave_the_section_out(folder: Path, content: bytes | None):
    if content is None:
        (folder / "metrics.jsonl").unlink()
    else:
        (folder / "metrics.jsonl").write_bytes(content)
    assert read_training(audited(folder)) is None


def test_more_correct_answers_than_images_leave_the_section_out(folder: Path):
    path = folder / "metrics.jsonl"
    path.write_text(path.read_text().replace('"n_correct": 21', '"n_correct": 41'))
    assert read_training(audited(folder)) is None


def test_a_training_whose_kept_epoch_is_not_told_is_left_out(folder: Path):
    (folder / "training.json").unlink()
    assert read_training(audited(folder)) is None


def test_the_training_of_a_network_without_t_and_c_is_shown_as_one(folder: Path):
    assert read(audited(folder)).title == "How the retrofit was trained"
    assert read(audited(folder, front=None)).title == "How the network was fine-tuned"


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        ("epochs", ""),
        ("patience", " Training ended early, as what it selects by no longer improved."),
        ("nan", " The epoch after the last one shown ended training: its loss was not finite."),
    ],
)
def test_what_ended_training_and_a_blind_fgsm_are_said(folder: Path, stopped: str, said: str):
    path, record = folder / "metrics.jsonl", folder / "training.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"stopped": stopped}))
    assert read(audited(folder)).sentence.endswith("Epoch 0 is the model before the first step." + said)
    epochs = [json.loads(line) | {"fell_back": index == 1} for index, line in enumerate(path.read_text().splitlines())]
    path.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    blind = " In epoch 1 fast FGSM went blind: its weights were dropped, and training went on against PGD."
    assert read(audited(folder)).sentence.endswith(blind + said)
