"""After the attacks: ask a sample more, judge, and add an attack where one would mend the measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from robaudit import tally
from robaudit.attack.batching import Sight, Work
from robaudit.attack.curve import NO_MEMORY, Engine, Pursued
from robaudit.attack.threats import AnyAttack
from robaudit.audit.journal import Amendment, Entry, Journal
from robaudit.checks.evidence import Evidence, GradientCounts, Probe, Share
from robaudit.checks.judge import judge
from robaudit.checks.probes import Question, questions
from robaudit.checks.repairs import next_repair
from robaudit.checks.repeatable import N_PASSES
from robaudit.fleet.fleet import Fleet
from robaudit.load.classifier import LoadedModel
from robaudit.load.features import penultimate
from robaudit.load.images import ImageRef, Images
from robaudit.progress import Progress
from robaudit.records import Check, GalleryItem, ImageRow, Spent


@dataclass(frozen=True)
class Judged:
    """The attacks of an audit, those that were added included, and what the checks say."""

    attacks: tuple[AnyAttack, ...]
    added: dict[str, str]
    """Attack that was added -> the check that asked for it."""
    checks: tuple[Check, ...]


@dataclass
class Doubts:
    """Everything that is asked of a measurement once its attacks have been run."""

    loaded: LoadedModel
    images: Images
    engine: Engine
    examiner: Engine | Fleet
    """Who runs an attack on all images: the engine, or workers that hold its twins."""
    journal: Journal
    clean: dict[str, Sight]
    state_before: str
    sample_size: int
    overlap: Share | None
    repictured: Callable[[ImageRef, ImageRow, Pursued, str], GalleryItem | None]
    """Makes new pictures of an image, where it is pictured and fell at a smaller eps than before."""
    progress: Progress
    attacks: tuple[AnyAttack, ...] = field(init=False)
    entries: list[Entry] = field(init=False)
    """Of all images, as far as `attacks` go; the journal keeps them on disk, so they are read once a round."""

    def settled(self) -> Judged:
        """Ask, judge, and add attacks until none would help."""
        self._read(self.engine.plan.attacks)
        added: dict[str, str] = {}
        checks = self._judged()
        mended: dict[str, tuple[Check, str]] = {}
        while repair := next_repair(checks, self.attacks, added, self._has_front):
            attack, asked_by = repair
            self.progress.say(f"{asked_by}: {_first(checks, asked_by).why} Adding {attack.name} to mend it.")
            self._pursue(attack)
            self._read((*self.attacks, attack))
            added[attack.name] = asked_by
            before, checks = checks, self._judged()
            for old, new in zip(before, checks, strict=True):
                if old.status == "failed" != new.status:
                    mended[old.id] = (old, attack.name)
        return Judged(self.attacks, added, tuple(_told(check, mended.get(check.id)) for check in checks))

    @property
    def _has_front(self) -> bool:
        return self.loaded.classifier.front is not None

    def _judged(self) -> tuple[Check, ...]:
        """Ask the sample what is not known yet, and judge."""
        asked = list(self._questions())
        sample = self._sample()
        self.progress.start("checking", sum(len(_chosen(question, sample)) for question in asked))
        for question in asked:
            self._ask(question, _chosen(question, sample))
        self.progress.finish()
        return judge(self._evidence(asked, sample))

    def _evidence(self, asked: Sequence[Question], sample: Sequence[ImageRef]) -> Evidence:
        counts = GradientCounts()
        for entry in self.entries:
            counts = counts.plus(entry.gradients)
        probes: dict[str, list[Probe]] = {}
        for question in asked:
            answers = self.journal.asked(question.check, question.name)
            chosen = [answers[ref.id] for ref in _chosen(question, sample)]
            probes[question.check] = [*probes.get(question.check, []), *chosen]
        return Evidence(
            rows=self._rows(),
            observed=[entry.observed for entry in self.entries if entry.observed is not None],
            attacks=self.attacks,
            grid=self.engine.plan.grid,
            gradients=counts,
            outputs=self.loaded.classifier.outputs,
            state_before=self.state_before,
            state_after=self.examiner.state(),
            unrepeatable=self.engine.unrepeatable(self._askable(), N_PASSES),
            has_front=self._has_front,
            has_surrogate=self.engine.surrogate is not None,
            overlap=self.overlap,
            sample_size=self.sample_size,
            probes=probes,
        )

    def _askable(self) -> Images:
        """The images, without those that need more memory than there is, unless all do."""
        too_large = {row.id for row in self._rows() if row.error == NO_MEMORY}
        refs = tuple(ref for ref in self.images.refs if ref.id not in too_large)
        return replace(self.images, refs=refs) if refs else self.images

    def _questions(self) -> Iterator[Question]:
        if not self.sample_size:
            return
        predicted = {seen.prediction for seen in self.clean.values() if seen.prediction is not None}
        yield from questions(
            self.attacks,
            self.engine.plan.grid,
            has_front=self._has_front,
            has_surrogate=self.engine.surrogate is not None,
            predicted=frozenset(predicted),
            features=penultimate(self.engine.exact, self.engine.example),
        )

    def _sample(self) -> list[ImageRef]:
        """A stratified, seeded choice among the images that are right without an attack."""
        standing = {row.id for row in self._rows() if row.error is None and row.prediction == row.label}
        among = replace(self.images, refs=tuple(ref for ref in self.images.refs if ref.id in standing))
        return list(among.limited(self.sample_size, self.engine.plan.seed).refs) if self.sample_size else []

    def _ask(self, question: Question, sample: Sequence[ImageRef]) -> None:
        """Ask one question of the sampled images that have not answered it yet."""
        answered = self.journal.asked(question.check, question.name)
        ids = [ref.id for ref in sample if ref.id not in answered]
        self.progress.advance(len(sample) - len(ids))
        rows = {row.id: row for row in self._rows()}
        started = time.monotonic()
        for ref, found_255, answer, work in self._answers(question, ids, rows):
            now = time.monotonic()
            probe = Probe(
                check=question.check, name=question.name, id=ref.id, found_255=found_255, answer=answer,
                spent=spent(work, now - started), gradients=gradient_counts(work),
            )  # fmt: skip
            started = now
            self.journal.append_probe(probe)
            self.progress.advance(note=question.check)

    def _answers(
        self, question: Question, ids: Sequence[str], rows: dict[str, ImageRow]
    ) -> Iterator[tuple[ImageRef, int | None, bool | None, Work]]:
        if question.attack is not None:
            worst = {id_: self._worst(rows[id_]) for id_ in ids}
            for ref, pursued in self.engine.pursue(self.images, question.attack, worst, self.clean):
                yield ref, pursued.found_255, None, pursued.work
        elif question.ask is not None:
            ask = question.ask
            asked = self.engine.interview(
                self.images, ids, self.clean, lambda ref, target, work: ask(rows[ref.id], target, work)
            )
            for ref, answer, work in asked:
                yield ref, None, answer, work

    def _pursue(self, attack: AnyAttack) -> None:
        """Run one more attack on all images, and amend their entries."""
        kept = self.journal.entries
        rows = {row.id: row for row in self._rows() if not kept[row.id].is_amended_by(attack.name)}
        self.progress.start(f"adding {attack.name}", len(rows))
        wrong = [id_ for id_, row in rows.items() if row.error is not None or row.prediction != row.label]
        for id_ in wrong:
            self._amend(kept[id_], Amendment(attack=attack.name, found_255=0))
            self.progress.advance()
        worst = {id_: self._worst(row) for id_, row in rows.items() if id_ not in wrong}
        started = time.monotonic()
        for ref, pursued in self.examiner.pursue(self.images, attack, worst, self.clean):
            now = time.monotonic()
            gallery = self.repictured(ref, rows[ref.id], pursued, attack.name)
            amendment = Amendment(
                attack=attack.name, found_255=pursued.found_255, spent=spent(pursued.work, now - started),
                gradients=gradient_counts(pursued.work), unfinished=dict(pursued.unfinished), error=pursued.error,
            )  # fmt: skip
            self._amend(kept[ref.id], amendment, gallery)
            started = now
            self.progress.advance()
        self.progress.finish()

    def _amend(self, entry: Entry, amendment: Amendment, gallery: GalleryItem | None = None) -> None:
        """Add what one more attack found to an image's entry, and its pictures, where these are new."""
        update = {"amendments": (*entry.amendments, amendment), "gallery": gallery or entry.gallery}
        self.journal.append(entry.model_copy(update=update))

    def _read(self, attacks: tuple[AnyAttack, ...]) -> None:
        """Read the entries as far as these attacks go: a resumed scan judges as the interrupted one did."""
        names = [attack.name for attack in attacks]
        self.attacks = attacks
        self.entries = [self.journal.entries[ref.id].including(names) for ref in self.images.refs]

    def _rows(self) -> list[ImageRow]:
        return [entry.row for entry in self.entries]

    def _worst(self, row: ImageRow) -> int | None:
        worst = tally.worst_eps(row)
        return None if worst == tally.NEVER else worst


