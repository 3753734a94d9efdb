"""Two audits -> what the page of a comparison says."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from robaudit.report.comparable import (
    further_attacks,
    require_comparable,
    unpairable,
    what_further_attacks_mean,
    why_untested,
)
from robaudit.report.diagnostics import Diagnosed, read_diagnostics
from robaudit.report.gallery import FRONT_ROLES, WITHOUT_GLCM, Hung
from robaudit.report.naming import Naming, naming
from robaudit.report.page import Kind, Page, shared
from robaudit.report.paired import Paired, paired_tests
from robaudit.report.retrofit_folder import recorded_training
from robaudit.report.rival import Rivals, rivals, what_they_add
from robaudit.report.sides import two_sides
from robaudit.report.sources import Source, read_source
from robaudit.report.training import Training, read_training
from robaudit.report.verdict import TONES, of_both, verdict
from robaudit.report.words import capital, eps, number
from robaudit.significance import p_value


@dataclass(frozen=True)
class PairedRow:
    """One paired test, in words."""

    eps: str
    n_images: str
    only_before: str
    only_after: str
    tested: str
    """What the test counted instead, where it did; mostly empty."""
    p: str
    answer: str
    tone: str


@dataclass(frozen=True)
class Comparison(Page):
    """The page of two audits."""

    kind: ClassVar[Kind] = "comparison"
    names: Naming
    tests: Paired | None
    """None where no paired test was made."""
    paired: tuple[PairedRow, ...]
    unpaired: str
    """Why there is no paired test; empty where there is."""
    harder: str
    """That the second model alone faced further attacks, and what that means; empty where it did not."""


def read_comparison(before: Path, after: Path, *, without_glcm: Path | None = None) -> Comparison:
    """Read two audits from disk and compare them.

    Args:
        before: audit.json of the first model.
        after: audit.json of the second model.
        without_glcm: audit.json of a retrofit trained without GLCM loss; its pictures join the gallery.

    Raises:
        RecordError: a record cannot be read, or the audits are not comparable.
    """
    first, second = read_source(before), read_source(after)
    return compare_sources(
        first,
        second,
        read_source(without_glcm) if without_glcm else None,
        training=read_training(second.record),
        diagnosed=read_diagnostics(second.record),
        pair=rivals(recorded_training(first.record), recorded_training(second.record)),
    )


def compare_sources(
    before: Source,
    after: Source,
    without_glcm: Source | None = None,
    *,
    training: Training | None = None,
    diagnosed: Diagnosed | None = None,
    pair: Rivals | None = None,
) -> Comparison:
    """Compare two audits.

    Args:
        before: of the first model.
        after: of the second model.
        without_glcm: of a retrofit trained without GLCM loss.
        training: how the second model was trained, where known.
        diagnosed: what that did to attention and loss surface, where known.
        pair: how both were trained, where the first is the network that was trained alike without T and C.

    Raises:
        RecordError: the audits are not comparable.
    """
    first, second = before.record, after.record
    require_comparable(first, second)
    if without_glcm:
        require_comparable(first, without_glcm.record)
    names = naming(first, second, rivals=pair is not None)
    why = why_untested(first, second)
    further = further_attacks(first, second)
    grid = first.threat_model.eps_255
    paired = None if why else paired_tests(before.rows, after.rows, grid, further=further)
    harder = "" if why else what_further_attacks_mean(names.the_before, {names.the_after: further})
    added = what_they_add(pair, paired[1] if paired else (), why) if pair else None
    walls = [Hung("before", names.before, before), Hung("after", names.after, after)]
    if without_glcm:
        walls.append(Hung("without-glcm", WITHOUT_GLCM, without_glcm, roles=FRONT_ROLES))
    return Comparison(
        title=f"{capital(names.before)} against {names.after}",
        verdict=verdict(first, second, paired, unpairable(first, second), names, added, harder),
        shared=shared(two_sides(first, second, names), walls=walls, training=training, diagnosed=diagnosed),
        names=names,
        tests=paired,
        paired=_paired_rows(paired) if paired else (),
        unpaired=why,
        harder=harder,
    )


def _paired_rows(paired: Paired) -> tuple[PairedRow, ...]:
    return tuple(
        PairedRow(
            eps=eps(test.eps_255),
            n_images=number(test.n_images),
            only_before=number(test.only_before),
            only_after=number(test.only_after),
            tested=of_both(*test.tested) if test.tested else "",
            p=p_value(test.p),
            answer=test.answer,
            tone=TONES[test.answer],
        )
        for test in (paired[0], *paired[1])
    )
