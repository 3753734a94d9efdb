"""Files made once, and one finished scan to compare others with."""

from pathlib import Path

import pytest
from small_scans import small_scan, write_data, write_model

from robaudit.records import AuditRecord


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    return write_model(tmp_path_factory.mktemp("model") / "vanilla")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of classes."""
    return write_data(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="session")
def finished(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditRecord, Path]:
    """An uninterrupted scan, and its folder; only to be read."""
    out = tmp_path_factory.mktemp("finished") / "out"
    return small_scan(model, data, out), out
