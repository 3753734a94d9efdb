"""Repositories to run the examples in."""

import shutil
from pathlib import Path

import pytest
from phantom_repository import make_repository, make_worse


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose model is the one of yesterday; never to be changed."""
    return make_repository(tmp_path_factory.mktemp("repository") / "original")


@pytest.fixture(scope="session")
def worse(original: Path) -> Path:
    """The same with a worse model, audited today; never to be changed."""
    folder = original.with_name("worse")
    shutil.copytree(original, folder)
    make_worse(folder)
    return folder


@pytest.fixture
def unchanged(original: Path, tmp_path: Path) -> Path:
    """A copy to work in, where the model has not changed."""
    return shutil.copytree(original, tmp_path / "repository")


@pytest.fixture
def regressed(worse: Path, tmp_path: Path) -> Path:
    """A copy to work in, where the model got worse."""
    return shutil.copytree(worse, tmp_path / "repository")
