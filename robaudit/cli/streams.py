"""stdout and stderr whatever they are: piped into `head`, closed, full, or of another encoding than UTF-8.

Nothing that becomes of them may stop the work or change its exit code: a gate that failed has failed, read or not.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from contextlib import suppress
from typing import Any

from robaudit.errors import SettingsError


class _Stdout(io.FileIO):
    """A file descriptor that takes every byte, also when nobody is left to read it."""

    def write(self, data: Any, /) -> int:
        try:
            while (written := super().write(data)) is None:  # a pipe that another program made non-blocking is full
                select.select([], [self], [])
        except OSError as error:
            if not _nobody_reads(error, self.fileno()):
                raise
            return memoryview(data).nbytes
        return written


class _Stderr(io.FileIO):
    """Likewise, and whatever else goes wrong: words are let go, and waited for by nobody."""

    def write(self, data: Any, /) -> int:
        with suppress(OSError):
            if (written := super().write(data)) is not None:
                return written
        return memoryview(data).nbytes


def _nobody_reads(error: OSError, descriptor: int) -> bool:
    """Whether the reader of a pipe has left, or the terminal is gone; a disk that fails so has lost a result."""
    gone = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(descriptor).st_mode)
    return gone or isinstance(error, BrokenPipeError)


def settle_streams() -> None:
    """Make stdout and stderr safe to write to.

    stdout carries results for programs: UTF-8 in any locale, but on a terminal, which shows its own encoding. A reader
    that left is no error; a full disk is. stderr carries words for people: whatever goes wrong with it is let go.
    """
    _open_closed()
    if os.name == "nt":
        return  # pipes end otherwise there, and a console is no file descriptor
    stdout_is_own, stderr_is_own = sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__
    if stdout_is_own:  # a program that calls us may have put its own there
        encoding = sys.stdout.encoding if sys.stdout.isatty() else "utf-8"
        # Bytes of a file name that are no text in the locale come out as they went in.
        errors = "backslashreplace" if sys.stdout.isatty() else "surrogateescape"
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(1, "wb", closefd=False)), encoding, errors, line_buffering=sys.stdout.isatty()
        )
    if stderr_is_own:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Stderr(2, "wb", closefd=False)),
            sys.stderr.encoding,
            "backslashreplace",
            line_buffering=True,
        )


def drop_stdout() -> None:
    """Send what is left in the buffer nowhere: it could not be written, which has been told."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def require_text(arguments: list[str]) -> None:
    """Refuse file names that no record can hold.

    Raises:
        SettingsError: an argument is no text in the encoding of the locale.
    """
    for argument in arguments:
        try:
            argument.encode("utf-8")
        except UnicodeEncodeError:
            shown = argument.encode("utf-8", "backslashreplace").decode()
            raise SettingsError(
                f"{shown}: is no text in the encoding of this locale ({sys.getfilesystemencoding()}), and a record "
                "could not name it; rename it"
            ) from None


def _open_closed() -> None:
    """Fill descriptors that came closed (`2>&-`): a file opened under such a number would take stray words."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
            setattr(sys, name, open(descriptor, "r" if descriptor == 0 else "w", closefd=False))  # noqa: SIM115
