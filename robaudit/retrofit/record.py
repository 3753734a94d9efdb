"""What a retrofit leaves on record, as frozen data. No torch."""

from datetime import datetime
from typing import Literal

from robaudit.records import Count, DataInfo, Environment, FileRef, ModelInfo, Record, Scalar

CONFIG_FILE = "config.json"
TRAINING_FILE = "training.json"
METRICS_FILE = "metrics.jsonl"
WEIGHTS_FILE = "model.safetensors"
SPLIT_FILE = "split.csv"


class Losses(Record):
    """The loss and its parts, mean per image."""

    total: float
    cross_entropy: float
    texture: float
    """Zero where alpha is 1: then it is not computed."""


class Validation(Record):
    """What the model does on the validation images."""

    losses: Losses
    n_correct: Count
    n_images: Count
    saturated: float
    """Share of T's and C's amounts at their bound, where training can hardly move them."""


class EpochMetrics(Record):
    """One line of metrics.jsonl. Epoch 0 is the model before the first step."""

    epoch: Count
    train: Losses | None
    """Null for epoch 0. Measured while the weights change, so not comparable to `val` to the last digit."""
    val: Validation
    seconds: float
    worst_patch: Count | None
    """The patch (row by row) that most often had the largest texture change in training; null at alpha 1."""
    worst_feature: str | None
    """The feature that most often dominated that change, such as `contrast@45`."""


class TrainingRecord(Record):
    """training.json: how a retrofitted model came about."""

    format_version: Literal[1] = 1
    robaudit_version: str
    created: datetime
    settings: dict[str, Scalar]
    ours: tuple[str, ...]
    """Settings that the source (arXiv 2402.16005) does not state, or states otherwise."""
    vanilla: ModelInfo
    """The model before the retrofit."""
    train: DataInfo
    val: DataInfo
    modules: str
    """`T+C`, or `T` for a one-channel backbone."""
    stopped: Literal["epochs", "patience", "nan"]
    """What ended training: all epochs done, no improvement for `patience` epochs, or a loss that is not finite."""
    n_epochs: Count
    """Completed epochs."""
    best: EpochMetrics
    """The epoch whose weights were kept: the lowest validation loss."""
    weights: FileRef
    seconds: float
    environment: Environment
