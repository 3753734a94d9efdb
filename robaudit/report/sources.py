"""Reading what a comparison is made of: an audit record, its rows and its pictures, none from outside its folder.

A record may come from elsewhere: its paths are data, never trusted, and its pictures must be PNG.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robaudit.errors import RecordError
from robaudit.records import AuditRecord, ImageRow, file_of, read_audit, read_rows
from robaudit.tally import Sums

IMAGES_FOLDER = "images"

_PNG_HEAD = struct.Struct(">8s8xII")  # signature, length and type of the first chunk, width, height
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A PNG of a gallery, under a name made from its content."""

    content: bytes = field(repr=False)
    width: int
    height: int

    @property
    def name(self) -> str:
        """Path inside the report: nothing of a record is in it, and equal pictures share it."""
        return f"{IMAGES_FOLDER}/{hashlib.sha256(self.content).hexdigest()[:16]}.png"


@dataclass(frozen=True)
class Source:
    """One audit as a comparison needs it."""

    record: AuditRecord
    rows: tuple[ImageRow, ...]
    pictures: dict[str, Picture]
    """By the path that the record gives."""


def read_source(path: Path) -> Source:
    """Read an audit record, the rows beside it and its gallery.

    Raises:
        RecordError: a file is missing, damaged, outside the record's folder, or contradicts the record.
    """
    record = read_audit(path)
    file_of(path.parent, record.images)
    rows = read_rows(path, record)
    if not _adds_up(record, rows):
        raise RecordError(f"{path.parent / record.images}: its rows do not add up to {path.name}; scan again")
    files = [file for item in record.artifacts for file in item.files.values()]
    return Source(record, rows, {file: read_picture(path.parent, file) for file in files})


def _adds_up(record: AuditRecord, rows: Sequence[ImageRow]) -> bool:
    """Whether the counts of the record are sums over these rows."""
    at_every_eps = [attack.name for attack in record.attacks if attack.raw_points is not None]
    sums = Sums(record.attacks, at_every_eps, record.model.classes, record.threat_model.eps_255, record.protocol)
    sums.add(*rows)
    stated = [(attack.points, attack.raw_points) for attack in record.attacks]
    return (sums.clean, sums.worst, sums.curves) == (record.clean, record.worst_case.points, stated)


def read_picture(folder: Path, relative: str) -> Picture:
    """Read a PNG that a record names by its path in `folder`.

    Raises:
        RecordError: it is missing, no PNG, or outside the folder.
    """
    path = file_of(folder, relative)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(
            f"{relative!r}: gallery picture cannot be read ({error.strerror}); keep the folder of the audit together"
        ) from None
    if len(content) < _PNG_HEAD.size or not content.startswith(_PNG_SIGNATURE):
        raise RecordError(f"{relative!r}: gallery picture is no PNG; scan again")
    _, width, height = _PNG_HEAD.unpack_from(content)
    return Picture(content, width, height)
