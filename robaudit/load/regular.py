"""Only true files of a bounded size are read: a pipe would be waited for, and a device read, for ever."""

from __future__ import annotations

import stat

from robaudit.errors import DataError
from robaudit.load.refusing import SKIP
from robaudit.load.remote import Location, Remote

MAX_BYTES = 2**31
"""Of one file (2 GiB): a film of 500 frames of 1024x1024 at 16 bits has half of it."""
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


def read_bytes(file: Location) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it is gone, may not be read, is no true file, or larger than any image.
    """
    try:
        require_regular(file)
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); restore it or use --on-bad-image skip") from None


def require_regular(file: Location, most: int = MAX_BYTES, remedy: str = SKIP) -> None:
    """Refuse what is no true file, or a huge one; links are followed. Of files elsewhere nothing is asked.

    Raises:
        DataError: before it is opened.
        OSError: there is nothing.
    """
    if isinstance(file, Remote):
        return
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{file}: is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}, wanted a file; {remedy}")
    if status.st_size > most:
        raise DataError(f"{file}: has {status.st_size} bytes, wanted at most {most}; {remedy}")


def is_regular(file: Location) -> bool:
    """Whether a file may be opened to see what it is."""
    return isinstance(file, Remote) or file.is_file()
