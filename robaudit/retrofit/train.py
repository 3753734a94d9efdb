"""The training loop of a retrofit, on one page.

Stops early on the validation loss, the very objective that is minimised; keeps the best epoch's weights. The
model before the first step is measured (epoch 0) but not kept: it is the vanilla model.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from robaudit.errors import SettingsError, TrainingError
from robaudit.load.classifier import Classifier
from robaudit.progress import Progress
from robaudit.retrofit.loss import LossParts, assimilation_loss, texture_distance
from robaudit.retrofit.record import EpochMetrics, Losses, Validation
from robaudit.retrofit.samples import Batch, Samples
from robaudit.retrofit.settings import TrainConfig, Trains
from robaudit.texture.sot import COLUMNS

Stopped = Literal["epochs", "patience", "nan"]


@dataclass(frozen=True)
class Trained:
    """How training went; the classifier holds the weights of `best`."""

    best: EpochMetrics
    n_epochs: int
    stopped: Stopped


@torch.random.fork_rng()
def train(
    classifier: Classifier,
    training: Samples,
    validation: Samples,
    config: TrainConfig,
    *,
    progress: Progress,
    on_epoch: Callable[[EpochMetrics], None],
) -> Trained:
    """Minimise the assimilation loss; leaves the classifier in evaluation mode with its best epoch's weights.

    The same seed, data, settings, device and thread count give the same weights. The caller's random state is
    untouched.

    Raises:
        TrainingError: the loss was not finite before any epoch was completed.
        SettingsError: `front+head` for a backbone that does not say which layer its head is.
    """
    torch.manual_seed(config.seed)  # dropout and its kin
    classifier.to(memory_format=torch.channels_last)  # halves the time of T and C on a CPU
    order = torch.Generator().manual_seed(config.seed)
    optimiser = torch.optim.AdamW(
        choose_trained(classifier, config.trains), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    start = time.monotonic()
    on_epoch(EpochMetrics(
        epoch=0, train=None, val=_validate(classifier, validation, config),
        seconds=time.monotonic() - start, worst_patch=None, worst_feature=None,
    ))  # fmt: skip
    best: EpochMetrics | None = None
    best_weights: dict[str, Tensor] = {}
    stopped: Stopped = "epochs"
    epoch = 0

    progress.start("training", config.epochs * len(training))
    for epoch in range(1, config.epochs + 1):
        start = time.monotonic()
        try:
            seen = _train_epoch(classifier, training, config, optimiser, order, progress, epoch)
            measured = _validate(classifier, validation, config)
        except _NotFiniteError:
            stopped, epoch = "nan", epoch - 1
            break
        metrics = EpochMetrics(
            epoch=epoch, train=seen.losses(), val=measured, seconds=time.monotonic() - start,
            worst_patch=seen.worst_patch(), worst_feature=seen.worst_feature(),
        )  # fmt: skip
        on_epoch(metrics)
        progress.say(_line(metrics, config))
        if best is None or measured.losses.total < best.val.losses.total:
            best, best_weights = metrics, _copy(classifier)
        elif epoch - best.epoch >= config.patience:
            stopped = "patience"
            break
    progress.finish()

    if best is None:
        raise TrainingError(
            f"training: the loss was not finite in epoch 1 with learning rate {config.learning_rate:g}; "
            "nothing was written; lower --lr"
        )
    classifier.load_state_dict(best_weights)
    classifier.eval()
    return Trained(best, epoch, stopped)


def _train_epoch(
    classifier: Classifier,
    training: Samples,
    config: TrainConfig,
    optimiser: torch.optim.Optimizer,
    order: torch.Generator,
    progress: Progress,
    epoch: int,
) -> "_Sum":
    total = _Sum()
    set_mode(classifier, config.trains)
    for indices in _batches(torch.randperm(len(training), generator=order), config.batch_size):
        batch = training.batch(indices)
        parts, _ = _forward(classifier, batch, config)
        optimiser.zero_grad()
        parts.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total.add(parts, len(batch))
        progress.advance(len(batch), note=f"epoch {epoch}/{config.epochs}  {_equation(total.losses(), config)}")
    return total


@torch.no_grad()
def _validate(classifier: Classifier, validation: Samples, config: TrainConfig) -> Validation:
    total, n_correct, saturated = _Sum(), 0, 0.0
    classifier.eval()
    assert classifier.front is not None
    for indices in _batches(torch.arange(len(validation)), config.batch_size):
        batch = validation.batch(indices)
        parts, logits = _forward(classifier, batch, config)
        total.add(parts, len(batch))
        n_correct += int((logits.argmax(1) == batch.labels).sum())
        saturated += classifier.front.saturated(batch.pixels) * len(batch)
    return Validation(
        losses=total.losses(), n_correct=n_correct, n_images=len(validation), saturated=saturated / len(validation)
    )


def _forward(classifier: Classifier, batch: Batch, config: TrainConfig) -> tuple[LossParts, Tensor]:
    """Loss and logits, passing the images through T and C once for both terms."""
    front, term = classifier.front, config.texture
    assert front is not None
    seen = front(batch.pixels)
    logits: Tensor = classifier.backbone((seen - classifier.mean) / classifier.std)
    parts = assimilation_loss(
        logits,
        batch.labels,
        config.alpha,
        lambda: texture_distance(term.features(term.picture(front, batch.pixels, seen)), batch.texture, term.rows),
    )
    if not math.isfinite(parts.total.item()):
        raise _NotFiniteError
    return parts, logits


def choose_trained(classifier: Classifier, trains: Trains) -> list[Tensor]:
    """Let gradients flow to the parameters that train, and to no others; returns them.

    Raises:
        SettingsError: `front+head` for a backbone that does not say which layer its head is.
    """
    assert classifier.front is not None
    classifier.requires_grad_(trains == "all")
    classifier.front.requires_grad_(True)
    if trains == "front+head":
        if not hasattr(classifier.backbone, "get_classifier"):
            raise SettingsError("trains front+head: this model does not say which layer its head is; use front or all")
        head: nn.Module = classifier.backbone.get_classifier()  # type: ignore[operator]
        head.requires_grad_(True)
    return [weight for weight in classifier.parameters() if weight.requires_grad]


def set_mode(classifier: Classifier, trains: Trains) -> None:
    """Training mode; a frozen backbone stays in evaluation mode, so its batch-norm statistics are frozen too."""
    classifier.train()
    if trains != "all":
        classifier.backbone.eval()


def _batches(order: Tensor, batch_size: int) -> Iterator[list[int]]:
    """Batches of nearly equal size: a last batch of one image would be no batch to batch-norm."""
    for part in order.tensor_split(math.ceil(len(order) / batch_size)):
        yield part.tolist()


class _NotFiniteError(Exception):
    """The loss became NaN or infinite."""


class _Sum:
    """Loss parts summed over images, and how often each patch and feature was the worst."""

    def __init__(self) -> None:
        self.n_images = 0
        self.total = self.cross_entropy = self.texture = 0.0
        self.patches: Counter[int] = Counter()
        self.columns: Counter[int] = Counter()

    def add(self, parts: LossParts, n_images: int) -> None:
        self.n_images += n_images
        self.total += parts.total.item() * n_images
        self.cross_entropy += parts.cross_entropy.item() * n_images
        self.texture += parts.texture.item() * n_images
        if parts.where is not None:
            self.patches.update(parts.where.patch.tolist())
            self.columns.update(parts.where.column.tolist())

    def losses(self) -> Losses:
        n = self.n_images
        return Losses(total=self.total / n, cross_entropy=self.cross_entropy / n, texture=self.texture / n)

    def worst_patch(self) -> int | None:
        return self.patches.most_common(1)[0][0] if self.patches else None

    def worst_feature(self) -> str | None:
        return COLUMNS[self.columns.most_common(1)[0][0]] if self.columns else None


def _copy(classifier: Classifier) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in classifier.state_dict().items()}


def _equation(losses: Losses, config: TrainConfig) -> str:
    """The loss and its parts, as the eye adds them up."""
    if config.alpha == 1:
        return f"loss {losses.total:.4f} (cross-entropy alone)"
    return (
        f"loss {losses.total:.4f} = {config.alpha:g} x cross-entropy {losses.cross_entropy:.4f}"
        f" + {1 - config.alpha:.3g} x texture {losses.texture:.4f}"
    )


def _line(metrics: EpochMetrics, config: TrainConfig) -> str:
    val = metrics.val
    where = (
        f"; texture moved most in patch {metrics.worst_patch}, {metrics.worst_feature}" if metrics.worst_feature else ""
    )
    return (
        f"epoch {metrics.epoch}/{config.epochs}: val {_equation(val.losses, config)}, "
        f"{val.n_correct} of {val.n_images} correct{where}"
    )
