"""stdout and stderr whatever they are: piped into `head`, closed, full, or of another encoding than UTF-8.

Nothing that becomes of them may stop the work or change its exit code: a gate that failed has failed, read or not.
"""

from __future__ import annotations

import io
import os
import sys

from robaudit.errors import SettingsError


class _Outlet(io.FileIO):
    """A file descriptor that takes every byte, also when nobody is left to read it."""

    def __init__(self, descriptor: int, ignored: type[OSError]) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._ignored = ignored

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except self._ignored:
            return memoryview(data).nbytes  # type: ignore[arg-type]


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
            io.BufferedWriter(_Outlet(1, BrokenPipeError)), encoding, errors, line_buffering=sys.stdout.isatty()
        )
    if stderr_is_own:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Outlet(2, OSError)), sys.stderr.encoding, "backslashreplace", line_buffering=True
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
