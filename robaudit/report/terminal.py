"""What a person reads in the terminal: one audit as tables, a comparison as a few lines. Plain when piped."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit.inert import inert
from robaudit.intervals import wilson
from robaudit.records import AuditRecord, Tally, by_eps
from robaudit.report.curves import ran_on_survivors
from robaudit.report.recall import headline_point, recall_kinds, worst_class
from robaudit.report.words import (
    NOT_MEASURED,
    UPPER_BOUND,
    attack_name,
    eps,
    images,
    interval,
    listed,
    number,
    of,
    percent,
)

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod, RenderableType
    from rich.table import Table

    from robaudit.report.page import Page

_CURVES_PER_TABLE = 4  # more do not fit beside the eps in 80 columns
_EPS_PER_TABLE = 8
_MOST_CLASSES = 8  # beyond that only the worst class is named, and the page has the rest
_BAR_WIDTH = 26
_UNBOUNDED = 10_000  # columns, to ask how wide a table would like to be
_IN_ASCII = str.maketrans({"█": "#", "▒": "=", "·": ".", "–": "-", "−": "-", "─": "-", "×": "x", "’": "'", "…": "..."})


def print_audit(record: AuditRecord, console: "Console", page: Path | None = None) -> None:
    """Print an audit to a console; a pipe gets plain text, and an ASCII terminal plain ASCII.

    Args:
        record: what was measured.
        console: where to.
        page: the audit's page, to be named as the next thing to open.
    """
    if console.encoding.startswith("utf"):
        _print(record, console, page)
        return
    with console.capture() as captured:
        _print(record, console, page)
    console.file.write(captured.get().translate(_IN_ASCII).encode("ascii", "backslashreplace").decode())


def _print(record: AuditRecord, console: "Console", page: Path | None) -> None:
    from rich.text import Text

    console.print(audit_summary(record, console))
    if page is not None:
        # A path that is broken over two lines cannot be copied.
        console.print(Text(inert(f"Next: open {page}"), style="bold"), soft_wrap=True)


def audit_summary(record: AuditRecord, console: "Console") -> "RenderableType":
    """Show one audit, as wide as the console: verdict, worst case, each attack, recall per class."""
    from rich.console import Group
    from rich.text import Text

    verdict_style = "bold" if record.verdict.kind == "measured" else "bold yellow"
    return Group(
        Text(inert(record.verdict.sentence), style=verdict_style),
        *(Text(inert(line), style="yellow") for line in _warnings(record)),
        _worst_case(record, console),
        *_attack_tables(record),
        *(Text(inert(line), style="dim") for line in _survivors(record)),
        *_tables("Worst case, class by class", _classes(record)),
        *(Text(inert(line)) for line in _closing(record)),
    )


def page_summary(page: "Page", written: Path) -> list[str]:
    """Tell of a page in a few lines: the verdict, the numbers and checks behind it, and where to read on."""
    verdict = page.verdict
    return [
        *page.shared.notes,
        verdict.headline,
        *(alarm.line for alarm in verdict.alarms),
        *verdict.sentences,
        *_checks_spoken(page),
        page.shared.upper_bound,
        f"Next: open {written}",
    ]


def _checks_spoken(page: "Page") -> list[str]:
    if page.kind == "history":  # its sentences sum them up
        return []
    return [
        line
        for checks in page.shared.checks
        for line in (checks.sentence, *(f"{row.id}, {row.status}: {row.why}" for row in checks.loud))
    ]


def _warnings(record: AuditRecord) -> list[str]:
    note = [record.data.note] if record.data.note else []
    return [*note, *(f"{check.id}, {check.status}: {check.why}" for check in record.checks if check.speaks_up)]


def _worst_case(record: AuditRecord, console: "Console") -> "Table":
    """Tabulate the worst case, with a small chart where the console has room for one beside the numbers."""
    charted = _worst_case_table(record, charted=True)
    wanted = console.measure(charted, options=console.options.update_width(_UNBOUNDED)).maximum
    return charted if wanted <= console.width else _worst_case_table(record, charted=False)


def _worst_case_table(record: AuditRecord, *, charted: bool) -> "Table":
    n_attacks = len(record.attacks)
    table = _table(f"Worst case over {n_attacks} attack{'s' * (n_attacks != 1)}")
    for name in ("correct", "accuracy", "95% interval"):
        table.add_column(name, justify="right", overflow="fold")
    if charted:
        table.add_column("0%".ljust(_BAR_WIDTH - 4) + "100%", style="cyan", no_wrap=True)
    for eps_255, tally in record.tallies().items():
        bar = [_bar(tally)] if charted else []
        table.add_row(eps(eps_255), of(tally), percent(tally), interval(tally), *bar)
    return table


def _attack_tables(record: AuditRecord) -> "list[Table]":
    """Tabulate a few attacks in full; of many only the shares, a line each, and the page has the rest."""
    from rich.text import Text

    attacks = _attacks(record)
    if len(attacks) <= _CURVES_PER_TABLE:
        return _tables("Under each attack", attacks)
    grid = record.threat_model.eps_255
    tables = []
    for start in range(0, len(grid), _EPS_PER_TABLE):
        shown = grid[start : start + _EPS_PER_TABLE]
        table = _table("Under each attack, accuracy", first="attack", justify="left")
        for eps_255 in shown:
            table.add_column(eps(eps_255), justify="right", overflow="fold")
        for name, curve in attacks.items():
            cells = (percent(curve[eps_255]) if eps_255 in curve else NOT_MEASURED for eps_255 in shown)
            table.add_row(Text(inert(name)), *cells)
        tables.append(table)
    return tables


def _attacks(record: AuditRecord) -> Mapping[str, Mapping[int, Tally]]:
    return {attack_name(attack.name): by_eps(attack.points) for attack in record.attacks}


def _classes(record: AuditRecord) -> dict[str, dict[int, Tally]]:
    kinds = recall_kinds(record)
    if len(kinds) > _MOST_CLASSES:
        return {}
    tallies = record.tallies()
    return {
        f"{name}: {kind}": {eps_255: counts.per_class[name] for eps_255, counts in tallies.items()}
        for name, kind in kinds.items()
    }


def _tables(title: str, curves: Mapping[str, Mapping[int, Tally]]) -> "list[Table]":
    """Tabulate curves as columns, a few to a table, each interval under its share."""
    from rich.text import Text

    tables = []
    for start in range(0, len(curves), _CURVES_PER_TABLE):
        columns = dict(list(curves.items())[start : start + _CURVES_PER_TABLE])
        table = _table(title)
        for name in columns:
            table.add_column(Text(inert(name)), justify="right", max_width=16, overflow="fold")
        for eps_255 in next(iter(columns.values())):
            tallies = [curve[eps_255] for curve in columns.values()]
            table.add_row(eps(eps_255), *(_cell(tally) for tally in tallies))
        tables.append(table)
    return tables


def _table(title: str, first: str = "eps", justify: "JustifyMethod" = "right") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title=title, title_style="bold", title_justify="left", padding=(0, 1, 0, 0))
    table.add_column(first, justify=justify, no_wrap=justify == "right", max_width=16, overflow="fold")
    return table


def _cell(tally: Tally) -> "RenderableType":
    from rich.text import Text

    return Text.assemble(f"{number(tally.n_correct)}  {percent(tally)}\n", (interval(tally), "dim"))


def _bar(tally: Tally) -> str:
    """Draw a share: full up to the lower end of its interval, grey up to the upper one."""
    low, high = (round(_BAR_WIDTH * end) for end in wilson(tally.n_correct, tally.n_images))
    return "█" * low + "▒" * (high - low) + "·" * (_BAR_WIDTH - high)


def _survivors(record: AuditRecord) -> list[str]:
    """Name the attacks whose counts are not their own alone."""
    names = [attack_name(attack.name) for attack in record.attacks if ran_on_survivors(attack)]
    return [f"Run on survivors of the attacks above, and counted together with them: {listed(names)}."] if names else []


def _closing(record: AuditRecord) -> list[str]:
    eps_255 = headline_point(record).eps_255
    worst = worst_class(record)
    worst_line = f"Worst class at {eps(eps_255)}: {worst[0]}, {of(worst[1])} ({percent(worst[1])})." if worst else ""
    errors = record.clean.n_errors
    error_line = f"{images(errors)} got no answer, counted as wrong." if errors else ""
    checks_line = "" if record.checks else "No believability checks were run."
    return [line for line in (worst_line, error_line, checks_line, UPPER_BOUND) if line]
