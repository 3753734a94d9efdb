"""Many audits -> one page: a model's history, or several candidates. Each is compared with the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from robaudit.records import by_eps
from robaudit.report.comparable import further_attacks, what_further_attacks_mean, why_untested
from robaudit.report.curves import Cell, cell
from robaudit.report.page import Kind, Page, shared
from robaudit.report.paired import Answer, Paired, PairedTest, corrected, uncorrected
from robaudit.report.recall import headline_point, worst_class
from robaudit.report.retrofit_folder import recorded_training
from robaudit.report.rival import rivals, what_they_add
from robaudit.report.sides import Side, many_sides, names_from_paths
from robaudit.report.sources import Source, read_source
from robaudit.report.verdict import LABELS, TONES, Alarm, FirstScreen, change, doubts, everywhere, in_words, tone_of
from robaudit.report.words import eps, listed, number
from robaudit.retrofit_records import TrainingRecord
from robaudit.significance import p_value

MOST_DRAWN = 12
"""More lines do not differ enough in one chart; the tables list every audit."""

_WORDS: dict[Answer, str] = {
    "improved": "higher in {}",
    "worse": "lower in {}",
    "no evidence": "not known to differ in {}",
}


@dataclass(frozen=True)
class Answered:
    """What a paired test against the first audit says at one eps."""

    eps: str
    answer: str
    tone: str
    p: str


@dataclass(frozen=True)
class Entry:
    """One audit of the page."""

    side: Side
    created: str
    verdict: str
    clean: Cell
    headline: Cell
    largest: Cell
    worst_class: str
    n_images: str
    change: str
    """Of the headline number against the first audit, in points; empty for the first and where nothing is claimed."""
    answer: str
    tone: str
    why: str
    """Why nothing is claimed; empty where a test was made."""
    answers: tuple[Answered, ...]
    n_loud: str
    """How many checks spoke up."""


@dataclass(frozen=True)
class History(Page):
    """The page of many audits."""

    kind: ClassVar[Kind] = "history"
    entries: tuple[Entry, ...]
    largest_eps: str
    harder: str
    """Which models faced further attacks, and what that means; empty where none did."""
    n_tests: str
    """How many tests Holm's correction counts; empty where none was made."""
    tested_eps: tuple[str, ...]
    left_out: str
    """Which audits the charts leave out; empty where they show all."""


def read_history(paths: Sequence[Path]) -> History:
    """Read audits from disk and lay them out, in the order given.

    Raises:
        RecordError: a record cannot be read.
    """
    sources = [read_source(path) for path in paths]
    return history(names_from_paths(paths), sources, [recorded_training(source.record) for source in sources])


def history(
    names: Sequence[str], sources: Sequence[Source], trainings: Sequence[TrainingRecord | None] = ()
) -> History:
    """Lay out audits; each is tested against the first where both asked the same question in the same way.

    Args:
        names: of the audits.
        sources: the audits.
        trainings: how their models were trained, where known: an assimilated one is tested against its rival too.
    """
    sides = many_sides(names, [source.record for source in sources])
    drawn = sides if len(sides) <= MOST_DRAWN else (sides[0], *sides[1 - MOST_DRAWN :])
    whys = ["", *(why_untested(sources[0].record, other.record) for other in sources[1:])]
    tests = _tests(sources, whys)
    harder = _attacked_harder(sides, whys)
    entries = tuple(_entry(*found) for found in zip(sides, [sides[0]] * len(sides), whys, tests, strict=True))
    made = [test for test in tests if test]
    return History(
        title=f"{len(sides)} audits",
        verdict=_verdict(
            entries,
            sides,
            [*_added(names, sources, trainings), *([harder] if harder else [])],
            [one for _, attacked in made for one in attacked],
        ),
        shared=shared(sides, drawn=drawn),
        entries=entries,
        largest_eps=eps(sides[0].record.threat_model.eps_255[-1]),
        harder=harder,
        n_tests=number(sum(len(attacked) for _, attacked in made)) if made else "",
        tested_eps=tuple(eps(test.eps_255) for test in _each(made[0])) if made else (),
        left_out=listed([side.name for side in sides if side not in drawn]),
    )


def _tests(sources: Sequence[Source], whys: Sequence[str]) -> list[Paired | None]:
    """Test each audit against the first; p is corrected over all audits and eps at once, clean over all audits."""
    first = sources[0]
    raw = [
        _raw(first, source) if position and not why else None
        for position, (source, why) in enumerate(zip(sources, whys, strict=True))
    ]
    clean = iter(corrected([tests[0] for tests in raw if tests]))
    attacked = iter(corrected([test for tests in raw if tests for test in tests[1]]))
    return [tests and (next(clean), tuple(next(attacked) for _ in tests[1])) for tests in raw]


def _each(tests: Paired | None) -> tuple[PairedTest, ...]:
    """The test of clean accuracy, and those under attack."""
    return (tests[0], *tests[1]) if tests else ()


