"""One picture as its file holds it: decoded by what the file is, and pinned by a hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from robaudit.errors import DataError
from robaudit.load.decoding import decode
from robaudit.load.medmnist import is_row, read_row
from robaudit.load.picture import Picture


@dataclass(frozen=True)
class Stored:
    """A picture, and the hash of the bytes it was decoded from."""

    picture: Picture
    sha256: str


def read_stored(file: Path, member: str = "") -> Stored:
    """Read and decode one picture.

    Args:
        file: an image file, or a file of several.
        member: which picture of it, as it was listed.

    Raises:
        DataError: gone, damaged or absurd.
    """
    if is_row(member):
        picture, row = read_row(file, member)
        return Stored(picture, hashlib.sha256(row).hexdigest())
    data = read_bytes(file)
    return Stored(decode(data, file), hashlib.sha256(data).hexdigest())


def read_bytes(file: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it is gone or may not be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); restore it or use --on-bad-image skip") from None
