"""Whatever becomes of stdout and stderr, the work is done and the exit code is its own."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from robaudit.cli.console import event, to_stderr
from robaudit.cli.streams import _Stdout
from robaudit.records import AuditRecord

REPOSITORY = Path(__file__).parents[2]
RULE = '[[rule]]\nmeasure = "worst_case"\neps_255 = 4\nmode = "lenient"\nat_least = '
ACCENTED = "tumeur-bénigne"


@pytest.fixture
def gate(audit_of: Callable[..., AuditRecord], tmp_path: Path) -> list[str]:
    """A gate that says no: exit 1."""
    audit = audit_of(60, 100).model_dump_json().replace('"cancer"', f'"{ACCENTED}"')
    (tmp_path / "audit.json").write_text(audit, encoding="utf-8")
    rules = f'{RULE}0.9\n[[rule]]\nmeasure = "clean"\nclass = "{ACCENTED}"\nat_least = 0\n'
    (tmp_path / "robaudit.toml").write_text(rules, encoding="utf-8")
    files = [str(tmp_path / "audit.json"), "--policy", str(tmp_path / "robaudit.toml")]
    return [sys.executable, "-m", "robaudit", "gate", *files]


def shell(command: list[str], redirection: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    line = f'"$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", "bash", *command], cwd=REPOSITORY, capture_output=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("redirection", ["| true", "2>&1 | true", "| head -c 1", "2>&-", ">&-", "2>/dev/full", "<&-"])
def test_a_gate_that_failed_has_failed_whether_or_not_anybody_reads_it(gate: list[str], redirection: str) -> None:
    done = shell(gate, redirection)
    assert done.returncode == 1, done
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    """A pipe that does not block, as other programs leave the one they share with us, and is full; its two ends."""
    reader, full = os.pipe()
    os.set_blocking(full, False)
    with suppress(BlockingIOError):
        while True:
            os.write(full, b"x" * 2**16)
    yield reader, full
    for end in (reader, full):
        os.close(end)


@pytest.mark.skipif(sys.platform != "linux", reason="terminals and pipes of POSIX")
def test_a_gate_that_failed_has_failed_without_terminal_or_room(gate: list[str], full_pipe: tuple[int, int]) -> None:
    terminal, gone = os.openpty()
    os.close(terminal)
    assert subprocess.run(gate, cwd=REPOSITORY, stdout=gone, stderr=full_pipe[1], check=False).returncode == 1
    os.close(gone)


@pytest.mark.skipif(sys.platform != "linux", reason="pipes of POSIX")
def test_a_result_waits_for_room(full_pipe: tuple[int, int]) -> None:
    reader, full = full_pipe
    threading.Timer(0.2, os.read, (reader, 2**20)).start()
    assert _Stdout(full, "wb", closefd=False).write(b"result") == len(b"result")


def test_words_do_not_end_up_in_the_result_where_stderr_is_closed(gate: list[str]) -> None:
    json.loads(shell([*gate, "--json"], "2>&-").stdout)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_result_that_cannot_be_written_is_an_error(gate: list[str]) -> None:
    done = shell(gate, ">/dev/full")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"stdout: cannot be written (No space left on device); free space" in done.stderr
    assert b"Exception" not in done.stderr


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_json_is_utf8_whatever_stdout_would_be(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / ACCENTED
    folder.mkdir()
    (folder / "index.html").write_text("a page")
    command = [sys.executable, "-m", "robaudit", "status", str(folder), "--json"]
    done = shell(command, "", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("utf-8"))["path"] == str(folder)


def test_results_are_printed_where_the_locale_knows_ascii_alone(gate: list[str]) -> None:
    done = shell(gate, "", **ASCII)
    assert done.returncode == 1, done.stderr
    assert ACCENTED in done.stdout.decode("utf-8")


def test_words_are_escaped_where_the_locale_lacks_letters(gate: list[str]) -> None:
    done = shell([*gate[:-1], "naïve.toml"], "", **ASCII)
    assert done.returncode == 2
    assert done.stderr.isascii()
    assert b"na" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_name_that_is_no_text_is_refused_in_one_line(gate: list[str]) -> None:
    command: list[Any] = [*gate[:4], b"caf\xe9.json", *gate[5:]]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False, env={**os.environ, **ASCII})
    assert done.returncode == 2
    assert done.stderr.startswith(b"robaudit: caf\\udce9.json: is no text in the encoding of this locale")
    assert len(done.stderr.splitlines()) == 1


def test_a_line_is_written_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were its newline a write of its own, an interrupt between the two would glue the next line to it."""

    class Pieces(io.StringIO):
        def write(self, text: str, /) -> int:
            pieces.append(text)
            return len(text)

    pieces: list[str] = []
    monkeypatch.setattr(sys, "stderr", Pieces())
    to_stderr("a message")
    event("progress", done=1)
    assert len(pieces) == 2
    assert pieces[0] == "a message\n"
    assert json.loads(pieces[1])["done"] == 1
    assert pieces[1].endswith("}\n")
