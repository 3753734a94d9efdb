"""scan, assimilate, scan again, compare: the whole job, each stage through its own files on disk.

An interrupted job continues where it stopped: a stage that finished is reused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt

from robaudit.attack.curve import Engine
from robaudit.attack.settings import fitted, plan_of, sample_size_of
from robaudit.attack.threats import EPS_GRID
from robaudit.attack.trial import Plan
from robaudit.audit.scan import scan
from robaudit.data.apart import require_outside_images
from robaudit.data.images import Images, open_images
from robaudit.data.listing import has_splits
from robaudit.data.remote import Location, located
from robaudit.data.splitting import SPLIT_SHARES, divided
from robaudit.files import alone_in, discard
from robaudit.given import checked, given
from robaudit.job.estimate import gradient_seconds, scan_seconds
from robaudit.load.model import FURTHER_OPTIONS, load_model
from robaudit.progress import Progress, Silent
from robaudit.records import AUDIT_FILE, PAGE_FILE, SPLIT_FILE, read_audit
from robaudit.report.comparison import read_comparison
from robaudit.report.document import document
from robaudit.report.html import write_beside, write_report
from robaudit.report.terminal import page_summary
from robaudit.retrofit.assimilate import assimilate
from robaudit.retrofit.before_training import require_patches, retrofitted
from robaudit.retrofit.pace import duration, measured_pace
from robaudit.retrofit.settings import OF_TEXTURE, TrainConfig, train_config

MODEL_OPTIONS = (
    *("arch", "classes", "mean", "std", "input_size"),
    *("weights", "output", "label_index", "threshold", "normalization"),
)
"""What a person may have to say about a vanilla model, and an assimilated folder says itself."""


@dataclass(frozen=True)
class Stages:
    """Where each stage of a job writes."""

    out: Path

    @property
    def before(self) -> Path:
        """Folder of the first scan."""
        return self.out / "before"

    @property
    def assimilated(self) -> Path:
        """Folder of the retrofitted model."""
        return self.out / "assimilated"

    @property
    def after(self) -> Path:
        """Folder of the second scan."""
        return self.out / "after"

    @property
    def assimilated_without_glcm(self) -> Path:
        """Folder of the model retrofitted with cross-entropy alone."""
        return self.out / "assimilated-without-glcm"

    @property
    def without_glcm(self) -> Path:
        """Folder of its scan."""
        return self.out / "without-glcm"

    @property
    def report(self) -> Path:
        """Folder of the page."""
        return self.out / "report"

    def document(self) -> str:
        """What the page says, as one JSON document."""
        return document(read_comparison(self.before / AUDIT_FILE, self.after / AUDIT_FILE), self.report / PAGE_FILE)

    @property
    def inconclusive(self) -> bool:
        """Whether one of the two scans that are compared cannot be believed."""
        audits = [read_audit(folder / AUDIT_FILE) for folder in (self.before, self.after)]
        return any(audit.verdict.kind == "inconclusive" for audit in audits)


@checked
def run(
    model: Path | str,
    data: Location | str,
    *,
    out: Path | str,
    preset: Literal["quick", "default", "thorough", "paper"] = "default",
    without_glcm: bool = False,
    loading: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    scanning: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    seed: NonNegativeInt = 0,
    restart: bool = False,
    command: str = "robaudit.run",
    progress: Progress | None = None,
) -> Path:
    """Scan a model, retrofit it, scan the result on the same test images, and write the comparison.

    Args:
        model: model file or folder.
        data: train, val and test parts, or undivided: then split 60/20/20, and the split written to `out`.
        out: folder for every stage: before, assimilated, after, report.
        preset: `paper` measures and trains as the source states; others choose the attacks.
        without_glcm: also retrofit with cross-entropy alone, for the gallery.
        loading: arch, classes, mean, std, input_size, device, and further arguments of `load_model`, as in `scan`.
        reading: limit, merge, view, on_bad_image, as in `scan`.
        scanning: further arguments of `scan`.
        training: further arguments of `assimilate`.
        seed: of the split, random starts and training.
        restart: discard what `out` holds.
        command: what the person typed, for the records.
        progress: told of everything.

    Returns:
        The page to open.

    Raises:
        InputError: something given cannot be used.
        TrainingError: training went wrong before any epoch was completed.
    """
    model, data, stages = Path(model), located(data), Stages(Path(out))
    require_outside_images(stages.out, data)
    progress = progress or Silent()
    shared: dict[str, Any] = {
        **(loading or {}), **(reading or {}), "seed": seed, "restart": restart, "command": command,
        "progress": progress,
    }  # fmt: skip
    measured: dict[str, Any] = {"preset": preset, **shared, **(scanning or {})}
    trained: dict[str, Any] = {"preset": "paper" if preset == "paper" else None, **shared, **(training or {})}
    trained["accept_preprocessing"] = True  # the first scan has asked

    # First what tries the model on the images: nothing is written for a job that cannot be done.
    _require_known(model, data, measured, trained)
    _say_estimate(model, data, measured, trained, 2 + without_glcm, progress)
    with alone_in(stages.out):
        if restart:
            discard(stages.report, PAGE_FILE)
        options = {name: value for name, value in (reading or {}).items() if name != "limit"}
        keep = stages.before.exists() and not restart
        parts = divided(data, stages.out / SPLIT_FILE, seed=seed, keep=keep, progress=progress, **options)
        return _run_stages(model, parts, stages, measured, trained, without_glcm, progress)


def _require_known(model: Path, data: Location, measured: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Refuse what a later stage would not take, before the first one takes its time.

    Raises:
        SettingsError: it is of no stage, or of another kind.
    """
    given(scan, model, data, out=Path(), **measured)
    given(load_model, model, **_beyond(scan, measured))
    given(assimilate, model, data, out=Path(), **trained)


