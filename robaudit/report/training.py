"""Training curves of a retrofit, from the metrics.jsonl that stands in its folder. Only numbers are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from robaudit.records import METRICS_FILE, AuditRecord, Scalar, Tally
from robaudit.report.chart import DASHED, HALF, Chart, Curve, Look, Value, draw
from robaudit.report.retrofit_folder import folder_of, training_record_in
from robaudit.report.words import number, of, percent, share
from robaudit.retrofit_records import EpochMetrics, TrainingRecord

_LOSSES = {"total": "loss", "cross_entropy": "cross-entropy", "texture": "GLCM loss"}
_LOOKS = {
    "total": Look("hue-1", marker="square"),
    "cross_entropy": Look("hue-2", DASHED, hollow=True, marker="triangle"),
    "texture": Look("hue-3", "2 4", marker="diamond"),
}
_RIGHT = {
    "": Look("after"),
    "without attack": Look("after", marker="circle"),
    "under attack": Look("hue-2", DASHED, hollow=True, marker="triangle"),
}
_ENDINGS = {
    "patience": " Training ended early, as what it selects by no longer improved.",
    "nan": " The epoch after the last one shown ended training: its loss was not finite.",
}
"""Of training.json's `stopped`, where that is not all epochs done."""


@dataclass(frozen=True)
class Setting:
    """A setting of the training, as the table shows it."""

    name: str
    value: str
    ours: bool
    """Whether the source does not state it, or states it otherwise."""


@dataclass(frozen=True)
class EpochRow:
    """An epoch, as the table shows it."""

    epoch: str
    losses: tuple[str, ...]
    right: tuple[str, ...]
    """Counts and shares: without attack, and where training was adversarial, under it."""


@dataclass(frozen=True)
class Legend:
    """A line of a chart and its name."""

    name: str
    look: Look


@dataclass(frozen=True)
class Training:
    """How the model was trained."""

    title: str
    sentence: str
    losses: Chart
    legend: tuple[Legend, ...]
    accuracy: Chart
    accuracy_legend: tuple[Legend, ...]
    headings: tuple[str, ...]
    rows: tuple[EpochRow, ...]
    settings: tuple[Setting, ...]


def read_training(record: AuditRecord) -> Training | None:
    """Read the training curves of the audited model; None where there are none, or they are not of this model."""
    folder = folder_of(record)
    recorded = None if folder is None else training_record_in(folder)
    if folder is None or recorded is None:
        return None
    try:
        lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()
        epochs = [EpochMetrics.read(line) for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    title = "How the network was fine-tuned" if record.model.front is None else "How the retrofit was trained"
    return _training_curves(title, epochs, recorded) if epochs else None


def _training_curves(title: str, epochs: Sequence[EpochMetrics], recorded: TrainingRecord) -> Training:
    """Draw losses and accuracy on the validation images against the epoch."""
    shown = [name for name in _LOSSES if name != "texture" or any(epoch.val.losses.texture for epoch in epochs)]
    attacked = all(epoch.val.under_attack for epoch in epochs)
    right = {"without attack": _clean, "under attack": _attacked} if attacked else {"": _clean}
    top = max(getattr(epoch.val.losses, name) for epoch in epochs for name in shown) or 1.0
    return Training(
        title=title,
        sentence=_sentence(epochs, recorded),
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
            [Curve(_RIGHT[name], _accuracy_values(epochs, tally)) for name, tally in right.items()],
            HALF,
            key="training-accuracy",
            hue="worst",
            marker="circle",
            title="Validation accuracy against epoch",
            description=" ".join(
                f"{name.capitalize()} from {percent(tally(epochs[0]))} to {percent(tally(epochs[-1]))}.".lstrip()
                for name, tally in right.items()
            ),
        ),
        accuracy_legend=tuple(Legend(name, _RIGHT[name]) for name in right if name),
        headings=(*(_LOSSES[name] for name in shown), *(f"correct {name}".strip() for name in right)),
        rows=tuple(
            EpochRow(
                str(epoch.epoch),
                tuple(f"{getattr(epoch.val.losses, name):.4g}" for name in shown),
                tuple(f"{of(tally(epoch))} ({percent(tally(epoch))})" for tally in right.values()),
            )
            for epoch in epochs
        ),
        settings=_settings(recorded),
    )


