"""What the merging of findings needs of workers, wherever they run."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol

from robaudit.fleet.worker import Found, Place, Shard


class WorkerLostError(Exception):
    """A worker's process, or its machine, is gone; `str(error)` says what is known of it."""


class Crew(Protocol):
    """Workers by number. Each is asked one thing at a time."""

    name: str
    """As it is chosen with --engine."""
    waits_for: str
    """What else than starting can keep a worker from being ready; empty, or words to be put behind `ready`."""

    @property
    def size(self) -> int:
        """How many workers are wanted."""

    def open(self, orders: bytes, device: str, n_threads: int) -> None:
        """Take what every worker is started with.

        Args:
            orders: as `robaudit.fleet.worker.sealed` makes them.
            device: type of the driver's device, cpu or cuda.
            n_threads: of every worker.

        Raises:
            InputError: there is nowhere to run workers.
        """

    def start(self, number: int) -> Future[Any]:
        """Start a worker, anew where it was lost or hangs; the future ends once there is room and it is ready."""

    def find(self, number: int, shard: Shard | None) -> Future[Any]:
        """Have a worker begin a shard, or go on with its last one."""

    def result(self, future: Future[Any]) -> Place | Found:
        """What `start` (a `Place`) or `find` (`Found`) came to.

        Raises:
            WorkerLostError: the worker is gone.
            Exception: what was raised in it.
        """

    def close(self) -> None:
        """End all workers, whatever they are doing."""
