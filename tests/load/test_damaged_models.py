"""Damaged model files of every kind: each ends in a loaded model or in one line. `tools/fuzz_models.py` runs longer."""

import random
from pathlib import Path

import pytest
from damage import KINDS, damaged, intact, outcome

ROUNDS = 25


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_a_model_or_in_one_line(tmp_path: Path, kind: str) -> None:
    content = intact(kind, tmp_path)
    path = tmp_path / "damaged"
    for seed in range(ROUNDS):
        path.write_bytes(damaged(content, random.Random(seed)))
        assert outcome(path) in ("loaded", "refused"), seed


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "module"])
def test_the_files_that_are_damaged_are_whole_before(tmp_path: Path, kind: str) -> None:
    intact(kind, tmp_path)
    assert outcome(tmp_path / kind) == "loaded"
