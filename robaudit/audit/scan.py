"""Scan: a model file and labelled images -> an audit record on disk, resumable after any interruption."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from robaudit import tally
from robaudit.attack.curve import Engine, Measured
from robaudit.attack.prepare import fingerprint
from robaudit.attack.settings import Precision, Protocol, plan_of, speedups_of
from robaudit.attack.threats import EPS_GRID
from robaudit.audit.gallery import GALLERY_FOLDER, gallery_ids, write_pictures
from robaudit.audit.journal import JOURNAL_FILE, Entry, Journal, open_journal, refuse_other
from robaudit.audit.record import draft, filled, identity
from robaudit.checks.repeatable import repeatable
from robaudit.checks.state import state_untouched
from robaudit.errors import OutputError, SettingsError
from robaudit.files import write_text
from robaudit.load.classifier import LoadedModel
from robaudit.load.images import Images, open_images
from robaudit.load.model import load_model
from robaudit.progress import Progress, Silent
from robaudit.records import (
    AUDIT_FILE,
    IMAGES_FILE,
    PARTIAL_AUDIT_FILE,
    AuditRecord,
    Check,
    GalleryItem,
    Spent,
    read_audit,
    read_rows,
)

PARTIAL_EVERY_SECONDS = 60.0


def scan(
    model: Path | str,
    data: Path | str,
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
    seed: int = 0,
    limit: int | None = None,
    positive: str | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    note: str | None = None,
    on_bad_image: Literal["fail", "skip"] = "fail",
    batch_size: int | None = None,
    device: str = "auto",
    search: str = "descend",
    precision: Precision = "float32",
    without: Sequence[str] = (),
    warm_start: bool = False,
    restart: bool = False,
    command: str = "robaudit.scan",
    progress: Progress | None = None,
    **loading: Any,
) -> AuditRecord:
    """Measure a classifier's accuracy under attack and write the record to `out`.

    A finished scan of the same model, images and settings is returned as it is; an unfinished one is continued.

    Args:
        model: model file or folder.
        data: folder of classes, split folder (its test part is taken) or manifest.
        out: folder for audit.json, images.jsonl and the gallery.
        arch: timm architecture, where the file does not tell.
        classes: class names in the order of the model's outputs.
        mean: per-channel mean of the model's own normalisation, [0, 1] units.
        std: likewise.
        input_size: (height, width) of the model's input grid.
        attacks: names as in `robaudit.attack.threats`; None takes the preset's.
        eps: L-inf budgets in 255ths.
        restarts: random starts of the attacks that start at random.
        preset: which attacks and protocol, where `attacks` and `protocol` do not say: quick, default or paper.
        protocol: `paper` runs every eps on its own and judges the last iterate; None takes the preset's.
        seed: of random starts and of `limit`.
        limit: stratified upper bound on the number of images.
        positive: class whose recall is called sensitivity.
        merge: new class -> folders joined into it.
        note: what a reader must know about the images first.
        on_bad_image: `skip` leaves unreadable images out.
        batch_size: padded batch shape; None chooses.
        device: torch device, or `auto`.
        search: how the smallest fooling eps is looked for: descend, bisect or ascend.
        precision: of the gradients; `auto` takes bfloat16 where the hardware has it. Success is judged in float32.
        without: what to switch off, of `robaudit.attack.settings.SWITCHES`.
        warm_start: begin below a found eps where the found perturbation left off.
        restart: discard what `out` holds.
        command: what the person typed, for the record.
        progress: told of every image.
        loading: further arguments of `load_model`: factory, trust, weights, output, label_index, normalization.

    Raises:
        InputError: the model, data, settings or output folder cannot be used.
    """
    model, data, out, progress = Path(model), Path(data), Path(out), progress or Silent()
    plan = plan_of(attacks, eps, preset, protocol, seed, search, without, warm_start, restarts)
    images = open_images(
        data, "test", merge=merge, limit=limit, seed=seed, on_bad_image=on_bad_image, progress=progress
    )
    loaded = load_model(
        model, arch=arch, classes=classes, folder_classes=images.classes, mean=mean, std=std,
        input_size=input_size, device=device, **loading,
    )  # fmt: skip
    images = images.ordered_as(loaded.info.classes)
    loaded.require_channels(images.channels)
    if positive is not None and positive not in images.classes:
        raise SettingsError(f"--positive {positive}: is no class; the classes are {', '.join(images.classes)}")
    speedups = speedups_of(precision, without, loaded.classifier.mean.device)
    engine = Engine(loaded.classifier, loaded.size, images.channels, plan, batch_size, speedups)
    _introduce(loaded, images, engine, progress)
    started = draft(loaded, images, engine, positive, note, command)
    return _Scan(loaded, images, engine, started, out, progress).run(restart)


def _introduce(loaded: LoadedModel, images: Images, engine: Engine, progress: Progress) -> None:
    """Say what will be measured as it was understood: the commonest mistakes show here."""
    info, norm = loaded.info, loaded.info.normalization
    front = f", retrofitted with {info.front.modules}" if info.front else ""
    numbers = f"mean {_listed(norm.mean)} std {_listed(norm.std)}"
    progress.say(f"model: {info.arch}{front}, outputs {', '.join(info.classes)} in this order")
    progress.say(f"input: {info.input.height}x{info.input.width}, normalised inside with {numbers} ({norm.source})")
    kind = "grey, attacked in one channel" if images.channels == 1 else "colour"
    skipped = f", {images.n_skipped} unreadable ones skipped" if images.n_skipped else ""
    progress.say(f"images: {len(images)}, {kind}{skipped}; on {engine.device}, batches of {engine.width}")


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


class _Scan:
    """One scan under way: what is measured, where to, and the record so far."""

    def __init__(
        self, loaded: LoadedModel, images: Images, engine: Engine, draft: AuditRecord, out: Path, progress: Progress
    ) -> None:
        self.loaded, self.images, self.engine, self.draft = loaded, images, engine, draft
        self.out, self.progress = out, progress

    def run(self, restart: bool) -> AuditRecord:
        """Return the finished record: reused, continued or measured from the start."""
        if restart:
            _discard(self.out)
        wanted = identity(self.draft)
        finished = self.out / AUDIT_FILE
        if finished.exists():
            record = read_audit(finished)
            refuse_other(finished, identity(record), wanted)
            read_rows(finished, record)
            self.progress.say(f"{finished} holds this scan already; --restart measures again")
        else:
            _make_folder(self.out)
            place = self.draft.environment
            record = self._measured(wanted | {"versions": place.versions, "n_threads": place.n_threads})
        for leftover in (JOURNAL_FILE, PARTIAL_AUDIT_FILE):
            (self.out / leftover).unlink(missing_ok=True)
        return record

    def _measured(self, wanted: dict[str, Any]) -> AuditRecord:
        with open_journal(self.out, wanted) as journal:
            checks = self._measure(journal)
            entries = self._entries(journal)
        rows = "".join(entry.row.model_dump_json() + "\n" for entry in entries)
        record = filled(self.draft, entries, self.engine.plan, "complete", checks)
        write_text(self.out / IMAGES_FILE, rows)
        write_text(self.out / AUDIT_FILE, record.model_dump_json(indent=2) + "\n")
        return record

    def _entries(self, journal: Journal) -> list[Entry]:
        """What is done so far, in the order of the data set."""
        return [journal.entries[ref.id] for ref in self.images.refs if ref.id in journal.entries]

    def _measure(self, journal: Journal) -> list[Check]:
        """Examine what the journal does not hold yet, one entry per image; returns the checks on the model itself."""
        before = fingerprint(self.loaded.classifier)
        remaining = [ref for ref in self.images.refs if ref.id not in journal.entries]
        if journal.entries:
            self.progress.say(f"continuing: {len(journal.entries)} of {len(self.images)} images are done")
        clean = self._clean_predictions()
        pictured = gallery_ids(self.images)
        refs = {ref.id: ref for ref in remaining}
        self.progress.start("attacking", len(self.images))
        self.progress.advance(len(journal.entries))
        fallen = Counter(tally.worst_eps(entry.row) for entry in journal.entries.values())
        started = saved = time.monotonic()
        try:
            for measured in self.engine.measure(self.images, remaining, pictured, clean):
                now = time.monotonic()
                gallery = None
                if measured.row.id in pictured:
                    gallery = write_pictures(
                        self.out, self.loaded, self.images, refs[measured.row.id], measured, self.engine.plan.grid
                    )
                journal.append(_entry(measured, gallery, now - started))
                started = now
                fallen[tally.worst_eps(measured.row)] += 1
                self.progress.advance(note=self._note(fallen))
                if now - saved > PARTIAL_EVERY_SECONDS:
                    self._write_partial(journal)
                    saved = now
        except BaseException:
            # Whatever stopped the scan, the curve so far is worth keeping; the journal has every finished image.
            self._write_partial(journal)
            self.progress.say(
                f"stopped after {len(journal.entries)} of {len(self.images)} images: {self._note(fallen)}"
            )
            raise
        finally:
            self.progress.finish()
        return [
            state_untouched(before, fingerprint(self.loaded.classifier)),
            repeatable(self.engine.unrepeatable(self.images)),
        ]

    def _clean_predictions(self) -> dict[str, int | None]:
        """Ask for all clean predictions first: a wrong normalisation shows before hours are spent."""
        self.progress.start("clean accuracy", len(self.images))
        seen: dict[str, int | None] = {}
        n_correct = 0
        for ref, prediction in self.engine.clean_predictions(self.images, self.images.refs):
            seen[ref.id] = prediction
            n_correct += prediction == self.images.label_index(ref)
            self.progress.advance()
        self.progress.finish()
        n = len(self.images)
        self.progress.say(f"clean accuracy {n_correct} of {n} ({n_correct / n:.1%})")
        return seen

    def _note(self, fallen: Counter[int]) -> str:
        """The curve so far, from how many images fell at each eps."""
        grid, n = self.engine.plan.grid, max(1, fallen.total())
        shown = dict.fromkeys((grid[0], grid[len(grid) // 2], grid[-1]))
        standing = {eps: sum(count for at, count in fallen.items() if at > eps) for eps in shown}
        return "worst case " + ", ".join(f"{count / n:.0%} at {eps}/255" for eps, count in standing.items())

    def _write_partial(self, journal: Journal) -> None:
        if journal.entries:
            record = filled(self.draft, self._entries(journal), self.engine.plan, "partial", [])
            write_text(self.out / PARTIAL_AUDIT_FILE, record.model_dump_json(indent=2) + "\n")


def _entry(measured: Measured, gallery: GalleryItem | None, seconds: float) -> Entry:
    work = measured.work
    return Entry(
        row=measured.row,
        spent=Spent(gradients=work.gradients, forwards=work.forwards, seconds=round(seconds, 3)),
        margin_gradients=work.margin_gradients,
        zero_gradients=work.zero_gradients,
        zero_margin_gradients=work.zero_margin_gradients,
        non_finite_gradients=work.non_finite_gradients,
        batch_size=measured.batch_size,
        gallery=gallery,
    )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another --out") from None


def _discard(out: Path) -> None:
    """Remove what a scan wrote, and nothing else."""
    try:
        for name in (AUDIT_FILE, PARTIAL_AUDIT_FILE, IMAGES_FILE, JOURNAL_FILE):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / GALLERY_FOLDER, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be replaced ({error.strerror}); choose another --out") from None
