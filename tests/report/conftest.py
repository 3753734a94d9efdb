"""Two audits on disk: a vanilla model, and its retrofit which withstands more."""

import json
from pathlib import Path

import pytest
from made_up_audits import make_gallery, make_model, make_record, make_rows, make_training, write_audit


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """audit.json of a vanilla model."""
    rows = make_rows(resistance=2.5, seed=1)
    folder = tmp_path / "before"
    gallery = make_gallery(rows, folder, roles=("original", "adversarial", "difference"))
    return write_audit(folder, make_record(rows, artifacts=gallery), rows)


@pytest.fixture
def after(tmp_path: Path) -> Path:
    """audit.json of its retrofit, which withstands more."""
    rows = make_rows(resistance=6, seed=2)
    folder = tmp_path / "after"
    record = make_record(rows, model=make_model(front=True), artifacts=make_gallery(rows, folder))
    return write_audit(folder, record, rows)


LOSSES = [(0.9, 0.7, 2.7), (0.6, 0.5, 1.5), (0.3, 0.2, 1.2), (0.4, 0.35, 0.85)]
"""Of every epoch: total, cross-entropy, texture."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An assimilated folder of three epochs."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    lines = [
        {
            "epoch": epoch,
            "train": None,
            "val": {
                "losses": {"total": total, "cross_entropy": entropy, "texture": texture},
                "n_correct": 20 + epoch,
                "n_images": 40,
                "saturated": 0.0,
            },
            "seconds": 1.5,
            "worst_patch": None,
            "worst_feature": "contrast@45",
            "something_later": [1, 2],
        }
        for epoch, (total, entropy, texture) in enumerate(LOSSES)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "training.json").write_text(json.dumps(make_training(best=lines[2], settings={"augment": "<b>flip"})))
    return tmp_path
