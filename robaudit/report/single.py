"""One audit -> what its page says."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from robaudit.records import AuditRecord
from robaudit.report.diagnostics import Diagnosed, read_diagnostics
from robaudit.report.gallery import Hung
from robaudit.report.page import Kind, Page, shared
from robaudit.report.recall import headline_point, recall_kinds, worst_class
from robaudit.report.sides import Side, one_side
from robaudit.report.sources import Source, read_source
from robaudit.report.training import Training, read_training
from robaudit.report.verdict import Figure, FirstScreen, doubts, headline_tallies, measured, reading
from robaudit.report.words import eps, of, percent_at_most


@dataclass(frozen=True)
class SingleAudit(Page):
    """The page of one audit."""

    kind: ClassVar[Kind] = "single"


def read_single(path: Path) -> SingleAudit:
    """Read an audit from disk and lay out its page.

    Raises:
        RecordError: the record cannot be read.
    """
    source = read_source(path)
    return single_audit(source, training=read_training(source.record), diagnosed=read_diagnostics(source.record))


def single_audit(
    source: Source, *, training: Training | None = None, diagnosed: Diagnosed | None = None
) -> SingleAudit:
    """Lay out the page of one audit."""
    record = source.record
    sides = one_side(record)
    return SingleAudit(
        title=f"Audit of {record.model.arch}",
        verdict=_verdict(record, sides[0]),
        shared=shared(sides, walls=[Hung("after", "this audit", source)], training=training, diagnosed=diagnosed),
    )


def _verdict(record: AuditRecord, side: Side) -> FirstScreen:
    point = headline_point(record)
    if record.doubts:
        headline = "Inconclusive: this audit cannot tell how robust the model is."
        tone, label = "inconclusive", "Inconclusive"
    else:
        headline = (
            f"At most {of(point)} images ({percent_at_most(point)}) stay correct when every pixel may change by "
            f"{eps(point.eps_255)}."
        )
        tone, label = "none", "Measured"
    return FirstScreen(
        tone=tone,
        label=label,
        headline=headline,
        sentences=_sentences(record),
        alarms=tuple(doubts(record, "this audit")),
        figures=(*_figures(record, side), *_worst_class(record, side)),
    )


def _sentences(record: AuditRecord) -> tuple[str, ...]:
    said = () if record.doubts else (record.verdict.sentence,)
    return (*said, f"Without any attack the model is right about {measured(record.clean)}.")


def _figures(record: AuditRecord, side: Side) -> list[Figure]:
    return [Figure(name, (reading(side, tally),)) for name, tally in headline_tallies(record).values()]


def _worst_class(record: AuditRecord, side: Side) -> list[Figure]:
    worst = worst_class(record)
    if worst is None:
        return []
    name, tally = worst
    where = eps(headline_point(record).eps_255)
    kind = recall_kinds(record).get(name)
    called = f"{name} ({kind})" if kind else name
    return [Figure(f"Worst class at {where}: {called}", (reading(side, tally),))]