def _settings(recorded: TrainingRecord) -> tuple[Setting, ...]:
    """The settings in use, the optimiser first."""
    told: dict[str, Scalar] = {"optimiser": recorded.optimiser, **recorded.settings}
    return tuple(
        Setting(name.removesuffix("_255").replace("_", " "), _value(name, value), name in {"optimiser", *recorded.ours})
        for name, value in told.items()
        if name not in recorded.idle
    )


def _value(name: str, value: Scalar) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value}/255" if name.endswith("_255") else str(value)


def _sentence(epochs: Sequence[EpochMetrics], recorded: TrainingRecord) -> str:
    kept = recorded.best
    last, clean, attack = epochs[-1].epoch, _clean(kept), kept.val.under_attack
    if attack is None:
        why = (
            f"Kept is epoch {kept.epoch}, where, of the epochs trained, the loss is lowest: {of(clean)} are right "
            f"({percent(clean)})."
        )
    else:
        weighed = ", weighed by class," if recorded.settings.get("class_weights") else ""
        why = (
            f"Kept is epoch {kept.epoch}, where, of the epochs trained, most{weighed} are right under PGD of "
            f"{attack.steps} steps at {attack.eps_255}/255: {of(_attacked(kept))} ({percent(_attacked(kept))}); "
            f"without attack {of(clean)} are ({percent(clean)})."
        )
    return (
        f"{number(last)} {'epoch' if last == 1 else 'epochs'}; loss and accuracy are of the {number(clean.n_images)} "
        f"validation images. {why}{_better_before(epochs[0], kept)} Epoch 0 is the model before the first step."
        f"{_course(epochs, recorded)}"
    )


def _course(epochs: Sequence[EpochMetrics], recorded: TrainingRecord) -> str:
    """What the curves do not show of how training went, to be put behind a sentence; often nothing."""
    blind = [
        f" In epoch {epoch.epoch} fast FGSM went blind: its weights were dropped, and training went on against PGD."
        for epoch in epochs
        if epoch.fell_back
    ]
    return "".join(blind) + _ENDINGS.get(recorded.stopped, "")


def _better_before(before: EpochMetrics, kept: EpochMetrics) -> str:
    """Say where the model before the first step did better at what the epoch was chosen by; it is never kept itself."""
    if kept.val.under_attack is None:
        loss = before.val.losses.total
        return f" Before the first step the loss was lower ({loss:.4g})." if loss < kept.val.losses.total else ""
    if before.val.under_attack is None or _attacked(before).n_correct <= _attacked(kept).n_correct:
        return ""
    return f" Before the first step more withstood it: {of(_attacked(before))} ({percent(_attacked(before))})."


def _loss_values(epochs: Sequence[EpochMetrics], name: str, top: float) -> tuple[Value, ...]:
    losses = [(epoch.epoch, getattr(epoch.val.losses, name)) for epoch in epochs]
    return tuple(Value(epoch, loss / top, f"epoch {epoch}: {_LOSSES[name]} {loss:.4g}") for epoch, loss in losses)


def _accuracy_values(epochs: Sequence[EpochMetrics], tally: Callable[[EpochMetrics], Tally]) -> tuple[Value, ...]:
    tallies = [(epoch.epoch, tally(epoch)) for epoch in epochs]
    return tuple(Value(epoch, share(found), f"epoch {epoch}: {of(found)} correct") for epoch, found in tallies)


def _clean(epoch: EpochMetrics) -> Tally:
    return Tally(n_correct=epoch.val.n_correct, n_images=epoch.val.n_images)


def _attacked(epoch: EpochMetrics) -> Tally:
    attack = epoch.val.under_attack
    assert attack is not None
    return Tally(n_correct=attack.n_correct, n_images=attack.n_images)
