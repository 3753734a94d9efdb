"""Markdown, for the summary of a CI job or a comment: the verdict, a table, the audit in a fold."""

import re
from collections.abc import Iterator

from robaudit.gates.verdicts import Outcome, Verdict, Verdicts
from robaudit.gates.words import policy_uri
from robaudit.inert import inert
from robaudit.records import AuditRecord

LARGEST_BYTES = 64 * 1024

_ANSWERS = {Outcome.PASSED: "passed", Outcome.FAILED: "**failed**", Outcome.INCONCLUSIVE: "**inconclusive**"}
_LONGEST_CELL = 600
_UPPER_BOUND = "Robust accuracy is an upper bound: a stronger attack can only lower it."


def markdown(verdicts: Verdicts) -> str:
    """Write the verdicts as Markdown of at most 64 KiB; rules that did not pass come first, so they stay."""
    ordered = sorted(verdicts.rules, key=lambda verdict: verdict.outcome is Outcome.PASSED)
    head = "\n".join([f"## robaudit gate: {verdicts.outcome}", "", *_doubts(verdicts)])
    foot = "\n".join(["", *_details(verdicts), "", f"_{_UPPER_BOUND}_", ""])
    room = LARGEST_BYTES - len((head + foot).encode()) - 200
    return "\n".join([head, *_table(ordered, room), foot])


def _doubts(verdicts: Verdicts) -> Iterator[str]:
    for doubt in verdicts.doubts[:4]:
        yield f"> {_text(doubt)}"
        yield ""


def _table(ordered: list[Verdict], room: int) -> Iterator[str]:
    yield "| | rule | measured | line |"
    yield "|---|---|---|---|"
    for position, verdict in enumerate(ordered):
        answer = _ANSWERS[verdict.outcome]
        row = f"| {answer} | {_text(verdict.rule)} | {_text(verdict.found)} | {verdict.line} |"
        room -= len(row.encode()) + 1
        if room < 0:
            yield f"| | and {len(ordered) - position} more rules, left out here | | |"
            return
        yield row


def _details(verdicts: Verdicts) -> Iterator[str]:
    yield "<details><summary>What was judged</summary>"
    yield ""
    yield f"* policy {_text(policy_uri(verdicts))}"
    yield from _facts("audit", verdicts.audit)
    if verdicts.baseline is not None:
        yield from _facts("baseline", verdicts.baseline)
    yield ""
    yield "</details>"


def _facts(role: str, record: AuditRecord) -> Iterator[str]:
    created = record.created.strftime("%Y-%m-%d %H:%M")
    yield (
        f"* {role}: {_text(record.model.arch)} from {_text(record.model.path)}, SHA-256 {record.model.sha256[:12]}…, "
        f"on {record.data.n_images} images of {_text(record.data.path)}, {created}"
    )
    yield f"  * {_text(record.verdict.sentence)}"
    spoken = [check for check in record.checks if check.status in ("warning", "failed")]
    for check in spoken[:20]:
        yield f"  * check {_text(check.id)}, {check.status}: {_text(check.why)}"


def _text(text: str) -> str:
    """Text of bounded length in which neither Markdown nor HTML nor an automatic link finds anything."""
    shown = inert(text)
    shown = shown if len(shown) <= _LONGEST_CELL else f"{shown[:_LONGEST_CELL]}…"
    return _MARK.sub(r"\\\g<0>", shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


# A point between digits is a decimal point, and the entities made above keep their marks.
_MARK = re.compile(r"[\\`*_{}\[\]()#+!|~@$\"'-]|(?<!\d)\.|\.(?!\d)|:(?=/)")
