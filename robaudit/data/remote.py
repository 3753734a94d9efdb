"""Images that lie elsewhere, at s3://, gs:// and the like: fsspec reads them one at a time, none is copied here."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from robaudit.errors import DataError, first_line

CHAIN = "::"
"""Between two URLs in one, of which fsspec would ask the second."""


@dataclass(frozen=True, order=True)
class Remote:
    """A file or folder by its URL. Answers as far as this package asks a `Path`, with OSError where that would."""

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """What comes after the last slash."""
        return PurePosixPath(self.url).name

    @property
    def suffix(self) -> str:
        """From the name's last dot."""
        return PurePosixPath(self.url).suffix

    @property
    def parent(self) -> Remote:
        """The folder it lies in."""
        return Remote(self.url.rstrip("/").rpartition("/")[0])

    def is_file(self) -> bool:
        """Whether there is a file of this name."""
        with self._reached() as (system, path):
            return bool(system.isfile(path))

    def is_dir(self) -> bool:
        """Whether anything lies below."""
        with self._reached() as (system, path):
            return bool(system.isdir(path))

    def open(self, mode: str = "r", **options: Any) -> IO[Any]:
        """Open for reading."""
        with self._reached() as (system, path):
            opened: IO[Any] = system.open(path, mode, **options)
            return opened

    def size(self) -> int | None:
        """Bytes of a file, as its store says; None where that does not know.

        Raises:
            OSError: there is nothing, or no file (of `file://`, a device).
        """
        with self._reached() as (system, path):
            told = system.info(path)
        if told.get("type", "file") != "file":
            raise OSError(errno.EINVAL, "is no file")
        return None if told.get("size") is None else int(told["size"])

    def read_bytes(self) -> bytes:
        """The whole content."""
        with self._reached() as (system, path):
            content: bytes = system.cat_file(path)
            return content

    def files(self) -> list[str]:
        """Every file below, as sorted paths relative to this folder."""
        with self._reached() as (system, path):
            root = f"{path.rstrip('/')}/"
            return sorted(str(found).removeprefix(root) for found in system.find(path))

    @contextmanager
    def _reached(self) -> Iterator[tuple[Any, str]]:
        """The file system and the path in it; whatever its client raises becomes an OSError with words."""
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise DataError(f"{self}: is elsewhere; pip install 'robaudit[remote]'") from None
        if CHAIN in self.url:  # a name in a store may hold it, and would be taken for another store
            raise OSError(errno.EINVAL, f"its name holds {CHAIN}, which fsspec takes for two URLs")
        try:
            yield url_to_fs(self.url)
        except ImportError as error:  # s3fs and the like: fsspec says which
            raise DataError(f"{self}: {first_line(error)}") from None
        except Exception as error:  # each client has its own kinds
            code = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
            raise OSError(code, first_line(error)) from None


Location = Path | Remote
"""Where a file or folder lies."""

STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Schemes that a table on disk may name. A row of a stranger's makes robaudit ask such a store for a file, with the
user's credentials, but no host of the stranger's choice: of others, such as http and ftp, the URL names the host."""


def is_url(text: str) -> bool:
    """Whether it names something elsewhere rather than a path."""
    return "://" in text


def is_in_store(url: str) -> bool:
    """Whether a table on disk may name it."""
    return url.partition("://")[0] in STORES and CHAIN not in url


def located(text: Location | str) -> Location:
    """A path, or a URL where there is `://` in it.

    Raises:
        DataError: the URL holds a password or a query, which would go into every record, or is several in one.
    """
    if not isinstance(text, str):
        return text
    if not is_url(text):
        return Path(text)
    scheme, _, address = text.partition("://")
    if CHAIN in text:
        raise DataError(f"{scheme}://...: is a chain of URLs ({CHAIN}), wanted one; give that of the store itself")
    if "@" in address.partition("/")[0] or "?" in address:
        raise DataError(
            f"{scheme}://...: holds a password or a query, and records name where images lie; "
            "give fsspec its credentials by the environment or its configuration files"
        )
    return Remote(text.rstrip("/"))


def on_disk(file: Location, what: str) -> Path:
    """A file that its reader cannot read from elsewhere.

    Raises:
        DataError: it is elsewhere.
    """
    if isinstance(file, Remote):
        raise DataError(f"{file}: is {what}, which is read from disk alone; copy it here, and give that path")
    return file
