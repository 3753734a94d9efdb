"""Workers as actors of a Ray cluster.

As many actors are asked for as there are workers wanted. Those there is no room for wait, and start when a node joins;
an autoscaler sees them waiting. An actor that is lost, alone or with its node, is asked for anew, wherever there is
room.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from robaudit.errors import first_line
from robaudit.fleet.cluster import Cluster
from robaudit.fleet.crew import WorkerLostError
from robaudit.fleet.worker import Found, Place, Shard, Worker


class RayCrew:
    """Actors, each with its own share of a machine."""

    name = "ray"
    waits_for = ": waiting for one to start, or for room on the cluster"

    def __init__(self, size: int | None, address: str | None, gpus_per_worker: float | None) -> None:
        """Find Ray; the cluster is met when it is needed.

        Args:
            size: workers wanted; None takes as many as the cluster has room for at the start.
            address: of the cluster, as `Cluster` takes it.
            gpus_per_worker: likewise.

        Raises:
            SettingsError: Ray is not installed.
        """
        self._size, self._cluster = size, Cluster(address, gpus_per_worker)
        self._ray = self._cluster.ray
        self._actors: dict[int, Any] = {}

    @property
    def size(self) -> int:
        """How many workers are wanted."""
        assert self._size is not None, "open comes first"
        return self._size

    def open(self, orders: bytes, device: str, n_threads: int) -> None:
        """Meet the cluster, and leave the orders there: each node then fetches them once."""
        self._cluster.meet(device, n_threads)
        self._device = device
        self._size = self._size or self._cluster.room()
        self._orders = self._ray.put(orders)

    def start(self, number: int) -> Future[Any]:
        """Ask for a worker, wherever there is room for one; the one before it may hang."""
        if number in self._actors:
            self._ray.kill(self._actors[number])
        remote = self._ray.remote(Worker).options(
            num_cpus=self._cluster.cpus, num_gpus=self._cluster.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._actors[number] = actor = remote.remote(self._orders, self._device)
        future: Future[Any] = actor.start.remote().future()
        return future

    def find(self, number: int, shard: Shard | None) -> Future[Any]:
        """Have a worker begin a shard, or go on with its last one."""
        future: Future[Any] = self._actors[number].find.remote(shard).future()
        return future

    def result(self, future: Future[Any]) -> Place | Found:
        """What `start` or `find` came to."""
        gone = self._ray.exceptions
        try:
            result: Place | Found = future.result()
        except gone.RayTaskError as error:
            raise error.cause from None  # what the worker raised, as it raised it
        except gone.RayError as error:  # of an actor, a node, or memory
            raise WorkerLostError(first_line(error)) from None
        return result

    def close(self) -> None:
        """End all actors, and leave the cluster if it was met here."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._cluster.leave()