def _raw(first: Source, other: Source) -> Paired:
    further = further_attacks(first.record, other.record)
    return uncorrected(first.rows, other.rows, first.record.threat_model.eps_255, further=further)


def _attacked_harder(sides: Sequence[Side], whys: Sequence[str]) -> str:
    first = sides[0]
    tested = [side for side, why in zip(sides, whys, strict=True) if not why]
    return what_further_attacks_mean(
        first.name, {side.name: further_attacks(first.record, side.record) for side in tested}
    )


def _entry(side: Side, first: Side, why: str, tests: Paired | None) -> Entry:
    record, headline = side.record, headline_point(first.record)
    points = by_eps(record.worst_case.points)
    # Of an audit of other eps only what stands at the first one's eps has a place in the columns.
    point = points.get(headline.eps_255)
    worst = worst_class(record) if headline_point(record).eps_255 == headline.eps_255 else None
    test = next((test for test in _each(tests) if test.eps_255 == headline.eps_255), None)
    return Entry(
        side=side,
        created=record.created.strftime("%Y-%m-%d %H:%M"),
        verdict="inconclusive" if record.doubts else "measured",
        clean=cell(record.clean),
        headline=cell(point),
        largest=cell(points.get(first.record.threat_model.eps_255[-1])),
        worst_class=worst[0] if worst else "",
        n_images=number(record.clean.n_images),
        change=change(headline, point) if test and point else "",
        answer="" if side is first else in_words(test.answer) if test else "no claim",
        tone=TONES[test.answer] if test else "none",
        why=why,
        answers=tuple(map(_answered, _each(tests))),
        n_loud=number(sum(check.speaks_up for check in record.checks)) if record.checks else "none run",
    )


def _answered(test: PairedTest) -> Answered:
    return Answered(eps(test.eps_255), test.answer, TONES[test.answer], p_value(test.p))


def _verdict(
    entries: Sequence[Entry], sides: Sequence[Side], added: Sequence[str], tests: Sequence[PairedTest]
) -> FirstScreen:
    first, others = entries[0], entries[1:]
    where = eps(headline_point(sides[0].record).eps_255)
    found = {answer: [entry.side.name for entry in others if entry.answer == in_words(answer)] for answer in _WORDS}
    clauses = [_WORDS[answer].format(listed(names)) for answer, names in found.items() if names]
    unclaimed = [entry.side.name for entry in others if entry.why]
    if clauses:
        headline = f"Against {first.side.name}, worst-case robust accuracy at {where} is {'; '.join(clauses)}."
    else:
        headline = f"No claim: none of these audits can be tested against {first.side.name}."
    tone = tone_of(tests) if clauses else "unpaired"
    return FirstScreen(
        tone=tone,
        label=LABELS[tone] if everywhere(tests) else f"{LABELS[tone]} in part",
        headline=headline,
        sentences=(
            *added,
            *([f"Nothing is claimed of {listed(unclaimed)}; the table says why."] if unclaimed and clauses else []),
            _checks_spoken(sides),
        ),
        alarms=tuple(_alarms(sides)),
        figures=(),
    )


def _added(names: Sequence[str], sources: Sequence[Source], trainings: Sequence[TrainingRecord | None]) -> list[str]:
    """What T and C add in each model, where the same training without them is on the page too.

    These tests too are corrected over all such pairs and eps at once.
    """
    trained = list(zip(names, sources, trainings, strict=False))
    pairs = [
        (f"{name} against {alone}", pair, other, source)
        for name, source, training in trained
        for alone, other, of_other in trained
        if (pair := rivals(of_other, training))
    ]
    whys = [why_untested(alone.record, with_front.record) for _, _, alone, with_front in pairs]
    raw = [() if why else _raw(*sources)[1] for (_, _, *sources), why in zip(pairs, whys, strict=True)]
    n_tests = sum(map(len, raw))
    adjusted = iter(corrected([test for tests in raw for test in tests]))
    return [
        f"{which}: {what_they_add(pair, [next(adjusted) for _ in tests], why, n_tests=n_tests)}"
        for (which, pair, *_), tests, why in zip(pairs, raw, whys, strict=True)
    ]


def _checks_spoken(sides: Sequence[Side]) -> str:
    """Say in one sentence where checks spoke up; the section on checks has each of them."""
    loud = {side.name: sum(check.speaks_up for check in side.record.checks) for side in sides}
    unchecked = [side.name for side in sides if not side.record.checks]
    spoke = [f"{number(count)} in {name}" for name, count in loud.items() if count]
    said = f"Checks that spoke up: {listed(spoke)}." if spoke else "No check spoke up."
    return f"{said} No believability checks were run in {listed(unchecked)}." if unchecked else said


def _alarms(sides: Sequence[Side]) -> list[Alarm]:
    """One alarm for all that the pages of the audits raise one each for."""
    found = tuple(alarm.line for side in sides for alarm in doubts(side.record, f"the {side.name} audit"))
    return [Alarm("Not all of these audits can be relied on in full", found)] if found else []
