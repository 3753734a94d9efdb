"""Where training stands after an epoch, on disk: a killed training goes on from there to the same result."""

import pickle
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from robaudit.errors import OutputError
from robaudit.files import replacing
from robaudit.load.classifier import Classifier
from robaudit.retrofit.adversary import Attack
from robaudit.retrofit.record import EpochMetrics


@dataclass
class Standing:
    """All that the next epoch depends on, beside the settings and the images."""

    classifier: Classifier
    optimiser: torch.optim.Optimizer
    random: torch.Generator
    """Of order, augmentation and attacks; layers such as dropout draw from torch's own."""
    attack: Attack
    """What training faces now."""
    before: EpochMetrics | None = None
    """The model before the first step."""
    epoch: int = 0
    best: EpochMetrics | None = None
    """The epoch to keep; None as long as there is none."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """Of `best`; of the model before the first step as long as there is none."""
    seconds: float = 0.0

    def begin(self, metrics: EpochMetrics) -> None:
        """Take the model as it is for the one before the first step."""
        self.before = metrics
        self.best_weights = copied(self.classifier)

    def keep_weights(self, metrics: EpochMetrics) -> None:
        """Take this epoch for the best so far."""
        self.best = metrics
        self.best_weights = copied(self.classifier)

    def dump(self) -> dict[str, Any]:
        """Everything, as it is written."""
        return {
            "epoch": self.epoch,
            "attack": self.attack,
            "seconds": self.seconds,
            "before": _written(self.before),
            "best": _written(self.best),
            "best_weights": self.best_weights,
            "weights": self.classifier.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": self.random.get_state(),
            "torch_random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, name: Path | str, content: Path | BinaryIO) -> None:
        """Go to where `dump` was called.

        Args:
            name: of the file, for the message.
            content: what `torch.save` made of the dump.

        Raises:
            OutputError: the file is damaged.
        """
        try:
            _require_whole(content)
            state: dict[str, Any] = torch.load(content, map_location="cpu", weights_only=True)
            self.classifier.load_state_dict(state["weights"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.before, self.best = _read(state["before"]), _read(state["best"])
            self.epoch, self.attack, self.seconds = state["epoch"], state["attack"], state["seconds"]
            self.best_weights = state["best_weights"]
            self.random.set_state(state["random"])
            torch.set_rng_state(state["torch_random"])
            if state["cuda_random"] and torch.cuda.is_available():
                # A worker sees fewer GPUs than the process that kept this.
                torch.cuda.set_rng_state_all(state["cuda_random"][: torch.cuda.device_count()])
        except _DAMAGED:
            raise OutputError(f"{name}: cannot be read; use --restart to train from the beginning") from None


_DAMAGED = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, ArithmeticError,
    pickle.UnpicklingError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a damaged file ends in."""


def _require_whole(content: Path | BinaryIO) -> None:
    """Compare every part with its checksum, which torch writes and does not look at.

    Raises:
        BadZipFile: one of them is another.
    """
    with zipfile.ZipFile(content) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(damaged)
    if not isinstance(content, Path):
        content.seek(0)


class Keeper(Protocol):
    """Where training is kept, to go on from."""

    def restore(self, now: Standing) -> bool:
        """Go to where training stands; returns whether it had begun.

        Raises:
            OutputError: what was kept is damaged.
        """

    def save(self, now: Standing) -> None:
        """Keep where training stands.

        Raises:
            OutputError: the disk is full.
        """


@dataclass(frozen=True)
class StateFile:
    """A file that training is kept in, whole or not at all."""

    path: Path

    def restore(self, now: Standing) -> bool:
        """Read it, if it is there."""
        if not self.path.exists():
            return False
        now.restore(self.path, self.path)
        return True

    def save(self, now: Standing) -> None:
        """Write it."""
        with replacing(self.path) as temporary:
            try:
                torch.save(now.dump(), temporary)
            except RuntimeError:  # how torch's archive writer says that the disk is full
                raise OutputError(
                    f"{self.path}: cannot be written, the disk seems full; free space or choose another --out"
                ) from None


def _written(metrics: EpochMetrics | None) -> str | None:
    return None if metrics is None else metrics.model_dump_json()


def _read(text: str | None) -> EpochMetrics | None:
    return None if text is None else EpochMetrics.model_validate_json(text)


def copied(classifier: Classifier) -> dict[str, Tensor]:
    """The weights as they are now."""
    return {name: weight.detach().clone() for name, weight in classifier.state_dict().items()}
