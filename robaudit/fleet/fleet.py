"""One scan measured by many workers: the same questions as the engine answers, asked in shards and merged.

What an image is told depends on the image and the settings alone, so findings do not depend on who measured which
images, in which order, or how often a worker was lost.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from robaudit.attack.batching import Sight, Work
from robaudit.attack.climb import Adversarial
from robaudit.attack.curve import Engine, Measured, Pursued
from robaudit.attack.threats import AnyAttack
from robaudit.data.images import ImageRef, Images
from robaudit.errors import SettingsError
from robaudit.fleet.crew import Crew, WorkerLostError
from robaudit.fleet.worker import Ask, Finding, Found, Place, Shard, place_of, sealed
from robaudit.progress import Progress

SHARDS_PER_WORKER = 8
"""So many that workers end at about the same time, as few as keep their batches full."""
MAX_BATCHES_PER_SHARD = 16
"""In images: of a large set, something is left for workers that come later."""
MAX_DEATHS = 3
"""Of workers asked about one image alone, after which the image is an error."""
MAX_HANGS_IN_A_ROW = 8
"""Without any finding between, each after all the seconds that a batch may take: then it is not the images."""
MAX_DEATHS_IN_A_ROW = 30
"""Beyond one of each worker, for a node takes all of its own with it, without any finding between: then it is not the
images."""
MAX_FAILED_STARTS = 4
"""Likewise, before any worker was ever ready: then none will be."""
PATIENCE_SECONDS = 30.0
"""Without any worker, after which the person is told."""


@dataclass(frozen=True)
class Fatal:
    """What is known of an image whose workers died, or that no worker has an answer to."""

    why: str


@dataclass
class Fleet:
    """Answers as `Engine` does, with the workers of a crew."""

    engine: Engine
    """The driver's own, whose twins the workers hold."""
    images: Images
    crew: Crew
    progress: Progress
    hang_after: float = 0.0
    """Seconds after which a worker counts as hanging over a batch; 0 for never."""
    changed_model: bool = False
    """Whether the model changed itself in a worker."""
    _n_hangs: int = 0
    """In a row, without any finding between."""
    _fatal: dict[str, Fatal] = field(default_factory=dict)
    _is_open: bool = False
    _was_ready: bool = False
    """Whether any worker ever was."""
    _idle: list[int] = field(default_factory=list)
    """Workers that are ready."""
    _at_work: dict[Future[Any], tuple[int, Shard | None]] = field(default_factory=dict)
    """What is awaited: worker, and its shard; None while it starts."""

    def clean_sights(self, images: Images, refs: Sequence[ImageRef]) -> Iterator[tuple[ImageRef, Sight]]:
        """What the untouched model sees in each image, in no particular order."""
        by_id = {ref.id: ref for ref in refs}
        for id_, sight in self._ask(refs, lambda _: _sights):
            yield by_id[id_], Sight((), None, sight.why) if isinstance(sight, Fatal) else sight

    def measure(
        self,
        images: Images,
        refs: Sequence[ImageRef],
        keep_adversarials_of: Collection[str] = (),
        clean: Mapping[str, Sight] | None = None,
    ) -> Iterator[Measured]:
        """Examine images, yielding each as it is done; one that no worker outlives is an error, and says so."""
        by_id = {ref.id: ref for ref in refs}

        def ask(part: Sequence[ImageRef]) -> Ask:
            sights = None if clean is None else {ref.id: clean[ref.id] for ref in part}
            return partial(_measured, keep=frozenset(keep_adversarials_of), clean=sights)

        for id_, measured in self._ask(refs, ask):
            yield self.engine.failed(by_id[id_], Work(), measured.why) if isinstance(measured, Fatal) else measured

    def pursue(
        self,
        images: Images,
        attack: AnyAttack,
        worst_255: Mapping[str, int | None],
        clean: Mapping[str, Sight],
        *,
        ties: bool = False,
    ) -> Iterator[tuple[ImageRef, Pursued]]:
        """Run one more attack; an image that no worker outlives is an error, and says so."""
        by_id = {ref.id: ref for ref in images.refs if ref.id in worst_255}

        def ask(part: Sequence[ImageRef]) -> Ask:
            worst = {ref.id: worst_255[ref.id] for ref in part}
            sights = {ref.id: clean[ref.id] for ref in part}
            return partial(_pursued, attack=attack, worst=worst, clean=sights, ties=ties)

        for id_, pursued in self._ask(list(by_id.values()), ask):
            if isinstance(pursued, Fatal):
                pursued = Pursued(0, None, Work(), self.engine.width, error=pursued.why)
            yield by_id[id_], pursued

    def state(self) -> str:
        """What an audit must leave as it was, as a hash; words that are none where a worker's model changed itself."""
        return "changed in a worker" if self.changed_model else self.engine.state()

    def close(self) -> None:
        """End all workers."""
        if self._is_open:
            self.crew.close()

    def _ask(self, refs: Sequence[ImageRef], question: Callable[[Sequence[ImageRef]], Ask]) -> Iterator[Finding]:
        """Share images out among workers and yield what they find; `Fatal` where none lived to tell.

        Args:
            refs: the images.
            question: what to ask of some of them; with what is known of these alone, as it goes over the network.
        """
        yield from ((ref.id, self._fatal[ref.id]) for ref in refs if ref.id in self._fatal)
        refs = [ref for ref in refs if ref.id not in self._fatal]
        if refs:
            self._open()
            n = self._images_per_shard(len(refs))
            parts = (tuple(refs[start : start + n]) for start in range(0, len(refs), n))
            yield from self._merged(deque(Shard(part, question(part)) for part in parts))

    def _merged(self, waiting: deque[Shard]) -> Iterator[Finding]:
        """Give shards to whoever is idle, and yield what comes back, until nothing is left."""
        deaths: Counter[str] = Counter()
        deaths_in_a_row = 0
        while waiting or any(shard is not None for _, shard in self._at_work.values()):
            while self._idle and waiting:
                self._give(self._idle.pop(), waiting.popleft())
            for future in self._next():
                number, shard = self._at_work.pop(future)
                findings: Iterable[Finding] = ()
                try:
                    result = self.crew.result(future)
                except WorkerLostError as error:
                    deaths_in_a_row += 1
                    self._require_hope(deaths_in_a_row, error)
                    self._start(number)
                    if shard is not None:
                        findings = self._blamed(shard, error, waiting, deaths)
                else:
                    findings = self._taken(number, shard, result, waiting)
                for finding in findings:
                    deaths_in_a_row = 0
                    yield finding

    def _taken(
        self, number: int, shard: Shard | None, result: Place | Found, waiting: deque[Shard]
    ) -> tuple[Finding, ...]:
        """Take what a worker tells, and give it more to do at once, so that it need not wait for what is done with it.

        Raises:
            SettingsError: it computes otherwise than the driver, or the model answers no image at all.
        """
        if isinstance(result, Place):
            self._was_ready = True
            self._require_alike(result)
            self._idle.append(number)
            return ()
        assert shard is not None
        self.changed_model |= result.changed_model
        if result.findings:
            self._n_hangs = 0
        left = shard.without({id_ for id_, _ in result.findings})
        if result.hangs_at:
            self._start(number)
            return (*result.findings, *self._hanging(left, result.hangs_at, waiting))
        if result.is_end:
            self._idle.append(number)
        else:
            self._give(number, left, goes_on=True)
        return result.findings

    def _hanging(self, shard: Shard, hangs_at: frozenset[str], waiting: deque[Shard]) -> tuple[Finding, ...]:
        """Find the image to blame: alone it is found out, several are queued again each by itself.

        Raises:
            SettingsError: it is not the images.
        """
        self._n_hangs += 1
        if self._n_hangs >= MAX_HANGS_IN_A_ROW:
            raise SettingsError(
                f"the model has not answered for {self.hang_after:g} s, {self._n_hangs} times one after another, last "
                f"asked about {min(hangs_at)}; mend it, or allow more with --hang-after. The same command continues"
            )
        suspects, others = shard.only(hangs_at), shard.without(set(hangs_at))
        if others.refs:
            waiting.append(others)
        if len(suspects.refs) == 1:
            return (self._give_up(suspects.refs[0], f"the model had not answered after {self.hang_after:g} s"),)
        self.progress.say(
            f"the model has not answered for {self.hang_after:g} s, asked about {len(suspects.refs)} images; each is "
            "asked about by itself"
        )
        waiting.extend(replace(shard, refs=(ref,)) for ref in suspects.refs)
        return ()

    def _give_up(self, ref: ImageRef, why: str) -> Finding:
        """Take an image for an error, now and for all further questions."""
        self.progress.say(f"{ref.id}: {why}; it counts as an error")
        fatal = self._fatal[ref.id] = Fatal(why)
        return ref.id, fatal

    def _give(self, number: int, shard: Shard, *, goes_on: bool = False) -> None:
        self._at_work[self.crew.find(number, None if goes_on else shard)] = (number, shard)

    def _blamed(
        self, shard: Shard, error: WorkerLostError, waiting: deque[Shard], deaths: Counter[str]
    ) -> tuple[Finding, ...]:
        """Queue what a lost worker left undone, in two halves: an image to blame is soon alone, and then found out."""
        if not shard.refs:
            return ()
        if len(shard.refs) > 1:
            self.progress.say(f"a worker was lost ({error}); {len(shard.refs)} unfinished images are queued again")
            waiting.extend(shard.halves())
            return ()
        (ref,) = shard.refs
        deaths[ref.id] += 1
        if deaths[ref.id] < MAX_DEATHS:
            self.progress.say(f"a worker was lost ({error}); {ref.id} is queued again")
            waiting.append(shard)
            return ()
        return (self._give_up(ref, f"{MAX_DEATHS} workers died of it, one after another ({error})"),)

    def _open(self) -> None:
        """Start the workers, the first time."""
        if self._is_open:
            return
        self._is_open = True
        orders = sealed(self.engine, self.images, self.hang_after)
        self.crew.open(orders, self.engine.device.type, self._place.n_threads)
        self.progress.say(f"{self.crew.size} workers, engine {self.crew.name}")
        for number in range(self.crew.size):
            self._start(number)

    @property
    def _place(self) -> Place:
        return place_of(self.engine.device)

    def _start(self, number: int) -> None:
        self._at_work[self.crew.start(number)] = (number, None)

    def _next(self) -> set[Future[Any]]:
        """Wait for a worker to tell something."""
        while True:
            ended = wait(self._at_work, PATIENCE_SECONDS, FIRST_COMPLETED).done
            if ended:
                return ended
            if all(shard is None for _, shard in self._at_work.values()):
                self.progress.say(f"no worker is ready{self.crew.waits_for}; Ctrl-C keeps what is done")

    def _require_alike(self, place: Place) -> None:
        """Refuse a worker whose numbers would differ from the driver's.

        Raises:
            SettingsError: naming what differs.
        """
        if difference := self._place.difference(place):
            raise SettingsError(
                f"--engine {self.crew.name}: {place.process} has {difference}; a row would depend on who measured it. "
                "Start driver and workers in one environment, on machines of one kind"
            )

    def _require_hope(self, deaths_in_a_row: int, error: WorkerLostError) -> None:
        """Go on as long as another worker may do better.

        Raises:
            SettingsError: none will.
        """
        beyond_one_each = deaths_in_a_row - self.crew.size
        if not self._was_ready and beyond_one_each >= MAX_FAILED_STARTS:
            raise SettingsError(
                f"--engine {self.crew.name}: no worker has come to life, {deaths_in_a_row} died as they started "
                f"({error}); use fewer of them if memory is short; a script needs `if __name__ == '__main__':` around "
                "its calls, for every worker reads it again. The same command continues"
            )
        if beyond_one_each >= MAX_DEATHS_IN_A_ROW:
            raise SettingsError(
                f"--engine {self.crew.name}: {deaths_in_a_row} workers died one after another without finding anything "
                f"({error}); use fewer of them if memory is short. The same command continues"
            )

    def _images_per_shard(self, n_images: int) -> int:
        even = math.ceil(n_images / (SHARDS_PER_WORKER * self.crew.size))
        return min(max(even, self.engine.width), MAX_BATCHES_PER_SHARD * self.engine.width)


# What workers are asked. Pictures come back on the CPU, alone: the batch they were part of stays where it was.


def _sights(engine: Engine, images: Images) -> Iterator[Finding]:
    for ref, sight in engine.clean_sights(images, images.refs):
        yield ref.id, sight


def _measured(
    engine: Engine, images: Images, *, keep: frozenset[str], clean: Mapping[str, Sight] | None
) -> Iterator[Finding]:
    for measured in engine.measure(images, images.refs, keep, clean):
        yield measured.row.id, replace(measured, adversarial=_brought_home(measured.adversarial))


def _pursued(
    engine: Engine,
    images: Images,
    *,
    attack: AnyAttack,
    worst: Mapping[str, int | None],
    clean: Mapping[str, Sight],
    ties: bool,
) -> Iterator[Finding]:
    left = {ref.id: worst[ref.id] for ref in images.refs}
    for ref, pursued in engine.pursue(images, attack, left, clean, ties=ties):
        yield ref.id, replace(pursued, adversarial=_brought_home(pursued.adversarial))


def _brought_home(adversarial: Adversarial | None) -> Adversarial | None:
    if adversarial is None:
        return None
    return replace(adversarial, picture=adversarial.picture.detach().cpu().clone())
