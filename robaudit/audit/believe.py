"""After the attacks: ask a sample more, judge, and add an attack where one would mend the measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import TypeVar

from robaudit import tally
from robaudit.attack.batching import Sight, Work
from robaudit.attack.curve import NO_FINITE_ANSWER, Engine, Pursued
from robaudit.attack.threats import AnyAttack
from robaudit.audit.journal import Amendment, Entry, InOrder, Journal
from robaudit.checks.evidence import Evidence, GradientCounts, Probe, Share
from robaudit.checks.judge import judge
from robaudit.checks.probes import Question, questions
from robaudit.checks.repairs import next_repair
from robaudit.checks.repeatable import unrepeatable
from robaudit.data.images import ImageRef, Images
from robaudit.fleet.fleet import Fleet
from robaudit.load.classifier import LoadedModel
from robaudit.load.features import penultimate
from robaudit.progress import Progress
from robaudit.records import Check, GalleryItem, ImageRow, Observed, Spent

T = TypeVar("T")


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
    ids: list[str] = field(init=False)
    observed: list[str] = field(init=False)
    """Ids of the images answered correctly without an attack, of which more was seen."""
    unaskable: set[str] = field(init=False)
    """Ids of the images on which the model fails, or needs more memory than there is."""
    _passes: dict[tuple[object, ...], float] = field(init=False, default_factory=dict)
    """What was asked in several passes -> how far the answers changed."""

    def __post_init__(self) -> None:
        """Look at what the plan's attacks have found."""
        self.ids = [ref.id for ref in self.images.refs]
        self._look(self.engine.plan.attacks)

    def _look(self, attacks: tuple[AnyAttack, ...]) -> None:
        """Look once at every entry, as far as these attacks go: entries stay on disk."""
        self.attacks = attacks
        self.observed, self.unaskable = [], set()
        for entry in self._every(_whole):
            if entry.observed is not None and entry.row.error is None:
                self.observed.append(entry.row.id)
            if entry.row.error not in (None, NO_FINITE_ANSWER):
                self.unaskable.add(entry.row.id)

    def settled(self) -> Judged:
        """Ask, judge, and add attacks until none would help."""
        added: dict[str, str] = {}
        checks = self._judged()
        mended: dict[str, tuple[Check, str]] = {}
        while repair := next_repair(checks, self.attacks, added, self._has_front):
            attack, asked_by = repair
            self.progress.say(f"{asked_by}: {_first(checks, asked_by).why} Adding {attack.name} to mend it.")
            self._pursue(attack)
            self._look((*self.attacks, attack))
            added[attack.name] = asked_by
            before, checks = checks, self._judged()
            # A check that has nothing to look at any more has not been answered.
            checks = tuple(map(_unless_unanswered, before, checks))
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
        self.progress.start("checking", sum(len(self._chosen(question, sample)) for question in asked))
        for question in asked:
            self._ask(question, self._chosen(question, sample))
        self.progress.finish()
        return judge(self._evidence(asked, sample))

    def _evidence(self, asked: Sequence[Question], sample: Sequence[ImageRef]) -> Evidence:
        probes: dict[str, list[Probe]] = {}
        for question in asked:
            answers = self.journal.asked(question.check, question.name)
            chosen = [answers[ref.id] for ref in self._chosen(question, sample)]
            probes[question.check] = [*probes.get(question.check, []), *chosen]
        state_after = self.examiner.state()
        return Evidence(
            rows=self._every(_row),
            observed=self._every(_observed, self.observed),
            attacks=self.attacks,
            grid=self.engine.plan.grid,
            gradients=reduce(GradientCounts.plus, self._every(_gradients)),
            blind=tuple(filter(None, self._every(_if_blind))),
            outputs=self.loaded.classifier.outputs,
            state_before=self.state_before,
            state_after=state_after,
            unrepeatable=self._unrepeatable(state_after),
            has_front=self._has_front,
            has_head=self.engine.has_head,
            has_surrogate=self.engine.surrogate is not None,
            overlap=self.overlap,
            sample_size=self.sample_size,
            probes=probes,
        )

    def _unrepeatable(self, state_after: str) -> float:
        """How far answers change between passes; asked anew only where a repair changed the model or what is asked."""
        images = self._askable()
        asked = (state_after, self.engine.width, images.refs[: self.engine.width])
        if asked not in self._passes:
            self._passes[asked] = unrepeatable(self.engine, images)
        return self._passes[asked]

    def _askable(self) -> Images:
        """The images, without those that cannot be asked about, unless none can."""
        refs = tuple(ref for ref in self.images.refs if ref.id not in self.unaskable)
        return replace(self.images, refs=refs) if refs else self.images

    def _questions(self) -> Iterator[Question]:
        if not self.sample_size:
            return
        predicted = {seen.prediction for seen in self.clean.values() if seen.prediction is not None}
        yield from questions(
            self.attacks,
            self.engine.plan.grid,
            has_front=self._has_front,
            has_head=self.engine.has_head,
            has_surrogate=self.engine.surrogate is not None,
            predicted=frozenset(predicted),
            features=penultimate(self.engine.exact, self.engine.example),
        )

    def _sample(self) -> Sequence[ImageRef]:
        """A stratified, seeded choice among the images that are right without an attack."""
        standing = set(self.observed)
        return self._some([ref for ref in self.images.refs if ref.id in standing], self.sample_size)

    def _chosen(self, question: Question, sample: Sequence[ImageRef]) -> Sequence[ImageRef]:
        """As many of the sample as the question is asked of, chosen like the sample."""
        return self._some(sample, question.max_images)

    def _some(self, among: Sequence[ImageRef], n_images: int | None) -> Sequence[ImageRef]:
        return replace(self.images, refs=tuple(among)).limited(n_images, self.engine.plan.seed).refs

    def _ask(self, question: Question, sample: Sequence[ImageRef]) -> None:
        """Ask one question of the sampled images that have not answered it yet."""
        answered = self.journal.asked(question.check, question.name)
        ids = [ref.id for ref in sample if ref.id not in answered]
        self.progress.advance(len(sample) - len(ids))
        rows = self._rows(ids)
        started = time.monotonic()
        for probe, work in self._answers(question, ids, rows):
            now = time.monotonic()
            costs = {"spent": spent(work, now - started), "gradients": gradient_counts(work)}
            probe = probe.model_copy(update={**costs, "batch_size": self.engine.width})
            started = now
            self.journal.append_probe(probe)
            self.progress.advance(note=question.check)

    def _answers(
        self, question: Question, ids: Sequence[str], rows: dict[str, ImageRow]
    ) -> Iterator[tuple[Probe, Work]]:
        """What each image answers, and what that cost."""
        probe = partial(Probe, check=question.check, name=question.name)
        if question.attack is not None:
            worst = {id_: self._worst(rows[id_]) for id_ in ids}
            for ref, pursued in self.engine.pursue(self.images, question.attack, worst, self.clean):
                yield probe(id=ref.id, found_255=pursued.found_255, error=pursued.error), pursued.work
        elif question.ask is not None:
            ask = question.ask
            asked = self.engine.interview(
                self.images, ids, self.clean, lambda ref, target, work: ask(rows[ref.id], target, work)
            )
            for ref, said in asked:
                yield probe(id=ref.id, answer=said.answer, error=said.error), said.work

    def _pursue(self, attack: AnyAttack) -> None:
        """Run one more attack on all images, and amend their entries."""
        kept = self.journal.entries
        remaining = [id_ for id_ in self.ids if not kept[id_].is_amended_by(attack.name)]
        self.progress.start(f"adding {attack.name}", len(remaining))
        standing = set(self.observed)
        for id_ in remaining:
            if id_ not in standing:
                self._amend(kept[id_], Amendment(attack=attack.name, found_255=0))
                self.progress.advance()
        worst = {row.id: self._worst(row) for row in self._every(_row, remaining) if row.id in standing}
        started = time.monotonic()
        # Checks ask whether this attack needs more than others did: not to be told by what it does below alone.
        for ref, pursued in self.examiner.pursue(self.images, attack, worst, self.clean, ties=True):
            now = time.monotonic()
            gallery = self.repictured(ref, self._every(_row)[ref.id], pursued, attack.name)
            amendment = Amendment(
                attack=attack.name, found_255=pursued.found_255, spent=spent(pursued.work, now - started),
                gradients=gradient_counts(pursued.work), unfinished=dict(pursued.unfinished),
                refused=dict(pursued.refused), excess=pursued.excess, realisable=pursued.realisable,
                error=pursued.error, batch_size=pursued.batch_size,
            )  # fmt: skip
            self._amend(kept[ref.id], amendment, gallery)
            started = now
            self.progress.advance()
        self.progress.finish()

    def _amend(self, entry: Entry, amendment: Amendment, gallery: GalleryItem | None = None) -> None:
        """Add what one more attack found to an image's entry, and its pictures, where these are new."""
        update = {"amendments": (*entry.amendments, amendment), "gallery": gallery or entry.gallery}
        self.journal.append(entry.model_copy(update=update))

    def _every(self, part: Callable[[Entry], T], ids: Sequence[str] | None = None) -> InOrder[T]:
        """A part of every entry as far as `attacks` go: a resumed scan judges as the interrupted one did."""
        names = [attack.name for attack in self.attacks]
        return InOrder(self.journal.entries, self.ids if ids is None else ids, names, part)

    def _rows(self, ids: Sequence[str]) -> dict[str, ImageRow]:
        return {row.id: row for row in self._every(_row, ids)}

    def _worst(self, row: ImageRow) -> int | None:
        worst = tally.worst_eps(row)
        return None if worst == tally.NEVER else worst


