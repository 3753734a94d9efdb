"""Training curves of a retrofit, from the metrics.jsonl that stands in its folder. Only numbers are read."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, ValidationError

from robaudit.records import AuditRecord, Tally
from robaudit.report.chart import DASHED, HALF, Chart, Curve, Look, Value, draw
from robaudit.report.retrofit_folder import METRICS_FILE, Told, audited_folder
from robaudit.report.words import number, of, percent, share

_LOSSES = {"total": "loss", "cross_entropy": "cross-entropy", "texture": "GLCM loss"}
_LOOKS = {
    "total": Look("hue-1", marker="square"),
    "cross_entropy": Look("hue-2", DASHED, hollow=True, marker="triangle"),
    "texture": Look("hue-3", "2 4", marker="diamond"),
}


class Losses(Told):
    """Mean per image."""

    total: float = Field(ge=0)
    cross_entropy: float = Field(ge=0)
    texture: float = Field(ge=0)


class _Validation(Told):
    losses: Losses
    n_correct: int = Field(ge=0)
    n_images: int = Field(ge=1)


class Epoch(Told):
    """A line of metrics.jsonl."""

    epoch: int = Field(ge=0)
    val: _Validation


@dataclass(frozen=True)
class EpochRow:
    """An epoch, as the table shows it."""

    epoch: str
    losses: tuple[str, ...]
    counts: str
    percent: str


@dataclass(frozen=True)
class Legend:
    """A line of the loss chart and its name."""

    name: str
    look: Look


@dataclass(frozen=True)
class Training:
    """How the retrofit was trained."""

    sentence: str
    losses: Chart
    legend: tuple[Legend, ...]
    accuracy: Chart
    headings: tuple[str, ...]
    rows: tuple[EpochRow, ...]


def read_training(record: AuditRecord) -> Training | None:
    """Read the training curves of the audited retrofit; None where there are none, or they are not of this model."""
    folder = audited_folder(record)
    if folder is None:
        return None
    try:
        lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
        epochs = [Epoch.model_validate_json(line) for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    return training_curves(epochs) if epochs else None


def training_curves(epochs: Sequence[Epoch]) -> Training:
    """Draw losses and accuracy on the validation images against the epoch."""
    shown = [name for name in _LOSSES if name != "texture" or any(epoch.val.losses.texture for epoch in epochs)]
    top = max(getattr(epoch.val.losses, name) for epoch in epochs for name in shown) or 1.0
    return Training(
        sentence=_sentence(epochs),
        losses=draw(
            [Curve(_LOOKS[name], _loss_values(epochs, name, top)) for name in shown],
            HALF,
            key="training-loss",
            hue="",
            marker="circle",
            title="Validation loss against epoch",
            description=f"From {epochs[0].val.losses.total:.3g} to {epochs[-1].val.losses.total:.3g}.",
            height_label=lambda height: f"{height * top:.2g}",
        ),
        legend=tuple(Legend(_LOSSES[name], _LOOKS[name]) for name in shown),
        accuracy=draw(
            [Curve(Look("after"), _accuracy_values(epochs))],
            HALF,
            key="training-accuracy",
            hue="worst",
            marker="circle",
            title="Validation accuracy against epoch",
            description=f"From {percent(_tally(epochs[0]))} to {percent(_tally(epochs[-1]))}.",
        ),
        headings=tuple(_LOSSES[name] for name in shown),
        rows=tuple(_row(epoch, shown) for epoch in epochs),
    )


def _sentence(epochs: Sequence[Epoch]) -> str:
    last = epochs[-1].epoch
    best = min(epochs, key=lambda epoch: epoch.val.losses.total)
    tally = _tally(best)
    return (
        f"{number(last)} {'epoch' if last == 1 else 'epochs'}; loss and accuracy are of the {number(tally.n_images)} "
        f"validation images. The loss is lowest after epoch {best.epoch}, where {of(tally)} are right "
        f"({percent(tally)}). Epoch 0 is the model before the first step."
    )


def _loss_values(epochs: Sequence[Epoch], name: str, top: float) -> tuple[Value, ...]:
    losses = [(epoch.epoch, getattr(epoch.val.losses, name)) for epoch in epochs]
    return tuple(Value(epoch, loss / top, f"epoch {epoch}: {_LOSSES[name]} {loss:.4g}") for epoch, loss in losses)


def _accuracy_values(epochs: Sequence[Epoch]) -> tuple[Value, ...]:
    tallies = [(epoch.epoch, _tally(epoch)) for epoch in epochs]
    return tuple(Value(epoch, share(tally), f"epoch {epoch}: {of(tally)} correct") for epoch, tally in tallies)


def _row(epoch: Epoch, shown: Sequence[str]) -> EpochRow:
    losses = tuple(f"{getattr(epoch.val.losses, name):.4g}" for name in shown)
    return EpochRow(str(epoch.epoch), losses, of(_tally(epoch)), percent(_tally(epoch)))


def _tally(epoch: Epoch) -> Tally:
    return Tally(n_correct=epoch.val.n_correct, n_images=epoch.val.n_images)
