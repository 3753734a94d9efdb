"""Whether the files of a model stayed what they were while it was read: its hash is taken first, its weights after."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from robaudit.errors import ModelError


class Stamp(NamedTuple):
    """By what a file is told from another that has taken its place, or from itself written anew."""

    inode: int
    size_bytes: int
    modified_ns: int


def stamped(files: Iterable[Path]) -> dict[Path, Stamp]:
    """How files are now, to be called before they are read.

    Raises:
        OSError: one of them is not there.
    """
    status = {file: file.stat() for file in files}
    return {file: Stamp(each.st_ino, each.st_size, each.st_mtime_ns) for file, each in status.items()}


def require_unchanged(before: Mapping[Path, Stamp]) -> None:
    """Make sure that what was read is what was hashed.

    Raises:
        ModelError: a file is another than when it was stamped, or gone.
    """
    for file, stamp in before.items():
        try:
            now = stamped([file])[file]
        except OSError:
            now = None
        if now != stamp:
            raise ModelError(
                f"{file}: changed while it was read; start again, with a copy of it where a training still writes it"
            )
