"""A scan under way: attack every image, doubt the result, write the record; resumable at any moment."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from robaudit import tally
from robaudit.attack.batching import Sight
from robaudit.attack.curve import Engine, Measured, Pursued
from robaudit.audit.believe import Doubts, gradient_counts, spent
from robaudit.audit.gallery import GALLERY_FOLDER, discard_pictures, gallery_ids, write_pictures
from robaudit.audit.journal import Entry, InOrder, Journal, open_journal, refuse_other, require_own_journal
from robaudit.audit.record import filled, identity
from robaudit.checks.evidence import Share
from robaudit.data.images import ImageRef, Images
from robaudit.errors import OutputError, RecordError
from robaudit.files import alone_in, discard, write_lines, write_text
from robaudit.fleet.fleet import Fleet
from robaudit.fleet.worker import place_of
from robaudit.load.classifier import LoadedModel
from robaudit.progress import Progress
from robaudit.records import (
    AUDIT_FILE,
    IMAGES_FILE,
    JOURNAL_FILE,
    PAGE_FILE,
    PARTIAL_AUDIT_FILE,
    REPORT_FOLDER,
    AuditRecord,
    Check,
    GalleryItem,
    ImageRow,
    Tally,
    file_of,
    read_audit,
    read_rows,
)

PARTIAL_EVERY_SECONDS = 60.0
LEFTOVERS = (JOURNAL_FILE, PARTIAL_AUDIT_FILE)
"""What only an unfinished scan needs."""


@dataclass
class Measurement:
    """What is measured, where to, and the record so far."""

    loaded: LoadedModel
    images: Images
    engine: Engine
    examiner: Engine | Fleet
    draft: AuditRecord
    out: Path
    progress: Progress
    sample_size: int
    check_preprocessing: Callable[[], Check]
    find_overlap: Callable[[], Share | None]
    require_clean: Callable[[Tally], None]
    """Refuses a finished audit whose clean accuracy is not what the person expects."""

    def __post_init__(self) -> None:
        """Look at the model before anything is asked of it."""
        self.pictured = gallery_ids(self.images)
        self.state = self.engine.state()

    def finish(self, restart: bool) -> AuditRecord:
        """Return the finished record: reused, continued or measured from the start."""
        asked = identity(self.draft)
        if not restart and (finished := self._finished(asked)):
            return finished
        wanted = asked | {"place": place_of(self.engine.device).decisive}
        if not restart:
            require_own_journal(self.out, wanted)  # before anything that takes long
        preprocessing = self.check_preprocessing()  # before the folder is made: where it stops the scan, none is
        overlap = self.find_overlap()
        with alone_in(self.out, GALLERY_FOLDER):
            if restart:
                _discard(self.out)
            elif finished := self._finished(asked):  # by another process meanwhile
                return finished
            record = self._measured(preprocessing, overlap, wanted)
            discard(self.out, *LEFTOVERS)
        return record

    def _finished(self, wanted: dict[str, Any]) -> AuditRecord | None:
        """The record that is there already; None where there is none."""
        path = self.out / AUDIT_FILE
        if not path.exists():
            return None
        try:
            record = read_audit(path)
            refuse_other(path, identity(record), wanted)
            read_rows(path, record)
            _require_pictures(self.out, record)
        except RecordError as error:
            raise OutputError(f"{error}; here --restart measures again") from None
        self.require_clean(record.clean)
        self.progress.say(f"{path} holds this scan already; --restart measures again")
        with suppress(OutputError):  # an archive that may not be written is as good
            discard(self.out, *LEFTOVERS)
        return record

    def _measured(self, preprocessing: Check, overlap: Share | None, wanted: dict[str, Any]) -> AuditRecord:
        with open_journal(self.out, wanted) as journal:
            if journal.entries:
                self.progress.say(f"continuing: {len(journal.entries)} of {len(self.images)} images are done")
            clean = self._clean_sights()
            try:
                self._attack(journal, clean)
                judged = self._doubts(journal, clean, overlap).settled()
                judged = replace(judged, checks=(preprocessing, *judged.checks))
            except BaseException:
                # Whatever stopped the scan, the curve so far is worth keeping; the journal has every finished image.
                with suppress(OutputError):  # a full disk must not hide what stopped it
                    self._write_partial(journal)
                self.progress.say(self._stopped(_fallen(journal)))
                raise
            entries = self._entries(journal, judged.added)
            record = filled(self.draft, entries, self.engine.plan, judged, journal.probes.values())
            write_lines(self.out / IMAGES_FILE, (entry.row.model_dump_json() for entry in entries))
        write_text(self.out / AUDIT_FILE, record.model_dump_json(indent=2) + "\n")
        return record

    def _clean_sights(self) -> dict[str, Sight]:
        """Ask for all clean predictions first: a wrong normalisation shows before hours are spent."""
        self.progress.start("clean accuracy", len(self.images))
        sights: dict[str, Sight] = {}
        n_correct = 0
        for ref, seen in self.examiner.clean_sights(self.images, self.images.refs):
            sights[ref.id] = seen
            n_correct += seen.prediction == self.images.label_index(ref)
            self.progress.advance()
        self.progress.finish()
        n = len(self.images)
        self.progress.say(f"clean accuracy {n_correct} of {n} ({n_correct / n:.1%})")
        return sights

    def _attack(self, journal: Journal, clean: dict[str, Sight]) -> None:
        """Examine what the journal does not hold yet, one entry per image."""
        remaining = [ref for ref in self.images.refs if ref.id not in journal.entries]
        refs = {ref.id: ref for ref in remaining}
        self.progress.start("attacking", len(self.images), done=len(journal.entries))
        fallen = _fallen(journal)
        started = time.monotonic()
        due = started + PARTIAL_EVERY_SECONDS
        for measured in self.examiner.measure(self.images, remaining, self.pictured, clean):
            now = time.monotonic()
            gallery = self._pictures(refs[measured.row.id], measured)
            journal.append(_entry(measured, gallery, now - started))
            started = now
            fallen[tally.worst_eps(measured.row)] += 1
            self.progress.advance(note=self._note(fallen))
            if now > due:
                self._write_partial(journal)
                # Of many images even the curve so far takes a while: never more than a twentieth of the time.
                due = time.monotonic() + max(PARTIAL_EVERY_SECONDS, 20 * (time.monotonic() - now))
        self.progress.finish()

    def _doubts(self, journal: Journal, clean: dict[str, Sight], overlap: Share | None) -> Doubts:
        return Doubts(
            self.loaded, self.images, self.engine, self.examiner, journal, clean, self.state, self.sample_size,
            overlap, self._repictured, self.progress,
        )  # fmt: skip

    def _pictures(self, ref: ImageRef, measured: Measured) -> GalleryItem | None:
        if ref.id not in self.pictured:
            return None
        return write_pictures(self.out, self.loaded, self.images, ref, measured, self.engine.plan.grid)

    def _repictured(self, ref: ImageRef, row: ImageRow, pursued: Pursued, attack: str) -> GalleryItem | None:
        if pursued.adversarial is None:
            return None
        amended = row.model_copy(update={"fooled_at": {**row.fooled_at, attack: pursued.found_255}})
        kept = Measured(amended, pursued.work, self.engine.width, None, pursued.adversarial, attack)
        return self._pictures(ref, kept)

    def _entries(self, journal: Journal, added: Collection[str] = ()) -> InOrder[Entry]:
        """What is done so far, in the order of the data set."""
        done = [ref.id for ref in self.images.refs if ref.id in journal.entries]
        return InOrder(journal.entries, done, added, lambda entry: entry)

    def _note(self, fallen: Counter[int]) -> str:
        """The curve so far, of how many images fell at each eps; low as a rule, as images that fall are done sooner."""
        n, standing = fallen.total(), tally.sketch(fallen, self.engine.plan.grid)
        return "worst case so far " + ", ".join(f"{count / n:.0%} at {eps}/255" for eps, count in standing.items())

    def _stopped(self, fallen: Counter[int]) -> str:
        if not fallen:
            return "stopped before the first image was done"
        return f"stopped after {fallen.total()} of {len(self.images)} images: {self._note(fallen)}"

    def _write_partial(self, journal: Journal) -> None:
        if journal.entries:
            record = filled(self.draft, self._entries(journal), self.engine.plan, None, ())
            write_text(self.out / PARTIAL_AUDIT_FILE, record.model_dump_json(indent=2) + "\n")


def _fallen(journal: Journal) -> Counter[int]:
    """How many finished images fell at each eps."""
    return Counter(tally.worst_eps(entry.row) for entry in journal.entries.values())


def _entry(measured: Measured, gallery: GalleryItem | None, seconds: float) -> Entry:
    return Entry(
        row=measured.row,
        spent=spent(measured.work, seconds),
        gradients=gradient_counts(measured.work),
        batch_size=measured.batch_size,
        observed=measured.observed,
        gallery=gallery,
    )


def _require_pictures(out: Path, record: AuditRecord) -> None:
    for name in chain.from_iterable(item.files.values() for item in record.artifacts):
        if not file_of(out, name).is_file():
            raise RecordError(f"{out / name}: is gone; put it back")


def _discard(out: Path) -> None:
    """Remove what a scan wrote, and nothing else."""
    if any((out / name).exists() for name in (AUDIT_FILE, JOURNAL_FILE)):
        discard(out / REPORT_FOLDER, PAGE_FILE)  # it would look like a page of what comes now
    discard(out, AUDIT_FILE, IMAGES_FILE, *LEFTOVERS)
    discard_pictures(out)
