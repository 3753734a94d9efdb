"""Workers as processes of this machine, one per device."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from robaudit.errors import SettingsError
from robaudit.fleet.crew import WorkerLostError
from robaudit.fleet.worker import Found, Place, Shard, Worker


class ProcessCrew:
    """A pool of one process per worker, so that the death of one is not the death of the others."""

    name = "local"
    waits_for = " yet"

    def __init__(self, size: int) -> None:
        self.size = size
        self._pools: dict[int, ProcessPoolExecutor] = {}

    def open(self, orders: bytes, device: str, n_threads: int) -> None:
        """Take what every worker is started with."""
        del n_threads  # the orders say it too
        self._orders = orders
        n_devices = torch.cuda.device_count() if device == "cuda" else 0
        self._devices = [f"cuda:{number % n_devices}" if n_devices else device for number in range(self.size)]

    def start(self, number: int) -> Future[Any]:
        """Start a worker in a fresh process; the one before it may hang.

        Raises:
            SettingsError: the system starts no further process.
        """
        if number in self._pools:
            _end(self._pools[number])
        context = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU
        try:
            pool = self._pools[number] = ProcessPoolExecutor(1, mp_context=context, initializer=_live_with_the_driver)
            return pool.submit(_start, self._orders, self._devices[number])
        except OSError as error:  # /dev/shm that may not be written, or no more open files or processes allowed
            raise SettingsError(
                f"--workers {self.size}: no room here for worker {number + 1} ({error.strerror or error}); allow more "
                "open files and processes, pass fewer, or leave it out"
            ) from None

    def find(self, number: int, shard: Shard | None) -> Future[Any]:
        """Have a worker begin a shard, or go on with its last one."""
        try:
            return self._pools[number].submit(_find, shard)
        except BrokenProcessPool as error:  # it died while it had nothing to do
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    def result(self, future: Future[Any]) -> Place | Found:
        """What `start` or `find` came to."""
        try:
            result: Place | Found = pickle.loads(future.result())
        except BrokenProcessPool:
            raise WorkerLostError("its process was killed, or ran out of memory") from None
        return result

    def close(self) -> None:
        """End all workers at once: waiting for a result that nobody wants could take long."""
        for pool in self._pools.values():
            _end(pool)
            pool.shutdown(wait=False, cancel_futures=True)


def _end(pool: ProcessPoolExecutor) -> None:
    """End its process, whatever that is doing; Python has no public way before 3.14.

    Not by its number, which is another's once it has died.
    """
    for process in [*(pool._processes or {}).values()]:
        process.kill()


def _live_with_the_driver() -> None:
    """Leave Ctrl-C to the driver, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    driver = multiprocessing.parent_process()
    assert driver is not None

    def follow() -> None:
        driver.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


_worker: Worker
"""Of this process."""


# Results go back as bytes: torch would otherwise leave tensors in memory shared with a process that may be gone.


def _start(orders: bytes, device: str) -> bytes:
    global _worker
    _worker = Worker(orders, device)
    return pickle.dumps(_worker.start())


def _find(shard: Shard | None) -> bytes:
    return pickle.dumps(_worker.find(shard))
