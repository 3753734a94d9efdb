"""A folder whose files changed after training is noticed; other programs' records are passed over."""

import json
from pathlib import Path
from typing import Any

import pytest

from robaudit.errors import ModelError
from robaudit.load.as_trained import require_as_trained

OURS: dict[str, Any] = {
    "robaudit_version": "0.1.0",
    "weights": {"path": "model.safetensors", "sha256": "a"},
    "config": {"path": "config.json", "sha256": "b"},
}


def told(folder: Path, what: object) -> Path:
    (folder / "training.json").write_text(json.dumps(what))
    return folder


def test_what_training_left_is_accepted_and_what_it_says_nothing_of(tmp_path: Path) -> None:
    require_as_trained(tmp_path, {"weights": "x", "config": "y"})
    require_as_trained(told(tmp_path, OURS), {"weights": "a", "config": "b"})
    require_as_trained(told(tmp_path, OURS | {"config": None}), {"weights": "a", "config": "of an older version"})
    require_as_trained(told(tmp_path, {"weights": {"sha256": "z"}}), {"weights": "a"})


@pytest.mark.parametrize(
    ("found", "named"),
    [
        ({"weights": "x", "config": "b"}, "its model.safetensors changed"),
        ({"weights": "x", "config": "y"}, "its model.safetensors and config.json changed"),
    ],
)
def test_what_changed_is_named(tmp_path: Path, found: dict[str, str], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        require_as_trained(told(tmp_path, OURS), found)


@pytest.mark.parametrize("damaged", ["{", "7", '{"robaudit_version": 1, "weights": 3}', "\xff"])
def test_a_damaged_record_is_told(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "training.json").write_bytes(damaged.encode("latin-1"))
    with pytest.raises(ModelError, match=r"training.json: is damaged"):
        require_as_trained(tmp_path, {"weights": "a"})
