from pathlib import Path

import pytest
from made_up_audits import edit
from typer.testing import CliRunner

from robaudit.cli.main import app
from robaudit.errors import RecordError
from robaudit.report.document import PageDocument


def test_the_page_goes_to_stdout_and_words_to_stderr(tmp_path: Path, before: Path, after: Path):
    out = tmp_path / "report"
    result = CliRunner().invoke(app, ["compare", str(before), str(after), "--out", str(out)])
    assert result.exit_code == 0
    assert result.stdout == f"{out / 'index.html'}\n"
    assert "Next: open" in result.stderr
    assert (out / "report.css").is_file()


def test_audits_of_other_images_leave_nothing_behind(tmp_path: Path, before: Path, after: Path):
    edit(after, lambda record: record["data"].update(sha256="other"))
    out = tmp_path / "report"
    with pytest.raises(RecordError, match=r"data\.sha256"):
        CliRunner().invoke(app, ["compare", str(before), str(after), "--out", str(out)], catch_exceptions=False)
    assert not out.exists()


def test_one_audit_and_many_get_a_page_too(tmp_path: Path, before: Path, after: Path):
    for audits, headline in (([before], "stay correct when"), ([before, after, after], "Against before")):
        out = tmp_path / str(len(audits))
        result = CliRunner().invoke(app, ["compare", *map(str, audits), "--out", str(out)])
        assert result.exit_code == 0, result.stderr
        assert headline in result.stderr.splitlines()[0]
        assert headline in (out / "index.html").read_text(encoding="utf-8")


def test_json_is_one_document_and_nothing_else(tmp_path: Path, before: Path, after: Path):
    result = CliRunner().invoke(app, ["compare", str(before), str(after), "--out", str(tmp_path / "report"), "--json"])
    told = PageDocument.model_validate_json(result.stdout)
    assert result.stderr == ""
    assert told.kind == "comparison"
    assert told.page == str(tmp_path / "report" / "index.html")
    assert told.paired is not None
    assert [test.eps_255 for test in told.paired] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert (tmp_path / "report" / "index.html").is_file()


@pytest.mark.parametrize("n_audits", [1, 2, 3])
def test_json_has_the_notes_and_the_checks_that_spoke_up(tmp_path: Path, before: Path, after: Path, n_audits: int):
    said = {"value": 1, "threshold": 0, "remedy": "Mend."}
    loud = {"id": "realisable", "status": "warning", "why": "3 of 10 do not survive 8 bits."}
    quiet = {"id": "unbounded", "status": "passed", "why": "All fell."}
    edit(before, lambda record: record.update(checks=[said | loud, said | quiet]))
    edit(before, lambda record: record["data"].update(note="Synthetic phantoms"))
    audits = [str(path) for path in (before, after, after)[:n_audits]]
    result = CliRunner().invoke(app, ["compare", *audits, "--out", str(tmp_path / "report"), "--json"])
    told = PageDocument.model_validate_json(result.stdout)
    assert told.notes == ("Synthetic phantoms",)
    assert len(told.checks) == n_audits
    assert told.checks[0].sentence.startswith("Of the 2 checks that apply to ")
    assert [check.model_dump() for check in told.checks[0].loud] == [loud]
    assert not any(checks.loud for checks in told.checks[1:])


def test_a_page_for_mail_is_one_file(tmp_path: Path, before: Path):
    result = CliRunner().invoke(app, ["compare", str(before), "--single-file", "--out", str(tmp_path / "mail")])
    assert result.exit_code == 0
    assert [path.name for path in (tmp_path / "mail").iterdir()] == ["index.html"]
