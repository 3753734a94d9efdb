"""The audit record: what was measured, as frozen, versioned data. A leaf: no torch, no arithmetic of its own.

Counts, never percentages; no NaN; units in the name. What a stage did not measure is null or empty.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from robaudit.errors import RecordError

# 1: first format.
SCHEMA_VERSION = 1

AUDIT_FILE = "audit.json"
PARTIAL_AUDIT_FILE = "audit.partial.json"
IMAGES_FILE = "images.jsonl"
JOURNAL_FILE = "images.partial.jsonl"
"""Of a scan under way."""
TRAINING_FILE = "training.json"
METRICS_FILE = "metrics.jsonl"
DIAGNOSTICS_FILE = "diagnostics.json"
SPLIT_FILE = "split.csv"
IDENTITY_FILE = "identity.json"
"""Of a training under way."""
REPORT_FOLDER = "report"
"""Of an audit's own page, beside its record; in a run, of the comparison."""
PAGE_FILE = "index.html"

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""schema_version -> what makes a record of it one of the next version. Empty as long as 1 is the only version."""

Scalar = str | int | float | bool | None
Eps255 = Annotated[int, Field(ge=1, le=255)]
Count = Annotated[int, Field(ge=0)]


class Record(BaseModel):
    """Base of all records: immutable, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        ser_json_inf_nan="null",
    )


class Tally(Record):
    """How many images were answered correctly."""

    n_correct: Count
    n_images: Count
    """All images asked about, those the model could not answer included."""
    n_errors: Count = 0
    """Images for which the model gave no finite answer; never counted as correct."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.n_correct + self.n_errors > self.n_images:
            counts = f"{self.n_correct} correct and {self.n_errors} errors"
            raise ValueError(f"{counts} are more than {self.n_images} images")
        return self


class ClassTallies(Tally):
    """A tally, with one tally per class beside it."""

    per_class: dict[str, Tally]
    """Tally per true class, in the order of the model's classes."""

    @model_validator(mode="after")
    def _is_the_sum_of_its_classes(self) -> Self:
        for field in Tally.model_fields:
            total, of_classes = getattr(self, field), sum(getattr(tally, field) for tally in self.per_class.values())
            if total != of_classes:
                raise ValueError(f"{field} is {total}, and {of_classes} over its classes")
        return self


class Point(ClassTallies):
    """One point of an accuracy-against-eps curve."""

    eps_255: Eps255
    """L-inf budget in grey levels of 255: 8 means 8/255 of the full range."""


def _ascending(points: tuple[Point, ...]) -> tuple[Point, ...]:
    grid = [point.eps_255 for point in points]
    if grid != sorted(set(grid)):
        raise ValueError(f"the eps of a curve do not ascend: {grid}")
    return points


Points = Annotated[tuple[Point, ...], AfterValidator(_ascending)]
"""A curve: one point for each eps, ascending."""


def by_eps(points: Iterable[Point]) -> dict[int, Point]:
    """Points of a curve by their eps_255."""
    return {point.eps_255: point for point in points}


GradientKind = Literal["fine", "zero", "non_finite"]


class Observed(Record):
    """What was seen of one correctly classified image besides its smallest fooling eps; the checks judge it."""

    margin: float
    """True logit minus the best wrong one, without any attack."""
    gradients: dict[str, GradientKind]
    """Loss -> what its gradient at the image itself is good for."""
    excess: float
    """How far the worst adversarial picture is outside its ball or [0, 1]; at most rounding."""
    realisable: bool | None
    """Whether the adversarial still fools after rounding to the file's own grey levels; null where there is none."""
    climbed: tuple[str, ...]
    """Attacks with enough steps to tell whether they had arrived."""
    unfinished: tuple[str, ...]
    """Of `climbed`, those that the image resisted while their loss still rose."""
    refused: tuple[str, ...] = ()
    """Of `climbed`, those that the image resisted although they had fooled what they follow."""


class AttackCurve(Record):
    """Accuracy under one attack, for every eps of the grid."""

    name: str
    params: dict[str, Scalar]
    """Every constant of the attack, step sizes as fractions of eps."""
    scope: Literal["all", "survivors"] = "all"
    """`survivors`: run only where the attacks listed before left an image standing; `points` then count what those
    and this one leave together."""
    added_by: str | None = None
    """Id of the check that asked for it, where it is a repair; null where the settings did."""
    points: Points
    """Nested in eps (once fooled, fooled at every larger eps), unless the protocol is `paper`."""
    raw_points: Points | None = None
    """Each eps judged on its own, where every eps was run; may rise again."""


class WorstCase(Record):
    """Per image the worst over all attacks; nested in eps."""

    points: Points


