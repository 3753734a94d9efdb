"""Files: none is ever seen half-written, one process writes at a time, and what a file is. A leaf."""

import errno
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TextIO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from robaudit.errors import OutputError

LOCK_FILE = ".lock"
_UNFINISHED = ".unfinished-"
"""How the names of files begin that are being written."""
ATTEMPTS, SECONDS_BETWEEN_ATTEMPTS = 3, 0.05
"""To take a lock: whoever only looks whether it is taken (`holder_of`) takes it for a moment."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it takes its place in one step, on failure it is removed.

    What it holds is on the disk before it takes its place: after a power failure there is the old file or the new one.
    A link stays, and what it leads to is replaced; a device or a pipe is yielded itself, and takes what is written.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    path = landing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{_UNFINISHED}{secrets.token_hex(8)}{path.suffix}"
        temporary.touch(exist_ok=False)
        # As the umask has it. What a writer puts in its place, as safetensors does, has another.
        mode = stat.S_IMODE(temporary.stat().st_mode)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    try:
        yield temporary
        with suppress(OSError):  # a file system without modes
            temporary.chmod(mode)
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); free space or choose another place") from None
    finally:
        with suppress(OSError):  # a disk that can no longer be written keeps it; the next run removes it
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under its final name in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Likewise, line by line as they come."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def discard(folder: Path, *names: str) -> None:
    """Remove what robaudit wrote under these names in `folder`, where it is there.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        for name in names:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be replaced ({error.strerror}); choose another --out") from None


def landing(out: Path) -> Path:
    """Where `out` is in the end: what takes its place would else replace a link, not what the link leads to."""
    return Path(os.path.realpath(out)) if out.is_symlink() else out


def workplace_of(out: Path) -> Path:
    """The hidden folder beside `out` where a retrofit is made until it is whole."""
    out = landing(out)
    return out.parent / f".{out.name}.unfinished"


def require_apart(out: Path, read: Iterable[Path | None]) -> None:
    """Refuse to write over what a command reads, by whatever name.

    Raises:
        OutputError: `out` is one of these files, or a file in one of these folders.
    """
    if not out.is_file():
        return
    for path in filter(None, read):
        if any(file.is_file() and out.samefile(file) for file in (path, *path.rglob("*"))):
            raise OutputError(f"{out}: is there already and belongs to what is read ({path}); write to another file")


def require_distinct(outs: Sequence[Path]) -> None:
    """Refuse to write one file twice, by whatever name.

    Raises:
        OutputError: two of these are one file.
    """
    taken: set[Path] = set()
    for out in outs:
        if out.resolve() in taken:
            raise OutputError(f"{out}: is named for two outputs; give each a file of its own")
        taken.add(out.resolve())


@contextmanager
def alone_in(folder: Path, *below: str) -> Iterator[None]:
    """Make a folder, keep every other robaudit out of it for a while, and remove what a killed one left half-written.

    The lock is the kernel's: it ends with the process that holds it, however that ends, so none is ever stale. Its file
    holds the number of that process. On Windows, and on file systems without locks, nobody is kept out.

    Args:
        folder: where to be alone.
        below: folders in it that are written to as well.

    Raises:
        OutputError: another process is writing there, or the folder cannot be written.
    """
    path = folder / LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(path)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from None
    with lock:
        try:
            for place in (folder, *(folder / name for name in below)):
                _sweep(place)
            yield
        finally:
            with suppress(OSError):  # a folder that has moved meanwhile took it along
                if os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                    path.unlink()


def holder_of(folder: Path) -> str | None:
    """Number of the process that is alone in a folder now; None where there is none, empty where it is unknown."""
    try:
        with (folder / LOCK_FILE).open(encoding="ascii") as lock:
            if fcntl is None:
                return None
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return None


def _sweep(folder: Path) -> None:
    for leftover in folder.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            leftover.unlink()


def _locked(path: Path) -> TextIO:
    """An open lock file that is locked, and is still the one at `path`: its last holder may just have removed it.

    Raises:
        OutputError: another process holds it.
        OSError: it cannot be written.
    """
    for attempt in range(ATTEMPTS):
        lock = path.open("a+", encoding="ascii")
        try:
            _flock(lock)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                lock.truncate(0)
                lock.write(f"{os.getpid()}\n")
                lock.flush()
                return lock
        except BlockingIOError:
            if attempt + 1 < ATTEMPTS:
                time.sleep(SECONDS_BETWEEN_ATTEMPTS)
        except BaseException:
            lock.close()
            raise
        holder = _number_in(lock)
        lock.close()
    raise OutputError(f"{path.parent}: another robaudit{holder} is writing here; wait for it, or choose another --out")


def _flock(lock: TextIO) -> None:
    """Take the lock, where there are locks.

    Raises:
        BlockingIOError: somebody else has it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise


def _number_in(lock: TextIO) -> str:
    lock.seek(0)
    number = lock.read().strip()
    return f" (process {number})" if number else ""


class Readable(Protocol):
    """A path, or what answers as one."""

    def open(self, mode: Literal["rb"], /) -> IO[Any]:
        """Open for reading."""


def sha256_of(file: Readable) -> str:
    """Hash of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type]
