"""One process at a time in a folder, and nothing left of those that were killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from robaudit.errors import OutputError
from robaudit.files import LOCK_FILE, alone_in, holder_of, replacing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")

HOLDER = """
import sys, time
from pathlib import Path
from robaudit.files import alone_in, replacing
with alone_in(Path(sys.argv[1])), replacing(Path(sys.argv[1]) / "result.json") as temporary:
    temporary.write_text("half")
    print("in", flush=True)
    time.sleep(600)
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that is alone in a folder, in the middle of writing a file."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        try:
            yield process
        finally:
            process.kill()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_second_is_refused_naming_the_first(tmp_path: Path) -> None:
    with another_process(tmp_path) as first:
        expected = rf"another robaudit \(process {first.pid}\) is writing here; wait for it, or choose another --out"
        with pytest.raises(OutputError, match=expected), alone_in(tmp_path):
            pytest.fail("got in")
        assert holder_of(tmp_path) == str(first.pid)
        assert LOCK_FILE in names(tmp_path)


def test_a_lock_ends_with_its_process_and_what_that_left_half_written_is_removed(tmp_path: Path) -> None:
    with another_process(tmp_path) as first:
        assert len(names(tmp_path)) == 2
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert len(names(tmp_path)) == 2
    assert "result.json" not in names(tmp_path)
    assert holder_of(tmp_path) is None
    with alone_in(tmp_path):
        assert names(tmp_path) == {LOCK_FILE}
    assert names(tmp_path) == set()


def test_only_what_robaudit_was_writing_is_removed(tmp_path: Path) -> None:
    for name in (".unfinished-mine.png", "below/.unfinished-mine.png", "elsewhere/.unfinished-theirs.png", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with alone_in(tmp_path, "below"):
        pass
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"elsewhere/.unfinished-theirs.png", ".hidden"}


def test_looking_takes_no_lock_away(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        assert holder_of(tmp_path) is not None
        with pytest.raises(OutputError, match="another robaudit"), alone_in(tmp_path):
            pytest.fail("got in")
    assert holder_of(tmp_path) is None


def test_a_lock_file_that_its_holder_removed_meanwhile_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened before the first one left, locked after: such a lock would keep nobody out."""
    from robaudit import files

    flock, opened = files._flock, []

    def slow(lock: object) -> None:
        if not opened:
            (tmp_path / LOCK_FILE).unlink()
        opened.append(lock)
        flock(lock)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "_flock", slow)
    with alone_in(tmp_path):
        assert len(opened) == 2
        assert holder_of(tmp_path) is not None


@pytest.mark.parametrize("number", [28, 30])
def test_a_folder_that_cannot_be_written_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "it cannot be")

    monkeypatch.setattr(Path, "open", refuse)
    with (
        pytest.raises(OutputError, match=r"cannot be written \(it cannot be\); choose another --out"),
        alone_in(tmp_path),
    ):
        pytest.fail("got in")


def test_names_as_long_as_the_file_system_takes_can_be_written(tmp_path: Path) -> None:
    with replacing(tmp_path / f"{'x' * 250}.json") as temporary:
        temporary.write_text("{}")
    assert len(names(tmp_path)) == 1
