"""A worker that notices that its model never answers: it says what it was asked, and lets the driver end it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
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
        self._asked: Sequence[str] = []
        self._thread = ThreadPoolExecutor(1)

    def asking(self, images: Sequence[str]) -> None:
        """Count from now; of no images, count no more."""
        self._asked = [*images]

    def over(self, work: Any) -> frozenset[str]:
        """Have some work done; returns what the model was asked where it never answers, and nothing otherwise.

        Raises:
            Exception: what the work raises.
        """
        if not self._seconds:
            work()
            return frozenset()
        counted: Sequence[str] = []
        self._asked = counted
        done = self._thread.submit(work)
        # Ticks instead of a clock: a machine that sleeps waits for nobody.
        tick, waited = min(1.0, self._seconds / 4), 0.0
        while not wait([done], tick).done:
            asked = self._asked
            waited, counted = waited + tick if asked is counted else 0.0, asked
            if asked and waited >= self._seconds:
                return frozenset(asked)
        done.result()
        return frozenset()