def _beyond(stage: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are no arguments of a stage, which passes them on."""
    own = signature(stage).parameters
    return {name: value for name, value in options.items() if name not in own}


def _run_stages(
    model: Path,
    divided: Location,
    stages: Stages,
    measured: Mapping[str, Any],
    trained: Mapping[str, Any],
    without_glcm: bool,
    progress: Progress,
) -> Path:
    """One stage after the other; those that are finished are reused."""
    progress.say("1 scan: the model as it is")
    scan(model, divided, out=stages.before, **measured)
    progress.say("2 assimilate: T and C in front, with GLCM loss")
    assimilate(model, divided, out=stages.assimilated, **trained)
    progress.say("3 scan: the retrofitted model")
    as_written = _for_retrofit(measured)
    scan(stages.assimilated, divided, out=stages.after, **as_written)
    if without_glcm:
        progress.say("4 assimilate and scan without GLCM loss, for the pictures")
        without_texture = {name: value for name, value in trained.items() if name not in OF_TEXTURE} | {"alpha": 1.0}
        assimilate(model, divided, out=stages.assimilated_without_glcm, **without_texture)
        scan(stages.assimilated_without_glcm, divided, out=stages.without_glcm, **as_written)
    comparison = read_comparison(
        stages.before / AUDIT_FILE,
        stages.after / AUDIT_FILE,
        without_glcm=stages.without_glcm / AUDIT_FILE if without_glcm else None,
    )
    page = write_report(comparison, stages.report)
    for folder in (stages.before, stages.after):
        write_beside(folder / AUDIT_FILE)
    for line in page_summary(comparison, page):
        progress.say(line)
    return page


def _for_retrofit(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Scan options without what the assimilated folder says itself, or the first scan has settled."""
    settled = (*MODEL_OPTIONS, "expect_clean_accuracy")
    return {name: value for name, value in measured.items() if name not in settled} | {"accept_preprocessing": True}


def _say_estimate(
    model: Path,
    data: Location,
    measured: Mapping[str, Any],
    trained: Mapping[str, Any],
    n_arms: int,
    progress: Progress,
) -> None:
    """Measure the pace on this machine, and say about how long the job will take."""
    reading = {key: measured[key] for key in ("merge", "view", "on_bad_image", "seed") if key in measured}
    images = open_images(data, "test", **reading, progress=progress)
    loading = {key: measured[key] for key in (*MODEL_OPTIONS, "factory", "trust", "device") if key in measured}
    loaded = load_model(model, folder_classes=images.classes, **loading)
    loaded, images = loaded.tried_on(images)
    plans = [_plan(measured, loaded.info.n_classes, has_front) for has_front in (False, True)]
    config = _config(trained)
    require_patches(loaded.size, config)
    classifier = retrofitted(loaded, images.channels, config)
    gradients = [
        gradient_seconds(Engine(network, loaded.size, images.channels, plan, measured.get("batch_size")))
        for network, plan in zip((loaded.classifier, classifier), plans, strict=True)
    ]
    if has_splits(data):
        learnt_from = [open_images(data, part, **reading, progress=progress) for part in ("train", "val")]
        if measured.get("on_learnt_image") != "skip":
            _say_overlap(images, learnt_from, progress)
        sizes = dict(zip(SPLIT_SHARES, (*map(len, learnt_from), len(images)), strict=True))
    else:
        sizes = {part: round(share * len(images)) for part, share in SPLIT_SHARES.items()}
    sizes = {part: min(size, measured.get("limit") or size) for part, size in sizes.items()}
    sample_size = sample_size_of(measured.get("check_sample"), measured["preset"])
    before, after = (
        scan_seconds(seconds, plan, loaded.info.n_classes, sizes["test"], sample_size)
        for seconds, plan in zip(gradients, plans, strict=True)
    )
    scans = before + (n_arms - 1) * after
    pace = measured_pace(classifier, config, loaded.size, images.channels, sizes["train"], sizes["val"])
    trainings = (n_arms - 1) * pace.all_epochs(config.epochs)
    progress.say(_estimate_sentence(gradients[0], n_arms, scans, trainings, config, loaded.info.arch, sizes["test"]))


def _plan(measured: Mapping[str, Any], n_classes: int, has_front: bool) -> Plan:
    """What the scan of the model, or of its retrofit, will do; a retrofit has the model before it for a surrogate."""
    asked = measured.get("attacks")
    plan = plan_of(asked, measured.get("eps", EPS_GRID), measured["preset"], measured.get("protocol"), 0)
    has_surrogate = has_front or measured.get("surrogate") is not None
    return fitted(plan, has_front=has_front, has_surrogate=has_surrogate, n_classes=n_classes, chosen=asked is not None)


def _say_overlap(test: Images, learnt_from: Sequence[Images], progress: Progress) -> None:
    """Warn of test images that training has seen, be it in files of another name or format."""
    seen = {ref.pixel_sha256 for images in learnt_from for ref in images.refs}
    if n_seen := test.n_among(seen):
        progress.say(
            f"warning: {n_seen} of {len(test)} test images are in train or val too, pixel for pixel; accuracy is "
            "optimistic. --on-learnt-image skip leaves them out"
        )


def _config(trained: Mapping[str, Any]) -> TrainConfig:
    settings = {name: value for name, value in _beyond(assimilate, trained).items() if name not in FURTHER_OPTIONS}
    return train_config(trained["preset"], **settings)


def _estimate_sentence(
    per_gradient: float, n_arms: int, scans: float, trainings: float, config: TrainConfig, arch: str, n_test: int
) -> str:
    return (
        f"{arch}, {1000 * per_gradient:.0f} ms per image-gradient on this machine: "
        f"about {duration(scans + trainings)} ({n_arms} scans of {n_test} images, checks included, {duration(scans)}, "
        f"{n_arms - 1} x up to {config.epochs} epochs {duration(trainings)}); "
        "images that fall early and early stopping shorten it"
    )