def spent(work: Work, seconds: float) -> Spent:
    """What an image cost, for the record."""
    return Spent(gradients=work.gradients, forwards=work.forwards, seconds=round(seconds, 3))


def gradient_counts(work: Work) -> GradientCounts:
    """How many of an image's gradients were useless, for the checks."""
    return GradientCounts(
        n_gradients=work.own_gradients,
        n_zero=work.zero_gradients,
        n_margin=work.margin_gradients,
        n_zero_margin=work.zero_margin_gradients,
        n_non_finite=work.non_finite_gradients,
        n_behind=work.gradients_behind,
        n_useless_behind=work.useless_gradients_behind,
    )


def _whole(entry: Entry) -> Entry:
    return entry


def _row(entry: Entry) -> ImageRow:
    return entry.row


def _gradients(entry: Entry) -> GradientCounts:
    return entry.gradients


def _if_blind(entry: Entry) -> str | None:
    """Id of an image at which, or on the way from which, a gradient that cannot fade with confidence was useless."""
    if entry.observed is None:
        return None
    astray = entry.gradients.n_zero_margin + entry.gradients.n_non_finite
    return entry.row.id if astray or entry.observed.gradients.get("margin") != "fine" else None


def _observed(entry: Entry) -> Observed:
    assert entry.observed is not None
    return entry.observed


def _first(checks: Sequence[Check], id_: str) -> Check:
    return next(check for check in checks if check.id == id_)


def _unless_unanswered(old: Check, new: Check) -> Check:
    return old if old.status == "failed" and new.status == "not_applicable" else new


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
