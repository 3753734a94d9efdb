"""Where training stands after an epoch, on disk: a killed training goes on from there to the same result."""

import hashlib
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from robaudit.errors import OutputError
from robaudit.files import replacing
from robaudit.load.classifier import Classifier
from robaudit.retrofit.adversary import Attack
from robaudit.retrofit_records import EpochMetrics


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

    def write(self, file: BinaryIO) -> None:
        """Write everything, and its hash behind it: into a file that was opened for reading too."""
        torch.save(self._everything(), file)
        size_bytes = file.tell()
        file.write(_digest(file, size_bytes))

    def restore(self, name: Path | str, file: BinaryIO) -> None:
        """Go to where `write` was called.

        Args:
            name: of the file, for the message.
            file: what was written.

        Raises:
            OutputError: the file is damaged, by a bit or more.
        """
        try:
            size_bytes = file.seek(0, os.SEEK_END) - _DIGEST_BYTES
            digest = _digest(file, size_bytes)
            if digest != file.read():
                raise ValueError("another hash")
            file.seek(0)
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            self._take(state)
        except _DAMAGED:
            raise OutputError(f"{name}: cannot be read; use --restart to train from the beginning") from None

    def _everything(self) -> dict[str, Any]:
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

    def _take(self, state: Mapping[str, Any]) -> None:
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


_DAMAGED = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, pickle.UnpicklingError,
)  # fmt: skip
"""What reading a damaged file, or one of another version, ends in."""
_DIGEST_BYTES = hashlib.sha256().digest_size


def _digest(file: BinaryIO, size_bytes: int) -> bytes:
    """Hash of the first bytes of a file, which is then left behind them."""
    digest = hashlib.sha256()
    file.seek(0)
    while size_bytes > 0 and (part := file.read(min(size_bytes, _PART_BYTES))):
        digest.update(part)
        size_bytes -= len(part)
    return digest.digest()


_PART_BYTES = 2**20


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
        try:
            with self.path.open("rb") as file:
                now.restore(self.path, file)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be read ({error.strerror}); let this user read it") from None
        return True

    def save(self, now: Standing) -> None:
        """Write it."""
        with replacing(self.path) as temporary, temporary.open("w+b") as file:
            try:
                now.write(file)
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
