"""A model that never answers ends the command, which says what it was asked: nobody has to wait for it.

No Python can stop a computation that never returns; only its process can end. A scan or a retrofit can end at any
moment, since what is finished is on disk, so that is what is done. Workers of a scan are watched where they are
(`robaudit.fleet.watch`): there an image is found out and counted as an error.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Sequence

from robaudit.cli.console import tell_end, to_stderr
from robaudit.errors import ExitCode
from robaudit.progress import Progress

DEFAULT_SECONDS = 1800
GRACE_SECONDS = 10
"""For a farewell, where Python still runs: the curve so far."""
MAX_NAMED = 8
MEND = "Mend the model or leave these images out"


class HangGuard:
    """Progress that counts how long the model has been asked without an answer."""

    def __init__(self, progress: Progress, seconds: float, remedy: str = MEND) -> None:
        """Begin to count, in a thread that ends with the process.

        Args:
            progress: who else is told of everything.
            seconds: that one pass over a batch may take.
            remedy: what the person can do.
        """
        self._progress, self._seconds, self._remedy = progress, seconds, remedy
        self._asked: Sequence[str] | None = None
        self._waited = 0.0
        threading.Thread(target=self._count, daemon=True).start()

    def asking(self, images: Sequence[str]) -> None:
        """Count from now; of no images, count no more."""
        self._waited, self._asked = 0.0, images or None

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a stage."""
        self._asked = None
        self._progress.start(stage, total, done)

    def advance(self, n: int = 1, note: str = "") -> None:
        """Report finished units."""
        self._asked = None
        self._progress.advance(n, note)

    def finish(self) -> None:
        """End the stage."""
        self._asked = None
        self._progress.finish()

    def say(self, line: str) -> None:
        """Tell the person one thing."""
        self._progress.say(line)

    def _count(self) -> None:
        # Ticks instead of a clock: a computer that sleeps, or a process that is stopped for a while, waits for nobody.
        tick = min(1.0, self._seconds / 4)
        while not (asked := self._asked) or self._waited < self._seconds:
            time.sleep(tick)
            self._waited += tick
        self._end(asked)

    def _end(self, asked: Sequence[str]) -> None:
        named = ", ".join(asked[:MAX_NAMED]) + (", ..." if len(asked) > MAX_NAMED else "")
        to_stderr(
            f"robaudit: the model has not answered for {self._seconds:g} s, asked about {named}; what was going on is "
            f"incomplete. {self._remedy}; --hang-after allows more seconds",
            "error",
        )
        self._asked = None
        _interrupt()
        time.sleep(GRACE_SECONDS)
        tell_end(ExitCode.INTERRUPTED)
        os._exit(ExitCode.INTERRUPTED)


def _interrupt() -> None:
    """Have the main thread stop as for Ctrl-C: by a real signal, since only that ends a call that sleeps or waits.

    SIGTERM, for which `main` has arranged that: in a shell's background job SIGINT is ignored.
    """
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        _thread.interrupt_main()


def guarded(progress: Progress, seconds: float, remedy: str = MEND) -> Progress:
    """Progress that ends the process where the model hangs; 0 waits for ever."""
    return HangGuard(progress, seconds, remedy) if seconds else progress
