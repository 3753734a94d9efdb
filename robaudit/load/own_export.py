"""What a file that `robaudit export` wrote says of itself: read as data, as nobody vouches for it. Needs no torch.

It lies beside the program as an extra file of torch's archives, and among the metadata of ONNX.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from robaudit.errors import ModelError
from robaudit.load.archive import Archive
from robaudit.load.folder import MAX_CONFIG_BYTES, json_object

METADATA_NAME = "robaudit.json"
MAX_FIELDS = 100_000
"""Outermost of an ONNX file that are looked at; its graph is one of them."""

# Of protobuf's encoding, and of the messages ModelProto and StringStringEntryProto.
_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES = 0, 1, 2, 5
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2


def said_in_archive(path: Path, archive: Archive) -> dict[str, Any]:
    """What an archive of torch says of its program, under `METADATA_NAME`; empty where it says nothing.

    Raises:
        ArchiveError: it is damaged or too long.
        ModelError: it is no JSON object, or there twice.
    """
    found = archive.matching(rf"[^/]+/extra/{METADATA_NAME}")
    return _said(path, [archive.read(name, MAX_CONFIG_BYTES) for name in found[:2]])


def said_in_onnx(path: Path) -> dict[str, Any]:
    """The same of an ONNX file, whose graph is passed over.

    Raises:
        ModelError: it is no JSON object, too long, or there twice.
    """
    found = []
    with path.open("rb") as file:
        for number, start, end in _fields(file, 0, path.stat().st_size, MAX_FIELDS):
            if number != _METADATA_PROPS:
                continue
            entry = {number: (start, end) for number, start, end in _fields(file, start, end, 2)}
            if _KEY in entry and _VALUE in entry and _content(file, *entry[_KEY]) == METADATA_NAME.encode():
                found.append(_content(file, *entry[_VALUE]))
    return _said(path, found[:2])


def _said(path: Path, found: Sequence[bytes]) -> dict[str, Any]:
    if len(found) > 1:
        raise ModelError(f"{path}: holds more than one {METADATA_NAME}, and only one can be true; export it again")
    if not found:
        return {}
    return {METADATA_NAME: json_object(path / METADATA_NAME, found[0], "export it again")}


def _content(file: BinaryIO, start: int, end: int) -> bytes:
    """What a field holds; of a long one no more than tells that it is too long."""
    file.seek(start)
    return file.read(min(end - start, MAX_CONFIG_BYTES + 1))


def _fields(file: BinaryIO, start: int, end: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of those of the first fields of a message that have a length."""
    for _ in range(most):
        if start >= end:
            return
        file.seek(start)
        number, wire = divmod(_varint(file), 8)
        length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire, 0)
        if wire in (_VARINT, _SIZED):
            value = _varint(file)
            length = value if wire == _SIZED else 0
        at = file.tell()
        start = min(at + length, end)
        if wire == _SIZED:
            yield number, at, start


def _varint(file: BinaryIO) -> int:
    """Seven bits a byte, the lowest first; the last byte is below 128."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1) or b"\0"
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            break
    return value
