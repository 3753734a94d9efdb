"""Two audits on disk: a vanilla model, and its retrofit which withstands more."""

from pathlib import Path

import pytest
from made_up_audits import make_gallery, make_model, make_record, make_rows, write_audit


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
