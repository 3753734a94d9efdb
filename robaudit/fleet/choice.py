"""What a person chooses about workers -> a crew, or none."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import Literal

from robaudit.errors import SettingsError
from robaudit.fleet.crew import Crew
from robaudit.fleet.on_ray import RayCrew
from robaudit.fleet.processes import ProcessCrew

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Workforce:
    """Who measures: this process, several of this machine, or a Ray cluster."""

    engine: EngineName = "local"
    workers: int | None = None
    """None: this process alone; with Ray, as many as there is room for."""
    ray_address: str | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            SettingsError: naming the option.
        """
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"--workers {self.workers}: wanted 1 or more")
        for option, value in (("--ray-address", self.ray_address), ("--gpus-per-worker", self.gpus_per_worker)):
            if value is not None and self.engine != "ray":
                raise SettingsError(f"{option} {value}: is for --engine ray; add that, or leave it out")

    def crew(self) -> Crew | None:
        """The workers; None where this process measures by itself.

        Raises:
            SettingsError: Ray is wanted and not installed, or this is a worker itself, which reads its driver's script.
        """
        if self.engine == "ray":
            return RayCrew(self.workers, self.ray_address, self.gpus_per_worker)
        if self.workers is None or self.workers == 1:
            return None
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise SettingsError("--workers: a script needs `if __name__ == '__main__':` around its calls of robaudit")
        return ProcessCrew(self.workers)
