"""The contract of the command line: exit codes, one line per error, and no torch before it is needed."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from robaudit.cli import main
from robaudit.cli.main import app
from robaudit.records import AuditRecord

REPOSITORY = Path(__file__).parents[1]
Command = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]


def robaudit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "robaudit", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The same without the start of a process."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["robaudit", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main.main()
        return subprocess.CompletedProcess(sys.argv, int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_reading_records_reporting_and_gating_load_no_torch() -> None:
    code = """
import sys
from importlib import import_module
from pkgutil import iter_modules
import robaudit.gates, robaudit.report
for package in (robaudit.gates, robaudit.report):
    for module in iter_modules(package.__path__, package.__name__ + "."):
        import_module(module.name)
import robaudit.cli.main, robaudit.records, robaudit.tally, robaudit.intervals
print(sorted({"torch", "timm", "scipy"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_works(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_spells_every_option_in_full_at_80_columns(command: str) -> None:
    result = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, [command, "--help"])
    assert not re.findall(r"-\S*…", result.output)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_names_the_thing_it_is_about(command: str) -> None:
    params = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    assert not [param.name for param in params if (getattr(param, "help", None) or "").startswith("Of ")]


@pytest.mark.parametrize("command", ["run", "scan", "assimilate"])
def test_a_help_recommends_no_option_that_the_command_does_not_have(command: str) -> None:
    params = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    named = {flag for param in params for flag in re.findall(r"--[a-z][a-z-]*", getattr(param, "help", None) or "")}
    assert named <= {flag for param in params for flag in param.opts}


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"badge", "schema"}))
def test_every_command_can_answer_in_json(command: str) -> None:
    """A badge is SVG, and a schema is JSON anyway."""
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    assert "--json" in {flag for option in found.params for flag in option.opts}


def test_an_interrupted_command_says_that_it_can_be_continued(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    stopping = typer.Typer()
    stopping.command()(interrupted)
    monkeypatch.setattr(main, "app", stopping)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["robaudit"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "robaudit: interrupted; the same command continues\n"


def test_a_folder_that_may_not_be_entered_is_unusable_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking whether a file exists raises there: `Path.exists` is silent of files that are missing alone."""

    def locked(path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", locked)
    monkeypatch.setattr(sys, "argv", ["robaudit", "status", "locked/in"])
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("robaudit: locked/in/audit.json: may not be read or written (Permission denied); ")
    assert len(told.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_further_signals_do_not_change_the_exit_code_of_an_interrupted_command() -> None:
    """Not even once Python has begun to take itself apart."""
    code = """
import os, signal, sys, typer
from functools import partial
from robaudit.cli import main
terminate = partial(os.kill, os.getpid(), signal.SIGTERM)
class Late:
    def __del__(self, again=terminate):
        again()
late = Late()
main.app = typer.Typer()
main.app.command()(lambda: terminate())
sys.argv = ["robaudit"]
main.main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "robaudit: interrupted; the same command continues\n")


def test_version() -> None:
    assert robaudit("--version").stdout.startswith("robaudit ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--no-such-option"], "--no-such-option"),
        (["no-such-command"], "no-such-command"),
        (["gate"], "Missing argument 'AUDIT.json'. See `python -m robaudit gate --help`."),
        (["scan", "m", "d", "--check-sample", "-1"], "or equal to 0. See `python -m robaudit scan --help`."),
        (["gate", "a.json"], "policy"),
        (["gate", "nowhere.json", "--policy", "examples/robaudit.toml"], "nowhere.json: cannot be read"),
        (["inspect", "nowhere.pt"], "nowhere.pt: cannot be read"),
        (["inspect", "pyproject.toml"], "pyproject.toml: is a text file"),
        (["scan", "a.pt", "data", "--out", "out", "--eps", "8-1"], "--eps 8-1: wanted whole numbers, such as 1,2,4 or"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], expected: str) -> None:
    done = robaudit(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "computes"),
    [("scan", "robaudit.audit.scan"), ("run", "robaudit.job.run"), ("assimilate", "robaudit.retrofit.assimilate")],
)
@pytest.mark.parametrize("mistake", ["--mean=grey", "--on-bad-image=cry"])
def test_a_mistyped_option_is_told_before_what_computes_is_imported(
    in_process: Command, monkeypatch: pytest.MonkeyPatch, command: str, computes: str, mistake: str
) -> None:
    """It brings torch, which takes seconds."""
    monkeypatch.setitem(sys.modules, computes, None)
    done = in_process(command, "model.pt", "data", "--out", "out", mistake)
    assert done.returncode == 2
    assert f"robaudit: {mistake.replace('=', ' ')}: wanted " in done.stderr


