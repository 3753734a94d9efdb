"""The curves of two audits: what the charts draw, and what the tables beside them say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from robaudit.intervals import wilson
from robaudit.records import AuditRecord, Point, Tally
from robaudit.report.chart import LARGE, MARKERS, SMALL, Chart, Curve, Frame, Value, draw, legend_marker
from robaudit.report.naming import Naming
from robaudit.report.recall import recall_kinds
from robaudit.report.words import attack_name, capital, eps, interval, number, of, percent, share


@dataclass(frozen=True)
class Cell:
    """A share as a table shows it."""

    count: str
    percent: str
    interval: str


@dataclass(frozen=True)
class Row:
    """One side of a group: its name, and a cell per eps."""

    side: str
    name: str
    n_images: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Group:
    """What one attack, or one class, shows for both sides."""

    name: str
    note: str
    hue: str
    marker: str
    rows: tuple[Row, ...]


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
    tallies: dict[str, dict[int, Tally]]
    note: str = ""


def worst_case_plot(before: AuditRecord, after: AuditRecord, names: Naming) -> Plot:
    """Plot the number that counts, large."""
    return _plot(_worst_case(before, after), LARGE, names, key="worst-case")


def attack_plots(before: AuditRecord, after: AuditRecord, names: Naming) -> tuple[Plot, ...]:
    """Plot each attack, small, one beside the other."""
    return tuple(
        _plot(subject, SMALL, names, key=f"attack-{position}")
        for position, subject in enumerate(_attacks(before, after), start=1)
    )


def counts_table(before: AuditRecord, after: AuditRecord, names: Naming) -> Table:
    """Tabulate every curve: the worst case, then each attack."""
    return _table([_worst_case(before, after), *_attacks(before, after)], names)


def class_table(before: AuditRecord, after: AuditRecord, names: Naming) -> Table:
    """Tabulate worst-case recall class by class."""
    return _table(_classes(before, after), names)


def cell(tally: Tally) -> Cell:
    """Show a tally: how many, which share, how sure."""
    return Cell(number(tally.n_correct), percent(tally), interval(tally))


def _worst_case(before: AuditRecord, after: AuditRecord) -> _Subject:
    tallies = {side: _overall(record, record.worst_case.points) for side, record in _sides(before, after)}
    return _Subject("Worst case", "worst", "circle", tallies)


def _attacks(before: AuditRecord, after: AuditRecord) -> list[_Subject]:
    curves: dict[str, dict[str, dict[int, Tally]]] = {}
    for side, record in _sides(before, after):
        for attack in record.attacks:
            curves.setdefault(attack.name, {})[side] = _overall(record, attack.points)
    return [
        _Subject(attack_name(name), f"hue-{_style(position) + 1}", MARKERS[_style(position)], tallies)
        for position, (name, tallies) in enumerate(curves.items())
    ]


def _classes(before: AuditRecord, after: AuditRecord) -> list[_Subject]:
    return [
        _Subject(name, "worst", "circle", {s: _of_class(r, name) for s, r in _sides(before, after)}, note=kind)
        for name, kind in recall_kinds(after).items()
    ]


def _sides(before: AuditRecord, after: AuditRecord) -> list[tuple[str, AuditRecord]]:
    return [("before", before), ("after", after)]


def _overall(record: AuditRecord, points: Iterable[Point]) -> dict[int, Tally]:
    return {0: record.clean, **{point.eps_255: point for point in points}}


def _of_class(record: AuditRecord, name: str) -> dict[int, Tally]:
    absent = Tally(n_correct=0, n_images=0)
    attacked = {point.eps_255: point.per_class.get(name, absent) for point in record.worst_case.points}
    return {0: record.clean.per_class.get(name, absent), **attacked}


def _style(position: int) -> int:
    return position % len(MARKERS)


def _plot(subject: _Subject, frame: Frame, names: Naming, *, key: str) -> Plot:
    chart = draw(
        [_curve(subject, side, names) for side in subject.tallies],
        frame,
        key=key,
        hue=subject.hue,
        marker=subject.marker,
        title=f"Accuracy against eps: {subject.name}",
        description=" ".join(_fall(_name(side, names), tallies) for side, tallies in subject.tallies.items()),
    )
    return Plot(chart, _table([subject], names))


def _curve(subject: _Subject, side: str, names: Naming) -> Curve:
    where = f"{subject.name}, {_name(side, names)}"
    return Curve(side, tuple(_value(eps_255, tally, where) for eps_255, tally in subject.tallies[side].items()))


def _value(eps_255: int, tally: Tally, where: str) -> Value:
    low, high = wilson(tally.n_correct, tally.n_images)
    words = f"{where}, {eps(eps_255)}: {of(tally)} correct, {percent(tally)} (95% interval {interval(tally)})"
    return Value(eps_255, share(tally), low, high, words)


def _fall(name: str, tallies: dict[int, Tally]) -> str:
    largest = max(tallies)
    return f"{capital(name)}: {percent(tallies[0])} clean, {percent(tallies[largest])} at {eps(largest)}."


def _table(subjects: Sequence[_Subject], names: Naming) -> Table:
    grid = next(iter(subjects[0].tallies.values()))
    return Table(tuple(eps(eps_255) for eps_255 in grid), tuple(_group(subject, names) for subject in subjects))


def _group(subject: _Subject, names: Naming) -> Group:
    rows = (_row(side, _name(side, names), tallies) for side, tallies in subject.tallies.items())
    return Group(subject.name, subject.note, subject.hue, legend_marker(subject.marker), tuple(rows))


def _row(side: str, name: str, tallies: dict[int, Tally]) -> Row:
    return Row(side, name, number(tallies[0].n_images), tuple(cell(tally) for tally in tallies.values()))


def _name(side: str, names: Naming) -> str:
    return names.before if side == "before" else names.after
