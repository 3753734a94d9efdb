"""Training curves: only of the very folder that was audited, and only numbers."""

import re
from pathlib import Path

import pytest
from made_up_audits import audit_of_folder as audited

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
    assert "lowest after epoch 2, where 22 of 40 are right (55.0%)" in training.sentence
    assert training.headings == ("loss", "cross-entropy", "GLCM loss")
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


def test_a_training_without_glcm_loss_draws_none(folder: Path):
    path = folder / "metrics.jsonl"
    path.write_text(re.sub(r'"texture": [\d.]+', '"texture": 0.0', path.read_text()))
    assert read(audited(folder)).headings == ("loss", "cross-entropy")


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


def test_a_vanilla_model_has_no_training_to_show(folder: Path):
    assert read_training(audited(folder, front=None)) is None