class ThreatModel(Record):
    """What the attacker may change: fixed, and stated in every record."""

    norm: Literal["linf"] = "linf"
    eps_255: tuple[Eps255, ...]
    lower: float = 0.0
    upper: float = 1.0
    image_channels: Literal["grey", "rgb"]
    """A grey image is attacked in one channel: the repeat to RGB lives inside the attacked model."""
    sentence: str


class Verdict(Record):
    """Whether the number can be believed, in one sentence."""

    kind: Literal["measured", "inconclusive"]
    sentence: str
    reasons: tuple[str, ...] = ()
    """Ids of the checks that made it inconclusive."""


class FileRef(Record):
    """A file or folder, pinned by its hash."""

    path: str
    sha256: str


class Normalization(Record):
    """Per-channel mean and standard deviation applied inside the model, and where they came from."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


class InputSize(Record):
    """The input grid of the model."""

    channels: int
    height: int
    width: int
    source: str | None = None
    """`given`; where the file says so (`configuration`, `checkpoint`: an entry beside its weights, `program`,
    `weights`: their positions); `architecture`, the size that its library trains it at; or `assumed`. Null for a model
    in memory, and in records of earlier versions."""


class FrontInfo(Record):
    """The retrofit in front of the backbone."""

    vanilla: FileRef
    """The model before the retrofit: surrogate of the transfer check."""
    modules: str = "T+C"
    """`T+C`, or `T` for a one-channel backbone."""


class Loading(Record):
    """How the network came out of its file."""

    kind: str
    """What the file or folder was recognised as."""
    weights: str | None = None
    """Where in the file the state dict lies, where not at its top."""
    output: str | None = None
    """Which part of a structured answer is the classifier's."""
    label_index: int | None = None
    """Which of several findings is audited."""
    threshold: float | None = None
    """Probability above which one output decides for the second class; null for 0.5, and where there are several."""
    runs_code: bool = False
    """Whether code from the file, or the user's own factory, has run."""
    left_out: tuple[str, ...] = ()
    """What the pickle would have imported beside the weights, and robaudit did not."""


class ModelInfo(Record):
    """The audited model."""

    path: str
    sha256: str
    code_sha256: str | None = None
    """Of the user's own source files that compute it, as with `--factory`; null where installed libraries do, and in
    records of earlier versions."""
    arch: str
    n_classes: int
    classes: tuple[str, ...]
    input: InputSize
    normalization: Normalization
    outputs: str = "logits"
    """What it answers with, and what of that is attacked."""
    front: FrontInfo | None = None
    loading: Loading | None = None
    """Null in records of earlier versions."""


class DataInfo(Record):
    """The images it was audited on."""

    path: str
    sha256: str
    n_images: Count
    per_class: dict[str, Count]
    positive: str | None = None
    """The class whose recall is called sensitivity, where the user named it."""
    n_skipped: Count = 0
    """Images that could not be read and were left out (`--on-bad-image skip`); not among `n_images`."""
    n_learnt_skipped: Count = 0
    """Images in train or val too, or learnt from, that were left out (`--on-learnt-image skip`); likewise."""
    note: str | None = None
    """What a reader must know about these images first (synthetic, patients unknown, ...)."""
    shown: tuple[str, ...] = ()
    """Options that changed how images are shown to the model, such as `--invert`; empty for images as they are."""


class Check(Record):
    """One question about whether the measurement can be believed."""

    id: str
    status: Literal["passed", "warning", "failed", "not_applicable"]
    value: float | None
    threshold: float | None
    why: str
    remedy: str
    sample_size: Count | None = None
    """Images it was asked about, where these are a sample; null: all, or not about images."""
    interval: tuple[float, float] | None = None
    """Wilson 95% interval of `value`, where that is a share of the sample."""
    repaired_by: str | None = None
    """Attack that was added because of this check, after which it no longer fails."""

    @property
    def speaks_up(self) -> bool:
        """Whether it has something to say."""
        return self.status in ("warning", "failed")

    @property
    def is_left_out(self) -> bool:
        """Whether nobody has asked it, as the settings wanted."""
        return self.status == "warning" and self.value is None


NOT_LEARNT_FROM = "not-learnt-from"
"""Id of the check on images that were learnt from: these take back a number that all else stands by."""

Doubt = Literal["inconclusive", "checks left out", "images learnt from"]
"""What takes back the numbers of an audit, finished or not."""


class GalleryItem(Record):
    """Pictures of one image: what was attacked, and how."""

    id: str
    label: str
    prediction: str | None
    adversarial_prediction: str | None = None
    attack: str | None = None
    """The attack that fooled the model at the smallest eps; null where none did."""
    eps_255: Eps255 | None = None
    magnification: int | None = None
    """The difference picture shows 0.5 + magnification * (adversarial - original)."""
    files: dict[str, str]
    """Role (original, texture, colour, adversarial, difference) -> path relative to the record."""


