"""Retrofit a classifier with domain assimilation: model file + images -> a folder that scan accepts as a model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from pydantic import NonNegativeFloat, PositiveInt, ValidationError

from robaudit import __version__
from robaudit.data.apart import require_other_than_data, require_other_than_model, require_outside_images
from robaudit.data.images import Images, open_images
from robaudit.data.learnt import read_learnt, write_learnt
from robaudit.data.listed import Split
from robaudit.data.remote import Location, located
from robaudit.data.splitting import divided
from robaudit.data.view import View
from robaudit.errors import OutputError
from robaudit.files import landing, sha256_of, write_text
from robaudit.fleet.choice import EngineName, Workforce
from robaudit.fleet.worker import place_of
from robaudit.float32 import true_float32
from robaudit.given import checked, given
from robaudit.load.classifier import Classifier
from robaudit.load.model import FURTHER_OPTIONS, load_model
from robaudit.load.provenance import environment
from robaudit.load.recipe import altered_program
from robaudit.preprocessing.check import require_preprocessing
from robaudit.progress import Progress, Silent
from robaudit.records import METRICS_FILE, SPLIT_FILE, TRAINING_FILE, DataInfo, FileRef, ModelInfo
from robaudit.retrofit.before_training import require_patches, retrofitted
from robaudit.retrofit.diagnostics import Examined, some_of, write_diagnostics
from robaudit.retrofit.model_folder import write_model
from robaudit.retrofit.moved import texture_moved
from robaudit.retrofit.objective import class_weights
from robaudit.retrofit.settings import OPTIMISER, train_config
from robaudit.retrofit.state import StateFile
from robaudit.retrofit.task import Task
from robaudit.retrofit.team import depends_on_sharing
from robaudit.retrofit.telling import ending, explanation, introduce
from robaudit.retrofit.tone import tone_curve
from robaudit.retrofit.trainers import require_trainable, trainers
from robaudit.retrofit.workplace import (
    STATE_FILE,
    elsewhere,
    goes_on,
    identify,
    refuse_foreign,
    require_movable,
    take_place,
    tidy,
    workplace,
)
from robaudit.retrofit_records import CONFIG_FILE, EpochMetrics, TrainingRecord


class Reading(TypedDict):
    """How image files are read, wherever they are."""

    seed: int
    merge: Mapping[str, Sequence[str]] | None
    view: View | None
    on_bad_image: Literal["fail", "skip"]
    progress: Progress


@checked
@true_float32()
def assimilate(
    model: Path | str,
    data: Location | str,
    *,
    out: Path | str,
    preset: str | None = None,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: tuple[int, int] | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    limit: PositiveInt | None = None,
    view: View | None = None,
    on_bad_image: Literal["fail", "skip"] = "fail",
    device: str | torch.device = "auto",
    accept_preprocessing: bool = False,
    restart: bool = False,
    engine: EngineName = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    gpus_per_worker: NonNegativeFloat | None = None,
    command: str = "robaudit.assimilate",
    progress: Progress | None = None,
    **settings: Any,
) -> TrainingRecord:
    """Put T and C in front of a classifier, train with the assimilation loss, and write the result as a folder.

    The folder appears when it is complete. A finished folder made from the same model, images and settings is
    returned as it is; an interrupted training goes on after its last complete epoch, to the same result.

    Args:
        model: model file.
        data: images in train and val parts, or undivided: then split 60/20/20, and the split written out.
        out: folder to write.
        preset: `paper` for what the source states; None for the defaults.
        arch: architecture, where the file does not tell.
        classes: class names in the order of the model's outputs.
        mean: per-channel mean of the model's own normalisation.
        std: per-channel standard deviation of it.
        input_size: (height, width) of the model's input grid; None takes the model's own.
        merge: new class -> class folders joined into it.
        limit: stratified, seeded upper bound on the images of each part.
        view: how images are shown to the model; None as they are stored.
        on_bad_image: `skip` leaves unreadable images out.
        device: where to train.
        accept_preprocessing: train without asking whether another preprocessing does clearly better.
        restart: replace a folder of other settings.
        engine: who trains: `local` this process, `ray` workers of a cluster, who share every batch.
        workers: how many; None is as many as there is room for. Ray alone.
        ray_address: of the cluster; None takes RAY_ADDRESS, else starts one on this machine.
        gpus_per_worker: share of a GPU each Ray worker needs; None is one where the device is a GPU.
        command: what the person typed, for the record.
        progress: told of every image and epoch.
        settings: fields of `TrainConfig`, `TextureTerm` and `Adversary`, which take precedence over the preset; and
            further arguments of `load_model`: factory, trust, weights, output, label_index,
            threshold, normalization.

    Raises:
        InputError: the model, data, settings or output folder cannot be used.
        TrainingError: the loss was not finite before any epoch was completed; nothing is written.
    """
    model, data, out = Path(model), located(data), landing(Path(out))
    progress = progress or Silent()
    loading = {name: settings.pop(name) for name in FURTHER_OPTIONS if name in settings}
    given(load_model, model, **loading)
    config = train_config(preset, **settings)
    workforce = Workforce(engine, workers, ray_address, gpus_per_worker)
    require_trainable(workforce)
    require_other_than_model(out, model)
    require_outside_images(out, data)
    require_other_than_data(out, data)
    require_movable(out)
    refuse_foreign(out, replaced=restart)
    with torch.random.fork_rng(), workplace(out) as folder:
        reading = Reading(seed=config.seed, merge=merge, view=view, on_bad_image=on_bad_image, progress=progress)
        source = divided(data, folder / SPLIT_FILE, **reading)
        training, validation = _open(source, limit, reading)
        vanilla = load_model(
            model,
            arch=arch,
            classes=classes,
            folder_classes=training.classes,
            mean=mean,
            std=std,
            input_size=input_size,
            device=device,
            **loading,
        )
        learnt_before = read_learnt(model)
        require_patches(vanilla.size, config)
        vanilla, training = vanilla.tried_on(training)
        validation = validation.ordered_as(vanilla.info.classes)
        class_weights(config.class_weights, training.per_class)  # refused before anything takes its time
        inputs = {
            "settings": {"preset": preset, "limit": limit, **config.flat()},
            "vanilla": vanilla.info,
            "train": _data_info(data, training),
            "val": _data_info(data, validation),
        }
        identity = {name: _plain(value) for name, value in inputs.items()}
        if not restart and goes_on(folder, identity):
            refuse_foreign(out)  # what an interrupted --restart is about to replace
        elif not restart and (finished := _finished(out, identity)):
            tidy(out)
            progress.say(f"{out}: already made with these settings; nothing to do")
            return finished
        begins = restart or not _epochs_done(folder)
        if begins and not accept_preprocessing:
            require_preprocessing(vanilla, training, progress)
        with trainers(workforce, vanilla.classifier.device, len(training), config.batch_size) as crew:
            if depends_on_sharing(vanilla.classifier.backbone, config.trains):
                identity["workers"] = crew.size
            place = place_of(vanilla.classifier.device).decisive
            identify(folder, identity, place, restart=restart)
            if words := elsewhere(folder, place):
                progress.say(f"warning: began with {words}; it goes on, to other weights than without interruption")
            classifier = retrofitted(vanilla, training.channels, config)
            task = Task(training, validation, vanilla.size, config)
            looked_at, pixels, labels = some_of(validation, vanilla.size, vanilla.classifier.device)
            shown = [ref.id for ref in looked_at.refs], pixels, labels
            progress.asking(shown[0])
            introduce(classifier, task, progress, _epochs_done(folder))
            before = Examined(vanilla.classifier, *shown, "before", progress)
            trained = crew.train(
                classifier,
                task,
                progress=progress,
                on_epoch=lambda metrics: _append(folder / METRICS_FILE, metrics),
                state=StateFile(folder / STATE_FILE),
            )
        progress.say(ending(trained, config))

        shown_as = training.view.flags
        weights = write_model(folder, classifier, vanilla.info, training.channels, vanilla.recipe, shown_as)
        write_learnt(folder, (training, validation), learnt_before)
        record = TrainingRecord(
            robaudit_version=__version__,
            created=datetime.now(UTC),
            **inputs,
            ours=config.ours(),
            optimiser=OPTIMISER,
            idle=tuple(config.idle()),
            modules=_modules_name(classifier),
            stopped=trained.stopped,
            n_epochs=trained.n_epochs,
            best=trained.best,
            weights=FileRef(path=weights.name, sha256=sha256_of(weights)),
            config=FileRef(path=CONFIG_FILE, sha256=sha256_of(folder / CONFIG_FILE)),
            seconds=trained.seconds,
            engine=crew.name,
            workers=crew.size,
            environment=environment(command, batch_size=config.batch_size),
        )
        front = classifier.front
        moved = None if front is None else texture_moved(front, validation, vanilla.size, config.texture)
        tone = None if front is None else tone_curve(front, vanilla.size)
        after = Examined(classifier, *shown, "after", progress)
        diagnostics = write_diagnostics(folder, looked_at, pixels, before, after, moved, tone)
        progress.say(explanation(diagnostics))
        write_text(folder / TRAINING_FILE, record.model_dump_json(indent=2) + "\n")
        take_place(folder, out)
    return record


def _epochs_done(folder: Path) -> int:
    """How many epochs an interrupted training goes on after."""
    n_lines = len(_lines(folder / METRICS_FILE)) if (folder / STATE_FILE).exists() else 0
    return max(0, n_lines - 1)  # the first line is the model before the first step


def _open(source: Location, limit: int | None, reading: Reading) -> tuple[Images, Images]:
    """Training and validation images, as colour if either holds any."""
    parts: tuple[Split, ...] = ("train", "val")
    training, validation = (open_images(source, part, limit=limit, **reading) for part in parts)
    channels = max(training.channels, validation.channels)
    return replace(training, channels=channels), replace(validation, channels=channels)


def _data_info(data: Location, images: Images) -> DataInfo:
    return DataInfo(
        path=str(data),
        sha256=images.sha256,
        n_images=len(images),
        per_class=images.per_class,
        n_skipped=images.n_skipped,
        shown=images.view.flags,
    )


def _finished(out: Path, identity: Mapping[str, Any]) -> TrainingRecord | None:
    """The record of an earlier run with the same inputs; None where there is no earlier run.

    Raises:
        OutputError: the earlier run had other inputs, or its record cannot be read.
    """
    path = out / TRAINING_FILE
    if not path.exists():
        return None
    try:
        record = TrainingRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        raise OutputError(f"{path}: cannot be read; use --restart to replace the folder") from None
    different = [name for name, value in identity.items() if _plain(getattr(record, name)) != value]
    if different:
        raise OutputError(
            f"{out}: was made with other {' and '.join(different)}; use --restart to replace it, or another --out"
        )
    for file in filter(None, (record.weights, record.config)):
        if not (out / file.path).is_file() or sha256_of(out / file.path) != file.sha256:
            raise OutputError(f"{out / file.path}: is not what training left; use --restart to make it again")
    if altered := altered_program(out, json.loads((out / CONFIG_FILE).read_bytes())):
        raise OutputError(f"{out / altered}: is not what training left; use --restart to make it again")
    return record


def _plain(value: object) -> object:
    """An input as JSON, without its path: a moved model or folder is still the same, by its hash."""
    if not isinstance(value, ModelInfo | DataInfo):
        return value
    return value.model_copy(update={"path": ""}).model_dump(mode="json")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    except UnicodeDecodeError:
        raise OutputError(f"{path}: cannot be read; use --restart to train from the beginning") from None


def _append(path: Path, metrics: EpochMetrics) -> None:
    """Add a line, after dropping those of epochs that an interruption kept from leaving their state."""
    kept = _lines(path)[: metrics.epoch]
    write_text(path, "\n".join([*kept, metrics.model_dump_json()]) + "\n")


def _modules_name(classifier: Classifier) -> str:
    return "none" if classifier.front is None else classifier.front.modules_name
