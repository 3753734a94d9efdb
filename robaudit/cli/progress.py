"""Progress on stderr: a bar with ETA for a person who watches, lines for a log, JSON for a program."""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta

from robaudit.cli.console import event, logs_json, to_stderr
from robaudit.inert import inert
from robaudit.progress import Progress, Silent

SECONDS_BETWEEN_LINES = 15.0
SECONDS_BETWEEN_EVENTS = 1.0
QUIET_SECONDS = 2.0
"""A stage that ends within this needs no progress of its own."""
UNKNOWN = "-:--:--"
"""The time left, as long as nothing was done to tell it by."""


def terminal_progress() -> Progress:
    """The right kind of progress for where stderr goes."""
    if logs_json():
        return _Events()
    # Some CI servers lend their jobs a terminal, and keep a log of every frame that a bar draws.
    watched = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    return _Bar() if watched else _Lines()


class _Told(Silent):
    """A stage under way, and how fast it goes: by what was done since it began, not by what an earlier run had done."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self._stage, self._total, self._done, self._note = stage, total, done, ""
        self._done_before, self._started = done, time.monotonic()
        self._last = self._started

    def advance(self, n: int = 1, note: str = "") -> None:
        self._done, self._note = self._done + n, note or self._note

    def say(self, line: str) -> None:
        to_stderr(line)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    @property
    def _seconds_left(self) -> float | None:
        """None: nothing was done yet to tell it by."""
        done_now = self._done - self._done_before
        return self._elapsed / done_now * (self._total - self._done) if done_now else None


class _Bar(_Told):
    """A rich progress bar."""

    def __init__(self) -> None:
        import atexit

        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA {task.fields[left]}"),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        # An error or Ctrl-C ends a stage without `finish`; the terminal must get its cursor back all the same.
        atexit.register(self._bars.stop)

    def start(self, stage: str, total: int, done: int = 0) -> None:
        super().start(stage, total, done)
        self._bars.start()
        self._task = self._bars.add_task(stage, total=total, completed=done, left=UNKNOWN, note="")

    def advance(self, n: int = 1, note: str = "") -> None:
        super().advance(n, note)
        left = self._seconds_left
        shown = UNKNOWN if left is None else str(timedelta(seconds=round(left)))
        self._bars.update(self._task, completed=self._done, left=shown, note=inert(self._note))

    def finish(self) -> None:
        self._bars.remove_task(self._task)
        self._bars.stop()

    def say(self, line: str) -> None:
        self._bars.console.print(inert(line), markup=False, highlight=False)


class _Lines(_Told):
    """Plain lines, few enough for a log."""

    def advance(self, n: int = 1, note: str = "") -> None:
        super().advance(n, note)
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            left = self._seconds_left
            self._print("unknown left" if left is None else f"{_clock(left)} left")

    def finish(self) -> None:
        elapsed = self._elapsed
        if elapsed >= QUIET_SECONDS:
            self._print(f"took {_clock(elapsed)}")

    def _print(self, when: str) -> None:
        note = f"  {self._note}" if self._note else ""
        self.say(f"{self._stage} {self._done}/{self._total}, {when}{note}")


class _Events(_Told):
    """Lines of JSON: a stage starts, goes on, at most once a second, and finishes."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        super().start(stage, total, done)
        event("start", stage=stage, total=total, done=done)

    def advance(self, n: int = 1, note: str = "") -> None:
        super().advance(n, note)
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_EVENTS:
            self._last = now
            left = self._seconds_left
            event(
                "progress", stage=self._stage, done=self._done, total=self._total, note=self._note,
                seconds_left=None if left is None else round(left, 1),
            )  # fmt: skip

    def finish(self) -> None:
        took = round(self._elapsed, 3)
        event("finish", stage=self._stage, done=self._done, total=self._total, took_seconds=took)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
