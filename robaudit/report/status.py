"""What a run has done so far, running or dead, from the files on disk alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from robaudit.errors import OutputError
from robaudit.files import LOCK_FILE, holder_of, workplace_of
from robaudit.records import (
    AUDIT_FILE,
    IDENTITY_FILE,
    JOURNAL_FILE,
    METRICS_FILE,
    PAGE_FILE,
    REPORT_FOLDER,
    TRAINING_FILE,
    Count,
    Eps255,
    ImageRow,
    Record,
    read_audit,
)
from robaudit.report.words import eps
from robaudit.retrofit_records import EpochMetrics, TrainingRecord
from robaudit.tally import sketch, worst_eps

T = TypeVar("T")

Kind = Literal["scan", "assimilate", "report", "run"]
STAGES: dict[str, Kind] = {
    "before": "scan",
    "assimilated": "assimilate",
    "after": "scan",
    "assimilated-without-glcm": "assimilate",
    "without-glcm": "scan",
    "report": "report",
}
"""Folders of a run, in their order."""


class Status(Record):
    """What `robaudit status --json` prints."""

    format_version: Literal[1] = 1
    path: str
    kind: Kind
    state: Literal["finished", "running", "stopped"]
    """Running: a process holds the folder now, on this machine or where it shares locks. Stopped: the same command
    continues."""
    process: str | None
    """Number of the process that holds the folder; null where none does, empty where it is unknown."""
    done: Count | None
    total: Count | None
    unit: Literal["images", "epochs", "stages"] | None
    says: str
    """The result, or how it stands so far."""
    last_written: datetime | None
    """By the clock of the machine that wrote."""
    stages: tuple[Status, ...] = ()
    """Of a run, those that have begun."""


class _Said(BaseModel):
    """What the identity of a job under way says, as far as it is shown."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True)


class _Data(_Said):
    n_images: Count


class _ThreatModel(_Said):
    eps_255: tuple[Eps255, ...]


class _Scanned(_Said):
    data: _Data
    threat_model: _ThreatModel


class _Journal(_Said):
    """Its first line."""

    identity: _Scanned


class _Settings(_Said):
    epochs: Count


class _Wanted(_Said):
    """Of a training under way."""

    settings: _Settings


def read_status(folder: Path) -> Status:
    """Find out what a folder that was given as `--out` holds.

    Raises:
        OutputError: nothing that robaudit wrote, or it cannot be read.
    """
    found = _of_scan(folder) or _of_retrofit(folder) or _of_run(folder) or _of_report(folder) or _begun(folder)
    if found is None:
        raise OutputError(
            f"{folder}: holds nothing that robaudit has written, or it has not begun to write yet; pass the folder "
            "given as --out"
        )
    return found


def lines(status: Status, indent: str = "") -> Iterator[str]:
    """Word a status, a line each for the whole and its stages."""
    process = f" (process {status.process})" if status.process else ""
    # How many stages a run will have its files do not say.
    so_far = f", {status.unit} done: {status.done}" if status.done else ""
    counted = so_far if status.total is None else f", {status.done} of {status.total} {status.unit}"
    when = f", last written {status.last_written:%Y-%m-%d %H:%M:%S} UTC" if status.last_written else ""
    says = f": {status.says}" if status.says else ""
    yield f"{indent}{status.path}  {status.kind} {status.state}{process}{counted}{when}{says}"
    for stage in status.stages:
        yield from lines(stage, indent + "  ")


def _of_scan(folder: Path) -> Status | None:
    audit, journal = folder / AUDIT_FILE, folder / JOURNAL_FILE
    if audit.exists():
        record = read_audit(audit)
        n = record.clean.n_images
        return _status(folder, "scan", folder, audit, n, n, "images", record.verdict.sentence, is_finished=True)
    if not journal.exists():
        return None
    found: list[Any] = _whole_lines(journal, json.loads)
    if not found:
        return _status(folder, "scan", folder, journal, 0, None, "images", "begun", is_finished=False)
    header, *entries = found
    try:
        identity = _Journal.model_validate(header).identity
        rows = {entry["row"]["id"]: ImageRow.model_validate(entry["row"]) for entry in entries if "row" in entry}
    except (KeyError, TypeError, ValidationError):
        raise _damaged(journal) from None
    total, said = identity.data.n_images, _curve(list(rows.values()), identity.threat_model.eps_255)
    return _status(folder, "scan", folder, journal, len(rows), total, "images", said, is_finished=False)


