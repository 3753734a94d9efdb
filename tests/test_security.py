"""SECURITY.md points at tests: they must be there."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
POINTED_AT = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def functions(file: str) -> set[str]:
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_points_at_is_there() -> None:
    assert POINTED_AT
    assert [f"{file}::{name}" for file, name in POINTED_AT if name not in functions(file)] == []


def test_every_line_of_its_tables_points_at_one() -> None:
    lines = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("|---", "| what it"))]
    assert len(lines) > 40
    assert [line for line in lines if not re.search(r"`tests/[\w/]+\.py::test_\w+` \|$", line)] == []
