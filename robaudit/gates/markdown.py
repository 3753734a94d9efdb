"""Markdown, for the summary of a CI job or a comment: the verdict, a table, the audit in a fold."""

import re
from collections.abc import Iterable, Iterator

from robaudit.gates.verdicts import Outcome, Verdicts
from robaudit.gates.words import UPPER_BOUND, policy_uri
from robaudit.inert import inert
from robaudit.records import AuditRecord, DataInfo

LARGEST_BYTES = 64 * 1024

_ANSWERS = {Outcome.PASSED: "passed", Outcome.FAILED: "**failed**", Outcome.INCONCLUSIVE: "**inconclusive**"}
_LONGEST_CELL = 600
_ROOM_FOR_FACTS = 16 * 1024


def markdown(verdicts: Verdicts) -> str:
    """Write the verdicts as Markdown of at most 64 KiB; rules that did not pass come first, so they stay."""
    head = [f"## robaudit gate: {verdicts.outcome}", "", *_note(verdicts.audit.data), *_doubts(verdicts)]
    head += ["| | rule | measured | line |", "|---|---|---|---|"]
    facts = list(_within(_ROOM_FOR_FACTS, _facts(verdicts), "* and more, left out here"))
    foot = [
        "",
        "<details><summary>What was judged</summary>",
        "",
        *facts,
        "",
        "</details>",
        "",
        f"_{UPPER_BOUND}_",
        "",
    ]
    room = LARGEST_BYTES - len("\n".join([*head, *foot]).encode())
    return "\n".join([*head, *_within(room, _rows(verdicts), "| | and more rules, left out here | | |"), *foot])


def _within(room: int, lines: Iterable[str], and_more: str) -> Iterator[str]:
    """Let lines through as long as they fit into so many bytes, then say that there are more."""
    room -= len(and_more.encode()) + 2
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            yield and_more
            return
        yield line


def _note(data: DataInfo) -> list[str]:
    return [f"About the images: {_text(data.note)}", ""] if data.note else []


def _doubts(verdicts: Verdicts) -> Iterator[str]:
    for doubt in verdicts.doubts:
        yield f"> {_text(doubt)}"
        yield ""


def _rows(verdicts: Verdicts) -> Iterator[str]:
    for verdict in sorted(verdicts.rules, key=lambda verdict: verdict.outcome is Outcome.PASSED):
        answer = _ANSWERS[verdict.outcome]
        yield f"| {answer} | {_text(verdict.rule)} | {_text(verdict.found)} | {verdict.line} |"


def _facts(verdicts: Verdicts) -> Iterator[str]:
    yield f"* policy {_text(policy_uri(verdicts))}"
    yield from _audit("audit", verdicts.audit)
    if verdicts.baseline is not None:
        yield from _audit("baseline", verdicts.baseline)


def _audit(role: str, record: AuditRecord) -> Iterator[str]:
    created = record.created.strftime("%Y-%m-%d %H:%M")
    model, data = record.model, record.data
    yield (
        f"* {role}: {_text(model.arch)} from {_text(model.path)}, SHA-256 {_text(model.sha256[:12])}…, "
        f"on {record.clean.n_images} images of {_text(data.path)}{_left_out(data)}, {created}"
    )
    yield f"  * {_text(record.verdict.sentence)}"
    for check in record.checks:
        if check.status in ("warning", "failed"):
            yield f"  * check {_text(check.id)}, {check.status}: {_text(check.why)}"


def _left_out(data: DataInfo) -> str:
    counts = {"could not be read": data.n_skipped, "were learnt from": data.n_learnt_skipped}
    told = " and ".join(f"{count} more {why}" for why, count in counts.items() if count)
    return f" ({told} and were left out)" if told else ""


def _text(text: str) -> str:
    """Text of bounded length in which neither Markdown nor HTML nor an automatic link finds anything."""
    shown = inert(text)
    shown = shown if len(shown) <= _LONGEST_CELL else f"{shown[:_LONGEST_CELL]}…"
    return _MARK.sub(r"\\\g<0>", shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


# A point between digits is a decimal point, and the entities made above keep their marks.
_MARK = re.compile(r"[\\`*_{}\[\]()#+!|~@$\"'-]|(?<!\d)\.|\.(?!\d)|:(?=/)")
