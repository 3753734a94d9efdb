"""A worker that notices that its model never answers: it says what it was asked, and lets the driver end it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from robaudit.progress import Silent


class Watch(Silent):
    """Progress of an engine, and the thread that it works in while another counts."""

    def __init__(self, seconds: float) -> None:
        """Watch from now.

        Args:
            seconds: that one pass over a batch may take; 0 waits for ever.
        """
        self._seconds = seconds
        self._asked: Sequence[str] = ()
        self._waited = 0.0
        self._thread = ThreadPoolExecutor(1)

    def asking(self, images: Sequence[str]) -> None:
        """Count from now."""
        self._waited, self._asked = 0.0, images

    def over(self, work: Any) -> frozenset[str]:
        """Have some work done; returns what the model was asked where it never answers, and nothing otherwise.

        Raises:
            Exception: what the work raises.
        """
        if not self._seconds:
            work()
            return frozenset()
        self.asking(())
        done = self._thread.submit(work)
        # Ticks instead of a clock: a machine that sleeps waits for nobody.
        tick = min(1.0, self._seconds / 4)
        while self._waited < self._seconds or not self._asked:
            try:
                done.result(tick)
            except TimeoutError:
                if done.done():
                    raise  # the work's own
                self._waited += tick
            else:
                return frozenset()
        return frozenset(self._asked)
