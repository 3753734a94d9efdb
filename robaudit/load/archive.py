"""Zip archives that nobody vouches for: read with bounds, never unpacked to disk."""

import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_ENTRIES = 200_000
MAX_ENTRY_BYTES = 32 * 2**20
"""Of what describes a model; its numbers are bounded by what their shapes need."""

# What zipfile lets escape when an archive is damaged.
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
    EOFError, LookupError, NotImplementedError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip


class ArchiveError(Exception):
    """The zip archive is damaged, or claims what it cannot hold."""


class Archive:
    """The entries of an open zip archive."""

    def __init__(self, archive: zipfile.ZipFile, size_bytes: int) -> None:
        self._archive = archive
        self.size_bytes = size_bytes
        entries = archive.infolist()
        self.sizes = {entry.filename: entry.file_size for entry in entries}
        """Bytes that every entry claims to have, by its name."""
        if len(self.sizes) < len(entries):
            raise ArchiveError("two entries of the same name")
        if len(entries) > MAX_ENTRIES:
            raise ArchiveError(f"more than {MAX_ENTRIES} entries")

    def __contains__(self, name: str) -> bool:
        return name in self.sizes

    def matching(self, pattern: str) -> list[str]:
        """Names that match a pattern as a whole."""
        return [name for name in self.sizes if re.fullmatch(pattern, name)]

    def room(self, name: str) -> int:
        """The most bytes of numbers that an entry can have: they are stored, not compressed."""
        return min(self.sizes.get(name, 0), self.size_bytes)

    def read(self, name: str, most: int = MAX_ENTRY_BYTES) -> bytes:
        """The content of an entry.

        Raises:
            ArchiveError: it is not there, damaged, or has more than `most` bytes.
        """
        try:
            with self._archive.open(name) as file:
                content = file.read(most + 1)
        except (*_ZIP_ERRORS, OSError) as error:  # an offset before the file is an OSError
            raise ArchiveError(f"zip archive: {error}") from None
        if len(content) > most:
            raise ArchiveError(f"{name} has more than {most} bytes")
        return content


@contextmanager
def open_archive(source: Path | bytes) -> Iterator[Archive]:
    """Open a zip archive: a file, or one that lay in another archive.

    Raises:
        ArchiveError: it is damaged.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except _ZIP_ERRORS as error:
        raise ArchiveError(f"zip archive: {error}") from None
    with archive:
        yield Archive(archive, len(source) if isinstance(source, bytes) else source.stat().st_size)
