"""What a page says as one JSON document, for programs."""

import json
from pathlib import Path
from typing import Literal

from robaudit.records import Count, Record
from robaudit.report.believability import Checks
from robaudit.report.comparison import Comparison
from robaudit.report.page import Page
from robaudit.report.paired import Paired


class PairedDocument(Record):
    """One paired test; eps 0 is clean."""

    eps_255: Count
    n_images: Count
    only_before: Count
    only_after: Count
    tested: tuple[Count, Count] | None
    """only_before and only_after under those attacks alone that both models faced, where the test is of these and they
    differ; null where it is of the two above."""
    p: float
    """Exact McNemar, two-sided; under attack corrected by Holm over the eps."""
    answer: Literal["improved", "worse", "no evidence"]


class LoudDocument(Record):
    """A check that spoke up."""

    id: str
    status: Literal["warning", "failed"]
    why: str


class ChecksDocument(Record):
    """What the checks of one audit say."""

    audit: str
    """Its name on the page."""
    sentence: str
    """How many apply, and how many of them spoke up."""
    loud: tuple[LoudDocument, ...]
    """Failed ones first."""


class PageDocument(Record):
    """The verdict of a page, and where it lies."""

    format_version: Literal[1] = 1
    page: str
    notes: tuple[str, ...]
    """What a reader must know about the images first."""
    kind: Literal["single", "comparison", "history"]
    tone: str
    """improved, worse, mixed, none, unpaired or inconclusive."""
    headline: str
    sentences: tuple[str, ...]
    alarms: tuple[str, ...]
    """What takes the numbers back."""
    checks: tuple[ChecksDocument, ...]
    """Of each audit, in the order given."""
    upper_bound: str
    """How to read robust accuracy."""
    paired: tuple[PairedDocument, ...] | None
    """Of two audits; null where no test was made, or where there are not two."""


def document(page: Page, written: Path) -> str:
    """Write what a page says as JSON; `PageDocument` is its schema."""
    verdict = page.verdict
    told = PageDocument(
        page=str(written),
        notes=page.shared.notes,
        kind=page.kind,
        tone=verdict.tone,
        headline=verdict.headline,
        sentences=verdict.sentences,
        alarms=tuple(alarm.line for alarm in verdict.alarms),
        checks=tuple(map(_checks, page.shared.checks)),
        upper_bound=page.shared.upper_bound,
        paired=_paired(page.tests) if isinstance(page, Comparison) and page.tests else None,
    )
    # ASCII, so that a name with control or bidi characters can be looked at in a terminal.
    return json.dumps(told.model_dump(mode="json"), indent=2) + "\n"


def _checks(checks: Checks) -> ChecksDocument:
    loud = tuple(LoudDocument(id=row.id, status=row.status, why=row.why) for row in checks.loud)
    return ChecksDocument(audit=checks.name, sentence=checks.sentence, loud=loud)


def _paired(tests: Paired) -> tuple[PairedDocument, ...]:
    return tuple(
        PairedDocument(
            eps_255=test.eps_255,
            n_images=test.n_images,
            only_before=test.only_before,
            only_after=test.only_after,
            tested=test.tested,
            p=test.p,
            answer=test.answer,
        )
        for test in (tests[0], *tests[1])
    )
