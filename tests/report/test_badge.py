"""The badge: well-formed SVG that says what the record counts."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from made_up_audits import make_record, make_rows
from typer.testing import CliRunner

from robaudit.cli.main import app
from robaudit.errors import OutputError, SettingsError
from robaudit.records import NOT_LEARNT_FROM, AuditRecord, Check, Point, Tally, Verdict, WorstCase
from robaudit.report.badge import badge

ROWS = make_rows(n_per_class=50, resistance=4)
SVG = "{http://www.w3.org/2000/svg}"


LEARNT = Check(id=NOT_LEARNT_FROM, status="warning", value=1, threshold=0, why="All were learnt from.", remedy="Mend.")
LEFT_OUT = Check(id="border", status="warning", value=None, threshold=None, why="Not asked.", remedy="Ask.")


def texts(record: AuditRecord, eps: int | None = None) -> list[str]:
    return [element.text or "" for element in ET.fromstring(badge(record, eps)).iter(f"{SVG}text")]


def test_it_says_worst_case_accuracy_at_the_chosen_eps():
    for eps in (1, 8):
        stands = sum(min(99 if e is None else e for e in row.fooled_at.values()) > eps for row in ROWS)
        assert texts(make_record(ROWS), eps) == [f"robust accuracy at {eps}/255", f"≤ {stands}.0%"]
    assert texts(make_record(ROWS))[0] == "robust accuracy at 4/255"


@pytest.mark.parametrize(("n_correct", "said"), [(1, "≤ 0.1%"), (1000, "≤ 33.4%"), (300, "≤ 10.0%"), (0, "≤ 0.0%")])
def test_a_bound_is_never_rounded_below_what_was_counted(n_correct: int, said: str):
    """Of 3,000 images: 1 is 0.03%, 1,000 are 33.33%."""
    record = make_record(ROWS)
    counts = {"n_correct": n_correct, "n_images": 3000}
    points = tuple(
        Point(eps_255=eps, **counts, per_class={"cancer": Tally(**counts)}) for eps in record.threat_model.eps_255
    )
    assert texts(record.model_copy(update={"worst_case": WorstCase(points=points)}))[1] == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": Verdict(kind="inconclusive", sentence="Masked.")}, "inconclusive"),
        ({"status": "partial"}, "unfinished"),
        ({"checks": (LEARNT,)}, "inconclusive"),
        ({"checks": (LEFT_OUT,)}, "inconclusive"),
    ],
)
def test_a_number_that_cannot_be_relied_on_is_not_shown(changes: dict[str, Any], said: str):
    record = make_record(ROWS, **changes)
    assert texts(record)[1] == said
    assert "%" not in badge(record)


def test_it_needs_nothing_beside_it():
    root = ET.fromstring(badge(make_record(ROWS)))
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ("svg", "title", "rect", "path", "g", "text")
        assert not {"style", "href"} & element.attrib.keys()


def test_an_eps_that_was_not_audited_is_refused():
    with pytest.raises(SettingsError, match="--eps 16: the audit tested 1, 2, 3, 4, 5, 6, 7, 8; choose"):
        badge(make_record(ROWS), 16)


def test_the_command_prints_or_writes_it(before: Path, tmp_path: Path):
    printed = CliRunner().invoke(app, ["badge", str(before)])
    assert printed.stdout.startswith("<svg")
    written = CliRunner().invoke(app, ["badge", str(before), "--out", str(tmp_path / "badge.svg")])
    assert written.stdout == f"{tmp_path / 'badge.svg'}\n"
    assert (tmp_path / "badge.svg").read_text(encoding="utf-8") == printed.stdout


def test_it_is_not_written_over_the_audit(before: Path):
    content = before.read_bytes()
    with pytest.raises(OutputError, match="belongs to what is read"):
        CliRunner().invoke(app, ["badge", str(before), "--out", str(before)], catch_exceptions=False)
    assert before.read_bytes() == content
