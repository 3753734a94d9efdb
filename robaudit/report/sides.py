"""The audits that a page shows side by side: one alone, before and after, or a row of many."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robaudit.records import AUDIT_FILE, AuditRecord
from robaudit.report.chart import AFTER, BEFORE, MARKERS, Look, look_among_many
from robaudit.report.naming import Naming


@dataclass(frozen=True)
class Side:
    """One audit, what it is called, and how its lines are drawn."""

    name: str
    look: Look
    record: AuditRecord


def two_sides(before: AuditRecord, after: AuditRecord, names: Naming) -> tuple[Side, ...]:
    """Before is dashed, after is solid."""
    return Side(names.before, BEFORE, before), Side(names.after, AFTER, after)


def one_side(record: AuditRecord) -> tuple[Side, ...]:
    """One audit is drawn solid."""
    return (Side("this audit", AFTER, record),)


def many_sides(names: Sequence[str], records: Sequence[AuditRecord]) -> tuple[Side, ...]:
    """Each audit has its own colour, marker and dashes.

    Of more than there are markers the later ones begin again after the first's: that one is drawn beside all of them.
    """
    looks = [look_among_many(position and 1 + (position - 1) % (len(MARKERS) - 1)) for position in range(len(names))]
    return tuple(Side(*named) for named in zip(names, looks, records, strict=True))


def names_from_paths(paths: Sequence[Path]) -> list[str]:
    """Call each audit by the shortest end of its path that no other has: the folder's name, mostly.

    What is given several times is numbered.
    """
    places = [_place(path.resolve()) for path in paths]
    names = {place: place[-1] for place in places}
    for depth in range(2, max(map(len, places)) + 1):
        taken = Counter(names.values())
        names = {place: "/".join(place[-depth:]) if taken[name] > 1 else name for place, name in names.items()}
    given = Counter(places)
    return [
        f"{names[place]} ({places[: position + 1].count(place)})" if given[place] > 1 else names[place]
        for position, place in enumerate(places)
    ]


def _place(path: Path) -> tuple[str, ...]:
    """Return the folders above an audit.json, or the file itself where it has a name of its own."""
    return (path.parent if path.name == AUDIT_FILE else path.with_suffix("")).parts[1:] or ("audit",)
