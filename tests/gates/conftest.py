"""Policies from their text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from robaudit.gates.policy import Policy, read_policy


@pytest.fixture
def policy_of(tmp_path: Path) -> Callable[[str], Policy]:
    """Return a function that reads a policy from its text."""

    def read(text: str) -> Policy:
        path = tmp_path / "robaudit.toml"
        path.write_text(text, encoding="utf-8")
        return read_policy(path)

    return read
