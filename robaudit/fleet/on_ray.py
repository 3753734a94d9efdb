"""Workers as actors of a Ray cluster.

As many actors are asked for as there are workers wanted. Those there is no room for wait, and start when a node joins;
an autoscaler sees them waiting. An actor that is lost, alone or with its node, is asked for anew, wherever there is
room.
"""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import Future
from typing import Any

from robaudit.errors import SettingsError, first_line
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
            address: `auto`, `host:port` or `ray://host:port`; None takes RAY_ADDRESS, else starts one on this machine.
            gpus_per_worker: share of a GPU that each needs; None is one where the driver has one.

        Raises:
            SettingsError: Ray is not installed.
        """
        try:
            import ray
        except ImportError:
            raise SettingsError("--engine ray: Ray is not installed; pip install 'robaudit[ray]'") from None
        self._ray, self._size, self._address, self._gpus = ray, size, address, gpus_per_worker
        self._actors: dict[int, Any] = {}
        self._is_ours = False

    @property
    def size(self) -> int:
        """How many workers are wanted."""
        assert self._size is not None, "open comes first"
        return self._size

    def open(self, orders: bytes, device: str, n_threads: int) -> None:
        """Meet the cluster, and leave the orders there: each node then fetches them once."""
        if not self._ray.is_initialized():
            self._meet()
        gpus = self._gpus if self._gpus is not None else float(device == "cuda")
        if (gpus > 0) != (device == "cuda"):
            raise SettingsError(
                f"--gpus-per-worker {gpus:g}: the driver computes on {device}, and all must compute alike; start it "
                "on a machine like the workers', or choose with --device"
            )
        # What a worker uses, so that Ray gives no core away twice.
        self._share = {"num_gpus": gpus, "num_cpus": 1 if gpus else n_threads}
        self._device = device
        self._size = self._size or self._room()
        self._orders = self._ray.put(orders)

    def start(self, number: int) -> Future[Any]:
        """Ask for a worker, wherever there is room for one."""
        remote = self._ray.remote(Worker).options(**self._share, max_restarts=0, scheduling_strategy="SPREAD")
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
        if self._is_ours:
            self._ray.shutdown()

    def _meet(self) -> None:
        is_started_here = self._address is None and "RAY_ADDRESS" not in os.environ
        # Workers of this machine find the modules that this process finds, such as the one of --factory.
        shared = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}} if is_started_here else None
        try:
            self._ray.init(
                address=self._address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR,
                runtime_env=shared,
            )  # fmt: skip
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"--ray-address {self._address}: no cluster answers there ({first_line(error)}); "
                "start one with `ray start --head`, or leave the option out"
            ) from None
        self._is_ours = True

    def _room(self) -> int:
        """How many workers the cluster has room for now.

        Raises:
            SettingsError: for none.
        """
        there, wanted = self._ray.cluster_resources(), {"GPU": self._share["num_gpus"], "CPU": self._share["num_cpus"]}
        room = min(int(there.get(name, 0) // each) for name, each in wanted.items() if each)
        if room < 1:
            has = ", ".join(f"{there.get(name, 0):g} {name}" for name in wanted)
            raise SettingsError(
                f"--engine ray: the cluster has {has}, a worker needs {wanted['CPU']} CPU and {wanted['GPU']:g} GPU; "
                "say with --workers how many to wait for, or set OMP_NUM_THREADS lower"
            )
        return room
