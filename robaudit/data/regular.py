"""Only true files of a bounded size are read: a pipe would be waited for, and a device read, for ever."""

from __future__ import annotations

import hashlib
import stat

from robaudit.data.refusing import SKIP
from robaudit.data.remote import Location, Remote
from robaudit.errors import DataError
from robaudit.memory import exhausted

MAX_BYTES = 2**31
"""Of one file (2 GiB): a film of 500 frames of 1024x1024 at 16 bits has half of it."""
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


def read_bytes(file: Location, pinned: str | None = None) -> bytes:
    """The bytes of a file.

    Args:
        file: what to read.
        pinned: what they must hash to, where a manifest says so.

    Raises:
        DataError: it is gone, may not be read, is no true file, larger than any image, or not the one that is meant.
    """
    try:
        data = read_at_most(file, MAX_BYTES)
    except OSError as error:
        if exhausted(error):
            raise
        raise DataError(f"{file}: cannot be read ({error.strerror}); restore it or use --on-bad-image skip") from None
    if pinned not in (None, hashlib.sha256(data).hexdigest()):
        raise DataError(f"{file}: is not the file that the manifest means (sha256 differs); restore it")
    return data


def read_at_most(file: Location, most: int, remedy: str = SKIP) -> bytes:
    """The bytes of a true file that has no more of them, also where its store does not know how many it has.

    Raises:
        DataError: it is no true file, or larger.
        OSError: there is nothing, or it may not be read.
    """
    if require_regular(file, most, remedy) is not None:
        return file.read_bytes()
    with file.open("rb") as opened:
        data: bytes = opened.read(most + 1)
    if len(data) > most:
        raise DataError(f"{file}: has more than {most} bytes; {remedy}")
    return data


def require_regular(file: Location, most: int = MAX_BYTES, remedy: str = SKIP) -> int | None:
    """Refuse what is no true file, or a huge one; links are followed.

    Returns:
        how many bytes it has; None where the store it lies in does not know.

    Raises:
        DataError: before it is opened.
        OSError: there is nothing.
    """
    if isinstance(file, Remote):
        size = file.size()
        if size is not None:
            _require_at_most(file, size, most, remedy)
        return size
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{file}: is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}, wanted a file; {remedy}")
    _require_at_most(file, status.st_size, most, remedy)
    return status.st_size


def _require_at_most(file: Location, size: int, most: int, remedy: str) -> None:
    if size > most:
        raise DataError(f"{file}: has {size} bytes, wanted at most {most}; {remedy}")


def is_regular(file: Location) -> bool:
    """Whether a file may be opened to see what it is."""
    return isinstance(file, Remote) or file.is_file()
