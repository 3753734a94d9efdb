"""`robaudit gate` as a CI server meets it: files, exit codes, the summary of GitHub Actions."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from robaudit.cli.main import app
from robaudit.errors import OutputError, PolicyError
from robaudit.records import AuditRecord

FLAGS = ("--junit", "--sarif", "--markdown", "--code-quality", "--openmetrics")
RULE = '[[rule]]\nmeasure = "worst_case"\neps_255 = 4\nmode = "lenient"\nat_least = 0.7\n'


@pytest.fixture
def place(tmp_path: Path, audit_of: Callable[..., AuditRecord], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an audit that fails its policy, outside of any CI server."""
    (tmp_path / "audit.json").write_text(audit_of(60).model_dump_json(), encoding="utf-8")
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "robaudit.toml").write_text(RULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def gate(*options: str) -> Result:
    arguments = ["gate", "audit.json", "--policy", "ci/robaudit.toml", *options]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_every_file_that_was_asked_for_is_written(place: Path) -> None:
    options = [part for flag in FLAGS for part in (flag, f"out/{flag[2:]}.txt")]
    result = gate(*options)
    assert result.exit_code == 1
    written = {path.name for path in (place / "out").iterdir()}
    assert written == {f"{flag[2:]}.txt" for flag in FLAGS}
    assert all((place / "out" / name).stat().st_size > 0 for name in written)


def test_exit_zero_changes_the_code_and_nothing_else(place: Path) -> None:
    told, hidden = gate("--sarif", "told.sarif"), gate("--exit-zero", "--sarif", "hidden.sarif")
    assert (told.exit_code, hidden.exit_code) == (1, 0)
    assert told.stdout == hidden.stdout
    assert (place / "told.sarif").read_bytes() == (place / "hidden.sarif").read_bytes()
    assert json.loads((place / "hidden.sarif").read_text("utf-8"))["runs"][0]["invocations"][0]["exitCode"] == 1


def test_exit_zero_never_hides_an_error(place: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written .*; choose another place$"):
        gate("--exit-zero", "--junit", "audit.json/junit.xml")
    (place / "ci" / "robaudit.toml").write_text(RULE + "at_leest = 1\n", encoding="utf-8")
    with pytest.raises(PolicyError, match=r"ci/robaudit\.toml:6: rule 1, at_leest"):
        gate("--exit-zero")


def test_nothing_is_written_where_the_policy_is_wrong(place: Path) -> None:
    (place / "ci" / "robaudit.toml").write_text(RULE.replace("4", "5"), encoding="utf-8")
    with pytest.raises(PolicyError, match=r"ci/robaudit\.toml:1: .*no eps 5/255"):
        gate("--junit", "junit.xml")
    assert not (place / "junit.xml").exists()


@pytest.mark.parametrize("read", ["audit.json", "ci/robaudit.toml", "before.json", "link.json"])
def test_no_output_is_written_over_what_is_read(place: Path, read: str) -> None:
    (place / "before.json").write_bytes((place / "audit.json").read_bytes())
    (place / "link.json").symlink_to("audit.json")
    content = (place / read).read_bytes()
    with pytest.raises(OutputError, match=r"belongs to what is read .*; write to another file"):
        gate("--baseline", "before.json", "--markdown", "first.md", "--junit", read)
    assert (place / read).read_bytes() == content
    assert not (place / "first.md").exists()


@pytest.mark.parametrize("again", ["ci/out.xml", "ci/../ci/out.xml", "link.xml"])
def test_no_two_outputs_are_written_to_one_file(place: Path, again: str) -> None:
    (place / "link.xml").symlink_to("ci/out.xml")
    with pytest.raises(OutputError, match=r"\.xml: is named for two outputs; give each a file of its own"):
        gate("--junit", "ci/out.xml", "--sarif", again)
    assert not (place / "ci" / "out.xml").exists()


def test_json_is_one_document_and_nothing_else(place: Path) -> None:
    result = gate("--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["outcome"] == "failed"
    assert result.stderr == ""


def test_paths_are_those_of_the_repository(place: Path) -> None:
    """However the policy was named, a server finds the file it has checked out."""
    for name in ("ci/robaudit.toml", "./ci/../ci/robaudit.toml", str(place / "ci" / "robaudit.toml")):
        result = CliRunner().invoke(app, ["gate", "audit.json", "--policy", name, "--code-quality", "quality.json"])
        assert result.exit_code == 1
        [issue] = json.loads((place / "quality.json").read_text("utf-8"))
        assert issue["location"]["path"] == "ci/robaudit.toml"


def test_github_gets_annotations_and_a_summary(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "::error" not in gate().stderr
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place / "summary.md"))
    (place / "summary.md").write_text("# An earlier step\n", encoding="utf-8")
    result = gate()
    assert "::error file=ci/robaudit.toml,line=1,title=robaudit gate::worst-case accuracy" in result.stderr
    assert "::" not in result.stdout
    summary = (place / "summary.md").read_text("utf-8")
    assert summary.startswith("# An earlier step\n")
    assert "## robaudit gate: failed" in summary


def test_a_summary_that_cannot_be_written_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
    with pytest.raises(OutputError, match=r"GITHUB_STEP_SUMMARY=.*cannot be written"):
        gate("--exit-zero")
