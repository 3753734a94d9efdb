"""`robaudit scan` as a person and as a program meets it."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from robaudit.cli.main import app


def scan(model: Path, data: Path, out: Path, *options: str) -> Result:
    arguments = [str(model), str(data), "--out", str(out), "--attacks", "fgsm", "--eps", "1,4", "--limit", "6"]
    return CliRunner().invoke(app, ["scan", *arguments, *options], catch_exceptions=False)


def test_it_writes_the_page_of_the_audit_and_names_it_last(model: Path, data: Path, tmp_path: Path) -> None:
    result = scan(model, data, tmp_path / "out")
    page = tmp_path / "out" / "report" / "index.html"
    assert result.stdout == f"{tmp_path / 'out' / 'audit.json'}\n"
    assert result.stderr.split()[-1].endswith("index.html")
    assert "stay correct" in page.read_text(encoding="utf-8") or "Inconclusive" in page.read_text(encoding="utf-8")


def test_json_is_the_record_and_nothing_else(model: Path, data: Path, tmp_path: Path) -> None:
    result = scan(model, data, tmp_path / "out", "--json")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert "Next: open" not in result.stderr
