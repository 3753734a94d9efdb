"""What every page says, whether it shows one audit, two or many. All arithmetic ends here; templates only place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from robaudit.report.believability import Checks, checks_of
from robaudit.report.curves import Plot, Table, attack_plots, class_table, counts_table, worst_case_plot
from robaudit.report.diagnostics import Diagnosed
from robaudit.report.gallery import Exhibit, Hung, gallery
from robaudit.report.method import NOT_CLAIMED, Method, method
from robaudit.report.recall import worst_class
from robaudit.report.sides import Side
from robaudit.report.training import Training
from robaudit.report.verdict import FirstScreen
from robaudit.report.words import UPPER_BOUND, eps, interval, of, percent
from robaudit.tally import headline_eps

Kind = Literal["single", "comparison", "history"]


@dataclass(frozen=True)
class Shared:
    """The parts that all pages have."""

    created: str
    notes: tuple[str, ...]
    """What a reader must know about the images first."""
    sides: tuple[Side, ...]
    upper_bound: str
    headline_eps: str
    worst_case: Plot
    attacks: tuple[Plot, ...]
    counts: Table
    checks: tuple[Checks, ...]
    classes: Table
    worst_classes: tuple[str, ...]
    gallery: tuple[Exhibit, ...]
    training: Training | None
    diagnosed: Diagnosed | None
    method: Method
    not_claimed: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """One page of the report."""

    kind: ClassVar[Kind]
    """Names the template."""
    title: str
    verdict: FirstScreen
    shared: Shared


def shared(
    sides: Sequence[Side],
    *,
    drawn: Sequence[Side] | None = None,
    walls: Sequence[Hung] = (),
    training: Training | None = None,
    diagnosed: Diagnosed | None = None,
) -> Shared:
    """Work out the parts that all pages have.

    Args:
        sides: the audits, in order of the page.
        drawn: those of them that the charts show; None draws all.
        walls: whose pictures are shown.
        training: how the retrofit was trained, where known.
        diagnosed: what it did to attention and loss surface, where known.
    """
    records = [side.record for side in sides]
    drawn = sides if drawn is None else drawn
    return Shared(
        created=max(record.created for record in records).strftime("%d %B %Y"),
        notes=tuple(dict.fromkeys(record.data.note for record in records if record.data.note)),
        sides=tuple(sides),
        upper_bound=UPPER_BOUND,
        headline_eps=eps(headline_eps(records[0].threat_model.eps_255)),
        worst_case=worst_case_plot(drawn),
        attacks=attack_plots(drawn),
        counts=counts_table(sides),
        checks=checks_of(sides),
        classes=class_table(sides),
        worst_classes=tuple(_worst_class(side, headline_eps(records[0].threat_model.eps_255)) for side in sides),
        gallery=gallery(walls),
        training=training,
        diagnosed=diagnosed,
        method=method(sides),
        not_claimed=NOT_CLAIMED,
    )


def _worst_class(side: Side, expected_eps: int) -> str:
    worst = worst_class(side.record)
    if worst is None:
        return f"{side.name}: no images."
    class_name, tally = worst
    own_eps = headline_eps(side.record.threat_model.eps_255)
    where = "" if own_eps == expected_eps else f" at {eps(own_eps)}"
    return f"{side.name}: {class_name}{where}, {of(tally)} ({percent(tally)}, 95% interval {interval(tally)})."
