"""What the checks of an audit say about its own numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from robaudit.records import Check
from robaudit.report.guides import GUIDES_PAGE, guides
from robaudit.report.sides import Side
from robaudit.report.words import NOT_MEASURED, attack_name, capital, images, listed, number

MOST_ON_FIRST_SCREEN = 6


@dataclass(frozen=True)
class CheckRow:
    """One check, in words."""

    id: str
    anchor: str
    status: str
    value: str
    threshold: str
    why: str
    remedy: str
    notes: str
    """On how many images it was run, and what repaired it; mostly empty."""
    page: str
    """Where it is explained, beside the report; empty where it is not."""


@dataclass(frozen=True)
class Checks:
    """The checks of one audit: those that spoke up, and the rest."""

    name: str
    title: str
    sentence: str
    """For the first screen."""
    loud: tuple[CheckRow, ...]
    quiet: tuple[CheckRow, ...]

    @property
    def first(self) -> tuple[CheckRow, ...]:
        """Those of the first screen."""
        return self.loud[:MOST_ON_FIRST_SCREEN]

    @property
    def further(self) -> str:
        """How many more spoke up; empty where the first screen has them all."""
        return number(len(self.loud) - len(self.first)) if len(self.loud) > len(self.first) else ""


def checks_of(sides: Sequence[Side]) -> tuple[Checks, ...]:
    """Lay out the checks of each audit, failed ones first."""
    return tuple(_checks(side, position) for position, side in enumerate(sides, start=1))


def _checks(side: Side, position: int) -> Checks:
    loudest_first = sorted(side.record.checks, key=lambda check: ("failed", "warning").index(check.status)
                           if check.speaks_up else 2)  # fmt: skip
    rows = [(check, _row(check, f"check-{position}-{n}")) for n, check in enumerate(loudest_first, start=1)]
    subject = "this audit" if side.name == "this audit" else f"the {side.name} audit"
    return Checks(
        name=side.name,
        title=capital(subject),
        sentence=_sentence(side.record.checks, subject),
        loud=tuple(row for check, row in rows if check.speaks_up),
        quiet=tuple(row for check, row in rows if not check.speaks_up),
    )


def _sentence(checks: Sequence[Check], subject: str) -> str:
    if not checks:
        return f"No believability checks were run in {subject}."
    asked = [check.id for check in checks if check.status != "not_applicable"]
    n_loud = sum(check.speaks_up for check in checks)
    if len(asked) == 1:
        the_one = f"The one check that applies to {subject}"
        return f"{the_one} spoke up:" if n_loud else f"{the_one} did not speak up: {asked[0]}."
    checked = f"{len(asked)} checks that apply to {subject}"
    if not n_loud:
        named = f": {listed(asked)}" if 0 < len(asked) <= MOST_ON_FIRST_SCREEN else ""
        return f"None of the {checked} spoke up{named}."
    return f"Of the {checked}, {n_loud} spoke up:"


def _row(check: Check, anchor: str) -> CheckRow:
    return CheckRow(
        check.id,
        anchor,
        check.status.replace("_", " "),
        _reading(check.value),
        _reading(check.threshold),
        check.why,
        check.remedy,
        _notes(check),
        f"{GUIDES_PAGE}#{check.id}" if check.id in guides() else "",
    )


def _reading(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:g}"


def _notes(check: Check) -> str:
    notes = [f"on a sample of {images(check.sample_size)}"] if check.sample_size is not None else []
    notes += [f"95% interval {check.interval[0]:g} to {check.interval[1]:g}"] if check.interval else []
    notes += [f"repaired by {attack_name(check.repaired_by)}"] if check.repaired_by else []
    return "; ".join(notes)