class Spent(Record):
    """Work done: one image through one backward (gradient) or forward pass counts 1."""

    gradients: Count = 0
    forwards: Count = 0
    seconds: float = 0.0

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            gradients=self.gradients + other.gradients,
            forwards=self.forwards + other.forwards,
            seconds=round(self.seconds + other.seconds, 3),
        )


class Cost(Spent):
    """What the listed attacks spent; the checks' share stands apart."""

    device: str
    checks: Spent = Spent()


class Environment(Record):
    """Where and how it ran."""

    command: str
    python: str
    platform: str
    versions: dict[str, str]
    n_threads: int
    batch_size: int
    """Padded batch shape of every forward and backward pass."""
    precision: str = "float32"
    """Of the gradients; success is always judged in float32."""
    settings: dict[str, Scalar] = {}
    """Switches of the engine that can change which eps is found first."""


class AuditRecord(Record):
    """One audit of one model on one set of images."""

    schema_version: Literal[1] = 1
    status: Literal["complete", "partial"]
    robaudit_version: str
    created: AwareDatetime
    threat_model: ThreatModel
    protocol: Literal["nested", "paper"]
    seed: int
    verdict: Verdict
    model: ModelInfo
    surrogate: FileRef | None = None
    """The other model that pictures for the transfer attack were made on; null where there was none."""
    data: DataInfo
    clean: ClassTallies
    attacks: tuple[AttackCurve, ...]
    worst_case: WorstCase
    images: str = IMAGES_FILE
    checks: tuple[Check, ...] = ()
    artifacts: tuple[GalleryItem, ...] = ()
    cost: Cost
    environment: Environment

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """What takes its numbers back, for gate, badge and page alike; empty where they may be relied on."""
        found: dict[Doubt, bool] = {
            "inconclusive": self.verdict.kind == "inconclusive",
            "checks left out": bool(self.left_out),
            "images learnt from": self.learnt_from is not None,
        }
        return tuple(doubt for doubt, is_so in found.items() if is_so)

    @property
    def left_out(self) -> tuple[Check, ...]:
        """The checks that nobody has asked."""
        return tuple(check for check in self.checks if check.is_left_out)

    @property
    def learnt_from(self) -> Check | None:
        """The check that found audited images among those the model was trained on; None where none did."""
        return next((check for check in self.checks if check.id == NOT_LEARNT_FROM and check.speaks_up), None)

    def tallies(self, points: Points | None = None) -> Mapping[int, ClassTallies]:
        """Counts by eps_255 along a curve, the worst case where none is given; 0: without any attack."""
        return {0: self.clean, **by_eps(self.worst_case.points if points is None else points)}

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        """Whatever was measured, these hold: a record in which they do not is damaged, or was edited."""
        curves = [(attack.name, attack.points) for attack in self.attacks]
        nested = [("worst_case", self.worst_case.points), *(curves if self.protocol == "nested" else ())]
        raw = [(f"raw {attack.name}", attack.raw_points) for attack in self.attacks if attack.raw_points is not None]
        _require_the_images(self.clean, self.data, unfinished=self.status == "partial")
        for name, points in (*nested, *curves, *raw):
            _require_the_grid(name, points, self.threat_model.eps_255, unfinished=self.status == "partial")
            for point in points:
                _require_the_same_images(name, point, self.clean)
                _require_no_more(name, point, self.clean, "without any attack")
        for name, points in nested:
            for smaller, larger in pairwise(points):
                _require_no_more(name, larger, smaller, f"at {smaller.eps_255}/255")
        for name, points in (*curves, *raw):
            for worst, point in zip(self.worst_case.points, points, strict=True):
                _require_no_more("worst_case", worst, point, f"under {name}")
        if self.verdict.kind == "measured" and (failed := [each.id for each in self.checks if each.status == "failed"]):
            raise ValueError(f"the verdict is measured, and the check {failed[0]} failed")
        return self


def _require_the_images(clean: ClassTallies, data: DataInfo, *, unfinished: bool) -> None:
    of_classes = ((tally.n_images, data.per_class.get(name, 0)) for name, tally in clean.per_class.items())
    for counted, listed in ((clean.n_images, data.n_images), *of_classes):
        if counted > listed or (counted < listed and not unfinished):
            raise ValueError(f"clean counts {counted} images where data has {listed}")


def _require_the_grid(name: str, points: Sequence[Point], grid: Sequence[int], *, unfinished: bool) -> None:
    measured = [point.eps_255 for point in points]
    if measured != list(grid) and (measured or not unfinished):
        raise ValueError(f"{name} has the eps {measured}, threat_model {list(grid)}")


