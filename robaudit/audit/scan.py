"""Scan: a model file and labelled images -> an audit record on disk, resumable after any interruption."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import nn

from robaudit.attack.curve import Engine
from robaudit.attack.settings import Precision, Protocol, fitted, plan_of, sample_size_of, speedups_of
from robaudit.attack.threats import EPS_GRID
from robaudit.audit.measure import Measurement
from robaudit.audit.record import draft
from robaudit.checks.evidence import Share
from robaudit.data.apart import require_outside_images
from robaudit.data.images import Images, open_images, pictures_of
from robaudit.data.learnt import Learnt, read_learnt, refuse_learnt_patients
from robaudit.data.remote import Location, located
from robaudit.data.view import View
from robaudit.errors import SettingsError
from robaudit.fleet.choice import EngineName, Workforce
from robaudit.fleet.fleet import Fleet
from robaudit.float32 import true_float32
from robaudit.given import checked, given
from robaudit.load.classifier import LoadedModel
from robaudit.load.in_memory import from_module
from robaudit.load.model import load_model
from robaudit.load.surrogate import Surrogate, load_surrogate
from robaudit.preprocessing.check import check_preprocessing, require_expected
from robaudit.progress import Progress, Silent
from robaudit.records import AuditRecord


@checked
@true_float32()
def scan(
    model: Path | str | nn.Module,
    data: Location | str,
    *,
    out: Path | str,
    arch: str | None = None,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: tuple[int, int] | None = None,
    attacks: Sequence[str] | None = None,
    eps: Sequence[int] = EPS_GRID,
    restarts: int = 1,
    preset: str = "default",
    protocol: Protocol | None = None,
    seed: NonNegativeInt = 0,
    limit: PositiveInt | None = None,
    positive: str | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    note: str | None = None,
    on_bad_image: Literal["fail", "skip"] = "fail",
    on_learnt_image: Literal["keep", "skip"] = "keep",
    batch_size: int | None = None,
    device: str | torch.device = "auto",
    search: str = "descend",
    precision: Precision = "auto",
    without: Sequence[str] = (),
    warm_start: bool = False,
    surrogate: Path | str | None = None,
    check_sample: int | None = None,
    restart: bool = False,
    view: View | None = None,
    accept_preprocessing: bool = False,
    expect_clean_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None,
    engine: EngineName = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    gpus_per_worker: NonNegativeFloat | None = None,
    hang_after: NonNegativeFloat = 0.0,
    command: str = "robaudit.scan",
    progress: Progress | None = None,
    **loading: Any,
) -> AuditRecord:
    """Measure a classifier's accuracy under attack and write the record to `out`.

    A finished scan of the same model, images and settings is returned as it is; an unfinished one is continued.

    Args:
        model: model file or folder; or a network in memory, (B, C, H, W) in [0, 1] -> answers (B, K), whose `mean` and
            `std` are applied where they are given.
        data: folder of classes, split folder (its test part is taken) or manifest; a URL may stand for a path.
        out: folder for audit.json, images.jsonl and the gallery.
        arch: timm architecture, where the model file does not tell.
        classes: class names in the order of the model's outputs.
        mean: per-channel mean of the model's own normalisation, [0, 1] units.
        std: likewise.
        input_size: (height, width) of the model's input grid.
        attacks: names as in `robaudit.attack.names`; None takes the preset's.
        eps: L-inf budgets in 255ths.
        restarts: random starts of the attacks that start at random.
        preset: attacks and protocol, where `attacks` and `protocol` do not say: quick, default, paper or thorough.
        protocol: `paper` runs every eps on its own and judges the last iterate; None takes the preset's.
        seed: of random starts and of `limit`.
        limit: stratified upper bound on the number of images.
        positive: class whose recall is called sensitivity.
        merge: new class -> folders joined into it.
        note: what a reader must know about the images first.
        on_bad_image: `skip` leaves unreadable images out.
        on_learnt_image: `skip` leaves out what the train or val part of the data has too, pixel for pixel, or the
            retrofit has learnt from; `keep` counts them for the check `not-learnt-from`.
        batch_size: padded batch shape, no wider than there are images; None chooses.
        device: torch device, or `auto`; a network in memory stays where it is.
        search: how the smallest fooling eps is looked for: descend, bisect or ascend.
        precision: of the gradients; `auto` takes bfloat16 where the hardware has it. Success is judged in float32.
        without: what to switch off, of `robaudit.attack.settings.SWITCHES`.
        warm_start: begin below a found eps where the found perturbation left off.
        surrogate: another model of the same classes, for the transfer check; None takes the model before the retrofit,
            where `model` is a retrofit that knows it.
        check_sample: images that the sampled checks ask; None is the preset's number; 0 leaves those checks out, which
            the record says.
        restart: discard what `out` holds.
        view: how images are shown to the model; None as they are stored.
        accept_preprocessing: measure although another preprocessing does clearly better.
        expect_clean_accuracy: in [0, 1]; clean accuracy clearly below it stops the scan.
        engine: who measures: `local` this machine, `ray` a cluster. Rows and counts do not depend on it.
        workers: processes that measure; None is this one alone, with Ray as many as there is room for.
        ray_address: of the cluster; None takes RAY_ADDRESS, else starts one on this machine.
        gpus_per_worker: share of a GPU each Ray worker needs; None is one where the device is a GPU.
        hang_after: seconds that a worker's model may take over one batch before it counts as hanging; 0 waits for ever.
        command: what the person typed, for the record.
        progress: told of every image.
        loading: further arguments of `load_model`: factory, trust, weights, output, label_index,
            threshold, normalization.

    Raises:
        InputError: the model, data, settings or output folder cannot be used.
    """
    data, out, progress = located(data), Path(out), progress or Silent()
    given(load_model, Path(), **loading)
    require_outside_images(out, data)
    crew = Workforce(engine, workers, ray_address, gpus_per_worker).crew()
    plan = plan_of(attacks, eps, preset, protocol, seed, search, without, warm_start, restarts)
    sample_size = sample_size_of(check_sample, preset)
    learnt = Learnt()
    images = open_images(
        data, "test", merge=merge, limit=limit, seed=seed, view=view, on_bad_image=on_bad_image, progress=progress
    )
    if isinstance(model, nn.Module):
        idle = [*(["arch"] if arch is not None else []), *(["device"] if device != "auto" else []), *loading]
        if idle:
            raise SettingsError(f"{', '.join(idle)}: is for a model file; wrap or move the network in memory instead")
        names = classes or images.classes
        loaded = from_module(model, classes=names, size=input_size or images.size_of_first(), mean=mean, std=std)
    else:
        loaded = load_model(
            Path(model), arch=arch, classes=classes, folder_classes=images.classes, mean=mean, std=std,
            input_size=input_size, device=device, **loading,
        )  # fmt: skip
        learnt = read_learnt(Path(model))
        refuse_learnt_patients(images, learnt, Path(model))
    seen = cache(partial(_seen, data, images.view, learnt.pictures, progress))
    if on_learnt_image == "skip":
        images = images.without_learnt(seen())
    loaded, images = loaded.tried_on(images)
    if positive is not None and positive not in images.classes:
        raise SettingsError(f"--positive {positive}: is no class; the classes are {', '.join(images.classes)}")
    other = load_surrogate(surrogate, loaded, images, progress)
    plan = fitted(
        plan, has_front=loaded.info.front is not None, has_surrogate=other is not None,
        n_classes=loaded.info.n_classes, chosen=attacks is not None,
    )  # fmt: skip
    speedups = speedups_of(precision, without, loaded.classifier.device)
    own_engine = Engine(
        loaded.classifier, loaded.size, images.channels, plan, batch_size, speedups, other.network if other else None,
        progress, len(images),
    )  # fmt: skip
    _introduce(loaded, images, own_engine, other, progress)
    started = draft(
        loaded, images, own_engine, surrogate=other.file if other else None, sample_size=sample_size,
        positive=positive, note=note, command=command,
    )  # fmt: skip
    accepting: dict[str, Any] = {"accept": accept_preprocessing, "expected": expect_clean_accuracy}
    preprocessing = partial(check_preprocessing, loaded, images, progress, **accepting)
    overlap = partial(_overlap, images, seen)
    with closing(own_engine if crew is None else Fleet(own_engine, images, crew, progress, hang_after)) as examiner:
        measurement = Measurement(
            loaded=loaded, images=images, engine=own_engine, examiner=examiner, draft=started, out=out,
            progress=progress, sample_size=sample_size, check_preprocessing=preprocessing, find_overlap=overlap,
            require_clean=partial(require_expected, loaded.info.path, **accepting),
        )  # fmt: skip
        return measurement.finish(restart)


def _seen(data: Location, view: View, learnt: Collection[str], progress: Progress) -> frozenset[str]:
    """Hashes of the pictures in the train or val part of the same data, and of those a retrofit has learnt from."""
    return frozenset(learnt) | pictures_of(data, ("train", "val"), view, progress)


def _overlap(images: Images, seen: Callable[[], frozenset[str]]) -> Share | None:
    """How many of the images a model has seen.

    None where the data has no such part and the model does not say what it has learnt from.
    """
    pictures = seen()
    return Share(images.n_among(pictures), len(images)) if pictures else None


def _introduce(
    loaded: LoadedModel, images: Images, engine: Engine, surrogate: Surrogate | None, progress: Progress
) -> None:
    """Say what will be measured as it was understood: the commonest mistakes show here."""
    info, norm = loaded.info, loaded.info.normalization
    front = f", retrofitted with {info.front.modules}" if info.front else ""
    numbers = f"mean {_listed(norm.mean)} std {_listed(norm.std)}"
    progress.say(f"model: {info.arch}{front}, outputs {', '.join(info.classes)} in this order")
    source = f" ({info.input.source})" if info.input.source else ""
    grid = f"{info.input.height}x{info.input.width}{source}"
    progress.say(f"input: {grid}, normalised inside with {numbers} ({norm.source})")
    if words := loaded.classifier.outputs.words:
        progress.say(f"answers: {words}")
    if surrogate is not None:
        progress.say(f"surrogate: {surrogate.file.path}, for pictures that transfer")
    kind = "grey, attacked in one channel" if images.channels == 1 else "colour"
    skipped = f", {images.n_skipped} unreadable ones skipped" if images.n_skipped else ""
    skipped += f", {images.n_learnt_skipped} learnt from left out" if images.n_learnt_skipped else ""
    precision = "bfloat16" if engine.speedups.bfloat16 else "float32"
    progress.say(f"images: {len(images)}, {kind}{skipped}")
    progress.say(f"runs on {engine.device}, batches of {engine.width}, gradients in {precision}")


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
