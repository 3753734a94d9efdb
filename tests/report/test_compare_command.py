from pathlib import Path

import pytest
from made_up_audits import edit
from typer.testing import CliRunner

from robaudit.cli.main import app
from robaudit.errors import RecordError


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
