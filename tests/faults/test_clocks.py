"""Clocks jump: they are set, and change with the season. No duration may come from one that does."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "robaudit"
STAMPS = {"audit/record.py", "retrofit/assimilate.py", "cli/console.py"}
"""Files that say when something was made, and measure nothing by it."""


def wall_clocks(source: str) -> list[str]:
    """Calls that ask what time it is."""
    attributes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    asked = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today")}
    return [ast.unparse(node) for node in attributes if (ast.unparse(node.value).split(".")[-1], node.attr) in asked]


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_durations_come_from_a_clock_that_never_jumps(file: Path) -> None:
    found = wall_clocks(file.read_text(encoding="utf-8"))
    assert not found or file.relative_to(PACKAGE).as_posix() in STAMPS, found


def test_a_wall_clock_would_be_seen() -> None:
    assert wall_clocks("import time\nstarted = time.time()\n") == ["time.time"]
    assert wall_clocks("import datetime\nnow = datetime.datetime.now\n") == ["datetime.datetime.now"]
    assert wall_clocks("import time\ntime.monotonic()\n") == []