RULE = '[[rule]]\nmeasure = "worst_case"\neps_255 = 4\nmode = "lenient"\nat_least = '


@pytest.mark.parametrize(
    ("changes", "at_least", "options", "code"),
    [
        ({}, "0.5", [], 0),
        ({}, "0.7", [], 1),
        ({"status": "partial"}, "0.5", [], 3),
        ({}, "0.7", ["--exit-zero"], 0),
        ({"status": "partial"}, "0.5", ["--exit-zero"], 0),
        ({}, "seven", ["--exit-zero"], 2),
        ({}, "0.5", ["--exit-zero", "--baseline", "nowhere.json"], 2),
    ],
)
def test_gate_exits_as_the_contract_says(
    in_process: Command,
    audit_of: Callable[..., AuditRecord],
    tmp_path: Path,
    changes: dict[str, str],
    at_least: str,
    options: list[str],
    code: int,
) -> None:
    audit, policy = tmp_path / "audit.json", tmp_path / "robaudit.toml"
    audit.write_text(audit_of(60, 100, **changes).model_dump_json(), encoding="utf-8")
    policy.write_text(RULE + at_least, encoding="utf-8")
    done = in_process("gate", audit, "--policy", policy, *options)
    assert done.returncode == code, done.stderr
    assert len(done.stdout.splitlines()) == (0 if code == 2 else 1)
    if code == 0 and not options:
        assert done.stdout.startswith(
            "passed        worst-case accuracy at 4/255 at least 0.5: at most 60 of 100 (60.0%"
        )


def test_what_a_record_says_comes_out_inert(
    in_process: Command, audit_of: Callable[..., AuditRecord], tmp_path: Path
) -> None:
    """A class name may hold anything, escape sequences included."""
    evil = json.dumps("\x1b[2J\u202eevil")
    audit_file, policy = tmp_path / "audit.json", tmp_path / "robaudit.toml"
    audit_file.write_text(audit_of(60, 100).model_dump_json().replace('"cancer"', evil), encoding="utf-8")
    policy.write_text('[[rule]]\nmeasure = "clean"\nclass = "\\u001b[2J\\u202eevil"\nat_least = 0\n', encoding="utf-8")
    done = in_process("gate", audit_file, "--policy", policy)
    assert done.returncode == 0, done.stderr
    assert r"\x1b[2J\u202eevil" in done.stdout
    assert "\x1b" not in done.stdout


def test_inspect_prints_what_a_file_says_inert(in_process: Command, tmp_path: Path) -> None:
    model = tmp_path / "[bold]model.safetensors"
    names = "[red]\x1b[2J.weight"
    header = json.dumps({names: {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}).encode()
    model.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    done = in_process("inspect", model)
    assert done.returncode == 0, done.stderr
    assert "[bold]model.safetensors" in done.stdout
    assert r"[red]\x1b[2J.weight 1 x 1" in done.stdout
    assert "\x1b" not in done.stdout


def test_inspect_json_is_one_document_and_nothing_else(in_process: Command, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    header = json.dumps({"a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    model.write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))
    done = in_process("inspect", model, "--json")
    document = json.loads(done.stdout)
    assert document["kind"] == "safetensors"
    assert document["tensors"] == {"a.weight": {"shape": [2, 3], "dtype": "float32"}}
    assert (document["n_parameters"], done.stderr) == (6, "")
    assert document["obstacle"].startswith("fits no architecture robaudit infers (keys such as a.weight); pass --arch")