def _curve(rows: Sequence[ImageRow], grid: Sequence[int]) -> str:
    if not rows:
        return "begun"
    standing = sketch(Counter(map(worst_eps, rows)), grid)
    return "worst case so far " + ", ".join(f"{n} of {len(rows)} at {eps(at)}" for at, n in standing.items())


def _of_retrofit(out: Path) -> Status | None:
    finished, unfinished = out / TRAINING_FILE, workplace_of(out)
    if finished.exists() and not unfinished.exists():
        record = _read(finished, TrainingRecord.read)
        n, best = record.n_epochs, record.best.epoch
        said = f"keeps the weights of epoch {best}"
        return _status(out, "assimilate", out, finished, n, n, "epochs", said, is_finished=True)
    if not unfinished.exists():
        return None
    metrics, identity = unfinished / METRICS_FILE, unfinished / IDENTITY_FILE
    total = _read(identity, _Wanted.model_validate_json).settings.epochs if identity.exists() else None
    measured = _whole_lines(metrics, EpochMetrics.read) if metrics.exists() else []
    said = ""
    if measured:
        last = measured[-1].val
        said = f"{last.n_correct} of {last.n_images} validation images correct"
    return _status(
        out, "assimilate", unfinished, metrics, max(0, len(measured) - 1), total, "epochs", said, is_finished=False
    )


def _of_run(folder: Path) -> Status | None:
    stages = tuple(stage for name in STAGES if (stage := _stage(folder / name)))
    if not stages:
        return None
    n_finished = sum(stage.state == "finished" for stage in stages)
    latest = max((stage.last_written for stage in stages if stage.last_written), default=None)
    page = folder / REPORT_FOLDER / PAGE_FILE
    process = holder_of(folder)
    # The page of an earlier job may still be there while this one does a stage again.
    is_finished = page.exists() and n_finished == len(stages)
    state: Literal["finished", "running", "stopped"] = "finished" if is_finished else "stopped"
    return Status(
        path=str(folder), kind="run", state=state if process is None else "running", process=process, done=n_finished,
        total=None, unit="stages", says=f"open {page}" if is_finished else "", last_written=latest, stages=stages,
    )  # fmt: skip


def _stage(folder: Path) -> Status | None:
    read = {"scan": _of_scan, "assimilate": _of_retrofit, "report": _of_report}[STAGES[folder.name]]
    return read(folder)


def _of_report(folder: Path) -> Status | None:
    page = folder / PAGE_FILE
    if not page.exists():
        return None
    return _status(folder, "report", folder, page, None, None, None, f"open {page}", is_finished=True)


def _begun(folder: Path) -> Status | None:
    """A folder that is held and holds nothing yet: only a run takes so long to its first stage."""
    if holder_of(folder) is None:
        return None
    return _status(folder, "run", folder, folder / LOCK_FILE, 0, None, "stages", "begun", is_finished=False)


def _status(
    folder: Path,
    kind: Kind,
    held: Path,
    newest: Path,
    done: int | None,
    total: int | None,
    unit: Literal["images", "epochs", "stages"] | None,
    says: str,
    *,
    is_finished: bool,
) -> Status:
    """Put together what was read, with who holds the folder `held` now and when the file `newest` was written."""
    process = holder_of(held)
    unheld: Literal["finished", "stopped"] = "finished" if is_finished else "stopped"
    written = datetime.fromtimestamp(newest.stat().st_mtime, UTC) if newest.exists() else None
    return Status(
        path=str(folder), kind=kind, state=unheld if process is None else "running",
        process=process, done=done, total=total, unit=unit, says=says, last_written=written,
    )  # fmt: skip


def _whole_lines(path: Path, parse: Callable[[bytes], T]) -> list[T]:
    """Every line but one that is being written, which may end within a letter."""
    return _read(path, lambda content: [parse(line) for line in content.split(b"\n")[:-1]])


def _read(path: Path, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):  # also what pydantic raises
        raise _damaged(path) from None


def _damaged(path: Path) -> OutputError:
    return OutputError(f"{path}: is damaged; start again with --restart")
