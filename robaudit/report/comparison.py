"""Two audits -> everything the report says, as ready strings. All arithmetic ends here; templates only place."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robaudit.records import AuditRecord
from robaudit.report.believability import Checks, believable, checks_of, checks_spoken
from robaudit.report.comparable import require_comparable, unpairable
from robaudit.report.curves import Plot, Table, attack_plots, class_table, counts_table, worst_case_plot
from robaudit.report.gallery import Exhibit, gallery
from robaudit.report.method import NOT_CLAIMED, Method, method
from robaudit.report.naming import Naming, naming
from robaudit.report.paired import paired_tests
from robaudit.report.recall import worst_class
from robaudit.report.sources import Source, read_source
from robaudit.report.verdict import TONES, Paired, Verdict, verdict
from robaudit.report.words import (
    UPPER_BOUND,
    capital,
    eps,
    interval,
    listed,
    number,
    of,
    p_value,
    percent,
)
from robaudit.tally import headline_eps


@dataclass(frozen=True)
class PairedRow:
    """One paired test, in words."""

    eps: str
    n_images: str
    only_before: str
    only_after: str
    p: str
    answer: str
    tone: str


@dataclass(frozen=True)
class Comparison:
    """The whole report."""

    title: str
    created: str
    notes: tuple[str, ...]
    """What a reader must know about the images first."""
    names: Naming
    verdict: Verdict
    upper_bound: str
    checks_spoken: tuple[str, ...]
    headline_eps: str
    worst_case: Plot
    attacks: tuple[Plot, ...]
    counts: Table
    paired: tuple[PairedRow, ...]
    unpaired: str
    """Why there is no paired test; empty where there is."""
    checks: tuple[Checks, ...]
    classes: Table
    worst_classes: tuple[str, ...]
    gallery: tuple[Exhibit, ...]
    method: Method
    not_claimed: tuple[str, ...]


def read_comparison(before: Path, after: Path, *, without_glcm: Path | None = None) -> Comparison:
    """Read two audits from disk and compare them.

    Args:
        before: audit.json of the first model.
        after: audit.json of the second model.
        without_glcm: audit.json of a retrofit trained without GLCM loss; its pictures join the gallery.

    Raises:
        RecordError: a record cannot be read, or the audits are not comparable.
    """
    return compare_sources(read_source(before), read_source(after), read_source(without_glcm) if without_glcm else None)


def compare_sources(before: Source, after: Source, without_glcm: Source | None = None) -> Comparison:
    """Compare two audits.

    Raises:
        RecordError: the audits are not comparable.
    """
    first, second = before.record, after.record
    require_comparable(first, second)
    if without_glcm:
        require_comparable(first, without_glcm.record)
    names = naming(first, second)
    differing = unpairable(first, second)
    claim = believable(first, second) and not differing
    paired = paired_tests(before.rows, after.rows, first.threat_model.eps_255) if claim else None
    return Comparison(
        title=f"{capital(names.before)} against {names.after}",
        created=second.created.strftime("%d %B %Y"),
        notes=tuple(dict.fromkeys(note for note in (first.data.note, second.data.note) if note)),
        names=names,
        verdict=verdict(first, second, paired, differing, names),
        upper_bound=UPPER_BOUND,
        checks_spoken=checks_spoken(first, second, names),
        headline_eps=eps(headline_eps(second.threat_model.eps_255)),
        worst_case=worst_case_plot(first, second, names),
        attacks=attack_plots(first, second, names),
        counts=counts_table(first, second, names),
        paired=_paired_rows(paired) if paired else (),
        unpaired=_why_unpaired(first, second, differing),
        checks=(checks_of(first, names.before), checks_of(second, names.after)),
        classes=class_table(first, second, names),
        worst_classes=tuple(
            _worst_class(record, name) for record, name in ((first, names.before), (second, names.after))
        ),
        gallery=gallery(before, after, without_glcm, names),
        method=method(first, second),
        not_claimed=NOT_CLAIMED,
    )


def _why_unpaired(before: AuditRecord, after: AuditRecord, differing: Sequence[str]) -> str:
    if not believable(before, after):
        return "An audit is inconclusive, and a test of doubtful counts is a doubtful test."
    return f"The two audits differ in {listed(differing)}." if differing else ""


def _paired_rows(paired: Paired) -> tuple[PairedRow, ...]:
    return tuple(
        PairedRow(
            eps=eps(test.eps_255),
            n_images=number(test.n_images),
            only_before=number(test.only_before),
            only_after=number(test.only_after),
            p=p_value(test.p),
            answer=test.answer,
            tone=TONES[test.answer],
        )
        for test in (paired[0], *paired[1])
    )


def _worst_class(record: AuditRecord, name: str) -> str:
    worst = worst_class(record)
    if worst is None:
        return f"{capital(name)}: no images."
    class_name, tally = worst
    return f"{capital(name)}: {class_name}, {of(tally)} ({percent(tally)}, 95% interval {interval(tally)})."