def _require_the_same_images(name: str, point: Point, clean: ClassTallies) -> None:
    asked = {each: (tally.n_images, tally.n_errors) for each, tally in point.per_class.items()}
    if asked != {each: (tally.n_images, tally.n_errors) for each, tally in clean.per_class.items()}:
        raise ValueError(f"{name} at {point.eps_255}/255 counts other images or errors than clean")


def _require_no_more(name: str, point: Point, bound: ClassTallies, where: str) -> None:
    """Raise where more images of a class are correct than where no fewer can be."""
    for each, tally in point.per_class.items():
        n_correct = bound.per_class[each].n_correct
        if tally.n_correct > n_correct:
            more = f"{tally.n_correct} images of {each} are correct, {where} {n_correct}"
            raise ValueError(f"{name} at {point.eps_255}/255: {more}")


class ImageRow(Record):
    """What was found for one image: a line of images.jsonl."""

    id: str
    """Path relative to the data folder, with forward slashes."""
    sha256: str
    label: str
    prediction: str | None
    """Null where the model gave no finite answer."""
    fooled_at: dict[str, int | None]
    """Attack -> smallest eps_255 found that fools (0: wrong without any attack; null: not fooled)."""
    raw_fooled_at: dict[str, tuple[int, ...]] = {}
    """Attack -> every eps_255 that fooled, where each eps was run on its own."""
    error: str | None = None


def read_audit(path: Path | str) -> AuditRecord:
    """Read an audit record.

    Raises:
        RecordError: the file is missing, is no audit record, or was written by a newer robaudit.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); pass the {AUDIT_FILE} that scan wrote") from None
    except UnicodeDecodeError:
        raise RecordError(f"{path}: is not text; pass the {AUDIT_FILE} that scan wrote") from None
    version = _schema_version(text, path)
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"{path}: has schema_version {version}, this robaudit reads up to {SCHEMA_VERSION}; upgrade robaudit"
        )
    try:
        return AuditRecord.model_validate_json(text if version == SCHEMA_VERSION else _upgraded(text, version, path))
    except ValidationError as error:
        # A field may be added without a new schema_version: an older record then still reads, a newer one does not.
        newer = any(problem["type"] == "extra_forbidden" for problem in error.errors(include_url=False))
        remedy = "upgrade robaudit, or scan again" if newer else "scan again"
        raise RecordError(f"{path}: is no valid audit record ({_first_problem(error)}); {remedy}") from None


def read_rows(audit_path: Path | str, record: AuditRecord) -> tuple[ImageRow, ...]:
    """Read the per-image rows that stand beside an audit record, in the order of its images.

    Raises:
        RecordError: the audit is unfinished, or the file is missing, damaged, or its row count is not the record's.
    """
    audit_path = Path(audit_path)
    path = audit_path.parent / record.images
    if record.status == "partial" or record.images != IMAGES_FILE:
        raise RecordError(f"{audit_path}: is unfinished; run the same scan again to go on")
    try:
        # Not splitlines: a file name may hold a line separator of Unicode, which JSON leaves as it is.
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError as error:
        remedy = f"put the one that scan wrote with {audit_path.name} beside it, or scan again"
        raise RecordError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except UnicodeDecodeError:
        raise RecordError(f"{path}: is not text; scan again") from None
    try:
        rows = tuple(ImageRow.model_validate_json(line) for line in lines)
    except ValidationError as error:
        raise RecordError(f"{path}: holds a damaged row ({_first_problem(error)}); scan again") from None
    if len(rows) != record.clean.n_images:
        raise RecordError(f"{path}: has {len(rows)} rows, {audit_path.name} counts {record.clean.n_images}; scan again")
    return rows


def file_of(folder: Path, relative: str) -> Path:
    """Where a file lies that a record in `folder` names: its paths are data, never trusted.

    Raises:
        RecordError: outside the folder, links resolved.
    """
    path = (folder / relative).resolve() if "\0" not in relative else folder
    if not path.is_relative_to(folder.resolve()) or path == folder.resolve():
        raise RecordError(
            f"{relative!r}: a record may only name files in its own folder; use the audit.json that scan wrote"
        )
    return path


def _schema_version(text: str, path: Path) -> int:
    class Head(BaseModel):
        schema_version: int

    try:
        return Head.model_validate_json(text).schema_version
    except ValidationError:
        raise RecordError(f"{path}: is no audit record (no schema_version); pass the {AUDIT_FILE} scan wrote") from None


def _upgraded(text: str, version: int, path: Path) -> str:
    """Lift an older record, version by version, to the one that is read."""
    document = json.loads(text)
    for older in range(version, SCHEMA_VERSION):
        if older not in UPGRADES:
            raise RecordError(f"{path}: has schema_version {older}, which no robaudit wrote; scan again")
        document = {**UPGRADES[older](document), "schema_version": older + 1}
    return json.dumps(document)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "top level"
    return f"{where}: {problem['msg']}"
