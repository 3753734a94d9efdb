"""No file is ever seen half-written."""

import os
import sys
from pathlib import Path

import pytest

from robaudit.errors import ExitCode, OutputError
from robaudit.files import replacing, sha256_of, write_text


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "a.txt"
    write_text(path, "ü\r\n\n🫁")
    assert path.read_bytes() == "ü\r\n\n🫁".encode()
    assert names(path.parent) == {"a.txt"}


def test_until_the_end_the_old_content_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent, "a rename is one step only within a file system"
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert names(tmp_path) == {"a.txt"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_whatever_stops_the_writing_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def stop_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        stop_halfway()
    assert path.read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


def test_a_temporary_file_keeps_the_suffix_by_which_writers_choose_a_format(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_who_may_read_the_result_is_as_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    """Also where the writer puts a file of its own there, as safetensors does, that nobody else may read."""
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
        with replacing(tmp_path / "b.txt") as temporary:
            temporary.unlink()
            temporary.touch(0o600)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() in ("first", "second")
    assert names(tmp_path) == {"a.txt"}


@pytest.mark.parametrize("where", ["file/a.txt", "file/below/a.txt", "folder", "x" * 300])
def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"cannot be written .*choose another place") as caught:
        write_text(tmp_path / where, "x")
    assert caught.value.exit_code == ExitCode.UNUSABLE_INPUT
    assert names(tmp_path) == {"file", "folder"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), replacing(tmp_path / "a.txt"):
        Path("/dev/full").write_text("x")
    assert names(tmp_path) == set()


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "true.txt").write_text("old")
    for name, leads_to in (("link", "true.txt"), ("dangling", "new.txt")):
        (tmp_path / name).symlink_to(leads_to)
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / leads_to).read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
def test_a_pipe_takes_what_is_written_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "words")
    assert os.read(reader, 100) == b"words"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == {"pipe"}