def spent(work: Work, seconds: float) -> Spent:
    """What an image cost, for the record."""
    return Spent(gradients=work.gradients, forwards=work.forwards, seconds=round(seconds, 3))


def gradient_counts(work: Work) -> GradientCounts:
    """How many of an image's gradients were useless, for the checks."""
    return GradientCounts(
        n_gradients=work.gradients,
        n_zero=work.zero_gradients,
        n_margin=work.margin_gradients,
        n_zero_margin=work.zero_margin_gradients,
        n_non_finite=work.non_finite_gradients,
    )


def _chosen(question: Question, sample: Sequence[ImageRef]) -> Sequence[ImageRef]:
    return sample[: question.max_images]


def _first(checks: Sequence[Check], id_: str) -> Check:
    return next(check for check in checks if check.id == id_)


def _told(check: Check, mended: tuple[Check, str] | None) -> Check:
    """A check that failed before an attack was added says so, unless it fails again."""
    if mended is None or check.status == "failed":
        return check
    before, attack = mended
    return check.model_copy(
        update={
            "status": "warning",
            "why": f"{before.why} {attack} was added for that and run on all images. Now: {check.why}",
            "remedy": check.remedy or "Nothing is left to do: the worst case includes the attack that was added.",
            "repaired_by": attack,
        }
    )
