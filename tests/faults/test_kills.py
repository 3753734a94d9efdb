"""The short version of `kills.py`: one signal for each command, less to train. The long one is run by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kills import half_written

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_whatever_is_killed_goes_on_to_the_same_result(tmp_path: Path) -> None:
    script = Path(__file__).with_name("kills.py")
    short = ["--kills", "3", "--epochs", "2", "--train", "8"]
    command = [sys.executable, str(script), *short, "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["scan", "assimilate", "compare"]
    assert done.stdout.count("; 0 wrong") == 3


def test_a_file_that_is_not_whole_would_be_seen(tmp_path: Path) -> None:
    """What the script looks for, it can find."""
    (tmp_path / "audit.json").write_text('{"status": "comp')
    (tmp_path / "whole.json").write_text("{}")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / ".unfinished-1.json").write_text("{")
    assert {path.name for path in half_written(tmp_path)} == {"audit.json", "a.png"}
