"""What the checks of an audit say about its own numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from robaudit.records import AuditRecord, Check
from robaudit.report.naming import Naming
from robaudit.report.words import NOT_MEASURED, capital, listed


@dataclass(frozen=True)
class CheckRow:
    """One check, in words."""

    id: str
    status: str
    value: str
    threshold: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Checks:
    """The checks of one audit: those that spoke up, and the rest."""

    name: str
    title: str
    loud: tuple[CheckRow, ...]
    quiet: tuple[CheckRow, ...]


def believable(before: AuditRecord, after: AuditRecord) -> bool:
    """Whether both audits stand by their numbers."""
    return before.verdict.kind == after.verdict.kind == "measured"


def speaks_up(check: Check) -> bool:
    """Whether a check has something to say."""
    return check.status in ("warning", "failed")


def checks_of(record: AuditRecord, name: str) -> Checks:
    """Lay out the checks of one audit."""
    return Checks(
        name=name,
        title=capital(f"{name} audit"),
        loud=tuple(_row(check) for check in record.checks if speaks_up(check)),
        quiet=tuple(_row(check) for check in record.checks if not speaks_up(check)),
    )


def checks_spoken(before: AuditRecord, after: AuditRecord, names: Naming) -> tuple[str, ...]:
    """Say on the first screen which checks spoke up, or that none were run."""
    if not before.checks and not after.checks:
        return ("No believability checks were run in either audit.",)
    return _spoken(before.checks, names.before), _spoken(after.checks, names.after)


def _spoken(checks: Sequence[Check], name: str) -> str:
    if not checks:
        return f"No believability checks were run in the {name} audit."
    loud = [f"{check.id} ({check.status})" for check in checks if speaks_up(check)]
    if not loud:
        return f"No check of the {name} audit spoke up; run were {listed([check.id for check in checks])}."
    return f"Checks of the {name} audit that spoke up: {listed(loud)}."


def _row(check: Check) -> CheckRow:
    value, threshold = (
        NOT_MEASURED if reading is None else f"{reading:g}" for reading in (check.value, check.threshold)
    )
    return CheckRow(check.id, check.status.replace("_", " "), value, threshold, check.why, check.remedy)
