"""The curves of one or more audits: what the charts draw, and what the tables beside them say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robaudit.intervals import wilson
from robaudit.records import AttackCurve, AuditRecord, Tally
from robaudit.report.chart import LARGE, MARKERS, SMALL, Chart, Curve, Frame, Look, Value, draw, hue, legend_marker
from robaudit.report.recall import recall_kinds
from robaudit.report.sides import Side
from robaudit.report.words import (
    NOT_MEASURED,
    attack_name,
    capital,
    eps,
    interval,
    listed,
    number,
    of,
    percent,
    share,
)

SURVIVORS = "ran on what the attacks before it left"
"""Said of an attack whose counts are not its own alone."""


@dataclass(frozen=True)
class Cell:
    """A share as a table shows it."""

    count: str
    percent: str
    interval: str


@dataclass(frozen=True)
class SideRow:
    """One side of a group: its name, and a cell per eps."""

    look: Look
    name: str
    n_images: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """What one attack, or one class, shows for every side."""

    name: str
    note: str
    hue: str
    marker: str
    rows: tuple[SideRow, ...]


@dataclass(frozen=True)
class Table:
    """Groups of rows against eps, clean first."""

    headings: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def span(self) -> str:
        """Columns of a row: its name, and one per eps."""
        return str(1 + len(self.headings))

    @property
    def by_eps(self) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
        """Turned on its side: an eps, and its cell in every row."""
        columns = zip(*(row.cells for group in self.groups for row in group.rows), strict=True)
        return tuple(zip(self.headings, columns, strict=True))


@dataclass(frozen=True)
class Plot:
    """A chart, and the numbers it draws."""

    chart: Chart
    table: Table


@dataclass(frozen=True)
class _Subject:
    """What is drawn or tabulated: tallies against eps on each side that has them, clean (0) first."""

    name: str
    hue: str
    marker: str
    tallies: tuple[tuple[Side, Mapping[int, Tally]], ...]
    note: str = ""


def worst_case_plot(sides: Sequence[Side]) -> Plot:
    """Plot the number that counts, large."""
    return _plot(_worst_case(sides), LARGE, key="worst-case")


def attack_plots(sides: Sequence[Side]) -> tuple[Plot, ...]:
    """Plot each attack, small, one beside the other."""
    return tuple(
        _plot(subject, SMALL, key=f"attack-{position}") for position, subject in enumerate(_attacks(sides), start=1)
    )


def counts_table(sides: Sequence[Side]) -> Table:
    """Tabulate every curve: the worst case, then each attack."""
    return _table([_worst_case(sides), *_attacks(sides)])


def class_table(sides: Sequence[Side]) -> Table:
    """Tabulate worst-case recall class by class."""
    return _table(_classes(sides))


def cell(tally: Tally | None) -> Cell:
    """Show a tally: how many, which share, how sure."""
    if tally is None:
        return Cell("", NOT_MEASURED, "")
    return Cell(number(tally.n_correct), percent(tally), interval(tally))


def ran_on_survivors(attack: AttackCurve) -> bool:
    """Whether an attack was only run on the images that the attacks before it left standing."""
    return attack.scope == "survivors"


def _worst_case(sides: Sequence[Side]) -> _Subject:
    tallies = tuple((side, side.record.tallies()) for side in sides)
    return _Subject("Worst case", "worst", "circle", tallies)


def _attacks(sides: Sequence[Side]) -> list[_Subject]:
    curves: dict[str, list[tuple[Side, AttackCurve]]] = {}
    for side in sides:
        for attack in side.record.attacks:
            curves.setdefault(attack.name, []).append((side, attack))
    return [
        _Subject(
            attack_name(name),
            hue(position),
            MARKERS[position % len(MARKERS)],
            tuple((side, side.record.tallies(attack.points)) for side, attack in ran),
            note=_note([attack for _, attack in ran]),
        )
        for position, (name, ran) in enumerate(curves.items())
    ]


def _note(ran: Sequence[AttackCurve]) -> str:
    """Say what sets an attack apart from the others of its page."""
    survivors = [SURVIVORS] if any(map(ran_on_survivors, ran)) else []
    asked = dict.fromkeys(attack.added_by for attack in ran if attack.added_by)
    return "; ".join([*survivors, *([f"added by the check {listed(list(asked))}"] if asked else [])])


def _classes(sides: Sequence[Side]) -> list[_Subject]:
    kinds: dict[str, str] = {}
    for side in sides:
        kinds |= recall_kinds(side.record)
    if len({side.record.data.positive for side in sides}) > 1:
        kinds = dict.fromkeys(kinds, "recall")  # what is sensitivity in one audit is not in the other
    return [
        _Subject(name, "worst", "circle", tuple((side, _of_class(side.record, name)) for side in sides), note=kind)
        for name, kind in kinds.items()
    ]


def _of_class(record: AuditRecord, name: str) -> dict[int, Tally]:
    absent = Tally(n_correct=0, n_images=0)
    return {eps_255: counts.per_class.get(name, absent) for eps_255, counts in record.tallies().items()}


def _plot(subject: _Subject, frame: Frame, *, key: str) -> Plot:
    chart = draw(
        [_curve(subject, side, tallies) for side, tallies in subject.tallies],
        frame,
        key=key,
        hue=subject.hue,
        marker=subject.marker,
        title=f"Accuracy against eps: {subject.name}",
        description=" ".join(_fall(side.name, tallies) for side, tallies in subject.tallies),
    )
    return Plot(chart, _table([subject]))


def _curve(subject: _Subject, side: Side, tallies: Mapping[int, Tally]) -> Curve:
    where = f"{subject.name}, {side.name}"
    return Curve(side.look, tuple(_value(eps_255, tally, where) for eps_255, tally in tallies.items()))


def _value(eps_255: int, tally: Tally, where: str) -> Value:
    words = f"{where}, {eps(eps_255)}: {of(tally)} correct, {percent(tally)} (95% interval {interval(tally)})"
    return Value(eps_255, share(tally), words, wilson(tally.n_correct, tally.n_images))


def _fall(name: str, tallies: Mapping[int, Tally]) -> str:
    largest = max(tallies)
    return f"{capital(name)}: {percent(tallies[0])} clean, {percent(tallies[largest])} at {eps(largest)}."


def _table(subjects: Sequence[_Subject]) -> Table:
    grid = sorted({eps_255 for subject in subjects for _, tallies in subject.tallies for eps_255 in tallies})
    return Table(tuple(eps(eps_255) for eps_255 in grid), tuple(_group(subject, grid) for subject in subjects))


def _group(subject: _Subject, grid: Sequence[int]) -> Group:
    rows = (_row(side, tallies, grid) for side, tallies in subject.tallies)
    return Group(subject.name, subject.note, subject.hue, legend_marker(subject.marker), tuple(rows))


def _row(side: Side, tallies: Mapping[int, Tally], grid: Sequence[int]) -> SideRow:
    cells = tuple(cell(tallies.get(eps_255)) for eps_255 in grid)
    return SideRow(side.look, side.name, number(tallies[0].n_images), cells)
