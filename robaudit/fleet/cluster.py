"""A Ray cluster: met where it is, or started on this machine, and left as it was found."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from robaudit.errors import SettingsError, first_line


class Cluster:
    """Where Ray's workers run."""

    def __init__(self, address: str | None, gpus_per_worker: float | None) -> None:
        """Find Ray; the cluster is met when it is needed.

        Args:
            address: `auto`, `host:port` or `ray://host:port`; None takes RAY_ADDRESS, else starts one on this machine.
            gpus_per_worker: share of a GPU that each worker needs; None is one where the driver has one.

        Raises:
            SettingsError: Ray is not installed.
        """
        try:
            import ray
        except ImportError:
            raise SettingsError("--engine ray: Ray is not installed; pip install 'robaudit[ray]'") from None
        self.ray: Any = ray
        self.cpus, self.gpus = 1.0, 0.0
        """What a worker uses, so that Ray gives no core away twice."""
        self._address, self._wanted_gpus = address, gpus_per_worker
        self._is_ours = False

    def meet(self, device: str, n_threads: int) -> None:
        """Join it, for workers that compute as the driver does.

        Args:
            device: type of the driver's device, cpu or cuda.
            n_threads: of every worker.

        Raises:
            SettingsError: none answers, or GPUs are wanted and the driver has none, or the other way round.
        """
        if not self.ray.is_initialized():
            self._join()
        self.gpus = self._wanted_gpus if self._wanted_gpus is not None else float(device == "cuda")
        if (self.gpus > 0) != (device == "cuda"):
            raise SettingsError(
                f"--gpus-per-worker {self.gpus:g}: the driver computes on {device}, and all must compute alike; start "
                "it on a machine like the workers', or choose with --device"
            )
        self.cpus = 1 if self.gpus else n_threads

    def room(self) -> int:
        """How many workers it has room for now.

        Raises:
            SettingsError: for none.
        """
        there, wanted = self.ray.cluster_resources(), {"GPU": self.gpus, "CPU": self.cpus}
        room = min(int(there.get(name, 0) // each) for name, each in wanted.items() if each)
        if room < 1:
            has = ", ".join(f"{there.get(name, 0):g} {name}" for name in wanted)
            raise SettingsError(
                f"--engine ray: the cluster has {has}, a worker needs {self.cpus:g} CPU and {self.gpus:g} GPU; "
                "say with --workers how many to wait for, or set OMP_NUM_THREADS lower"
            )
        return room

    def leave(self) -> None:
        """Leave it, if it was met here; what was started there for this process ends."""
        if self._is_ours:
            self.ray.shutdown()

    def _join(self) -> None:
        is_started_here = self._address is None and "RAY_ADDRESS" not in os.environ
        # Workers of this machine find the modules that this process finds, such as the one of --factory.
        shared = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}} if is_started_here else None
        try:
            self.ray.init(
                # Not None: Ray would look for a cluster that once ran here, and wait minutes for one that died.
                address="local" if is_started_here else self._address,
                log_to_driver=False,
                include_dashboard=False,
                logging_level=logging.ERROR,
                runtime_env=shared,
            )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise SettingsError(
                f"--ray-address {self._address}: no cluster answers there ({first_line(error)}); "
                "start one with `ray start --head`, set RAY_AUTH_MODE=token if it asks for one, or leave the option out"
            ) from None
        self._is_ours = True
