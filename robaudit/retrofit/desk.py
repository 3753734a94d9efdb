"""The desk over which Ray's workers and the driver talk: an actor beside the driver. No torch: it opens at once.

Workers fetch here what to do and where training stands, and leave here what there is to say and to write. So files stay
the driver's, no disk need be shared, and any engine goes on from what another left.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any


def event(what: str, *told: object) -> bytes:
    """Something that happened, as it is left at a desk: a method of the driver's listener, and its arguments."""
    return pickle.dumps((what, *told))


class Desk:
    """Keeps what workers need, and what they tell until the driver hears it."""

    def __init__(self, job: Sequence[Any], needs: Mapping[str, str], state: bytes | None) -> None:
        """Open.

        Args:
            job: a reference to the sealed job, in a list so that Ray leaves it a reference.
            needs: versions that workers must have.
            state: where training stands, as `torch.save` made it; None at the beginning.
        """
        self._job, self._needs, self._state = job, needs, state
        self._events: deque[bytes] = deque()
        self._is_closed = False

    def work(self) -> tuple[Sequence[Any], Mapping[str, str], bytes | None] | None:
        """The job, its versions and where it stands; None where there is nothing to do any more."""
        return None if self._is_closed else (self._job, self._needs, self._state)

    def tell(self, event: bytes) -> None:
        """Leave something for the driver."""
        self._events.append(event)

    def keep(self, state: bytes) -> bool:
        """Keep where training stands, and tell the driver; returns whether there is more to do."""
        self._state = state
        self.tell(event("stands", state))
        return not self._is_closed

    def end(self, event: bytes) -> None:
        """Tell the last thing."""
        self.tell(event)
        self.close()

    def told(self) -> list[bytes]:
        """What was left since this was last asked."""
        events = list(self._events)
        self._events.clear()
        return events

    def close(self) -> None:
        """Have workers end when they next come here."""
        self._is_closed = True
