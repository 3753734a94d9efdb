"""The gate's answer as one JSON document, for programs."""

import json
from datetime import datetime
from math import ceil
from typing import Literal

from robaudit import __version__
from robaudit.gates.verdicts import Estimate, Outcome, RuleVerdict, Verdicts
from robaudit.gates.words import UPPER_BOUND, bound, decimals, worse_decimals
from robaudit.records import AuditRecord, Count, Record, Tally


class JudgedAudit(Record):
    """Which audit was judged, or compared with."""

    model: str
    model_sha256: str
    arch: str
    data: str
    data_sha256: str
    n_images: Count
    """Images audited; where the audit is partial, so far."""
    n_skipped: Count
    """Images that could not be read and were left out."""
    n_learnt_skipped: Count
    """Images left out because the model has learnt from them, or because train or val has them too."""
    note: str | None
    """What a reader must know about these images first."""
    created: datetime
    status: Literal["complete", "partial"]
    verdict: Literal["measured", "inconclusive"]


class JudgedShare(Record):
    """What an accuracy rule compared with its bound. Decimals are text, so that no reader rounds them."""

    value: str
    """The share, or the drop; rounded to the worse."""
    low: str
    high: str
    """Ends of its 95% interval, rounded outwards."""
    counted: Tally
    baseline: Tally | None
    """The counts of the baseline, where the rule limits a drop."""


class JudgedRule(Record):
    """The answer to one rule."""

    name: str
    """Unique in the policy, and independent of thresholds and measurements."""
    outcome: Outcome
    rule: str
    """What the rule asks, in words."""
    found: str
    """What was measured, in words."""
    line: int
    """Where the rule stands in the policy, counted from 1."""
    mode: Literal["strict", "lenient"]
    bound: str | None
    """The threshold as the policy spells it; null for a check."""
    share: JudgedShare | None
    """Null where nothing was measured, and for rules about images and checks."""


class GateDocument(Record):
    """The answer to a whole policy."""

    format_version: Literal[1] = 1
    robaudit_version: str
    outcome: Outcome
    exit_code: int
    """What `robaudit gate` ends with, unless `--exit-zero`."""
    policy: str
    audit: JudgedAudit
    baseline: JudgedAudit | None
    doubts: tuple[str, ...]
    """Why the audit itself cannot be relied on, whatever the rules say."""
    rules: tuple[JudgedRule, ...]
    upper_bound: str = UPPER_BOUND
    """How to read a share under attack."""


def document(verdicts: Verdicts) -> str:
    """Write the verdicts as JSON; `GateDocument` is its schema."""
    judged = GateDocument(
        robaudit_version=__version__,
        outcome=verdicts.outcome,
        exit_code=int(verdicts.exit_code),
        policy=verdicts.policy,
        audit=_audit(verdicts.audit),
        baseline=None if verdicts.baseline is None else _audit(verdicts.baseline),
        doubts=verdicts.doubts,
        rules=tuple(_rule(name, verdict) for name, verdict in verdicts.named),
    )
    # ASCII, so that a name with control or bidi characters can be looked at in a terminal.
    return json.dumps(judged.model_dump(mode="json"), indent=2) + "\n"


def _audit(record: AuditRecord) -> JudgedAudit:
    return JudgedAudit(
        model=record.model.path,
        model_sha256=record.model.sha256,
        arch=record.model.arch,
        data=record.data.path,
        data_sha256=record.data.sha256,
        n_images=record.clean.n_images,
        n_skipped=record.data.n_skipped,
        n_learnt_skipped=record.data.n_learnt_skipped,
        note=record.data.note,
        created=record.created,
        status=record.status,
        verdict=record.verdict.kind,
    )


def _rule(name: str, verdict: RuleVerdict) -> JudgedRule:
    threshold = bound(verdict.asked)
    return JudgedRule(
        name=name,
        outcome=verdict.outcome,
        rule=verdict.rule,
        found=verdict.found,
        line=verdict.line,
        mode=verdict.mode,
        bound=None if threshold is None else str(threshold),
        share=None if verdict.estimate is None else _share(verdict.estimate),
    )


def _share(estimate: Estimate) -> JudgedShare:
    return JudgedShare(
        value=worse_decimals(estimate),
        low=decimals(estimate.low),
        high=decimals(estimate.high, ceil),
        counted=_plain(estimate.counted),
        baseline=None if estimate.baseline is None else _plain(estimate.baseline),
    )


def _plain(tally: Tally) -> Tally:
    """Counts alone, where a tally has its classes beside it."""
    return Tally(n_correct=tally.n_correct, n_images=tally.n_images, n_errors=tally.n_errors)
