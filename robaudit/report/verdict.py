"""What a comparison may say first: the sentence, the numbers under it, and what takes them back.

No claim is made where an audit is inconclusive, or where the audits were not run alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from robaudit.records import AuditRecord, Doubt, ModelInfo, Tally
from robaudit.report.curves import Cell, cell
from robaudit.report.naming import Naming
from robaudit.report.paired import Answer, Paired, PairedTest
from robaudit.report.recall import headline_point
from robaudit.report.rival import unattributed
from robaudit.report.sides import Side, two_sides
from robaudit.report.words import NOT_MEASURED, capital, eps, eps_ranges, images, listed, number, of, share
from robaudit.significance import p_value


@dataclass(frozen=True)
class Alarm:
    """Something a reader must know before any number."""

    title: str
    sentences: tuple[str, ...]

    @property
    def line(self) -> str:
        """All of it, where there is a line for it."""
        return f"{self.title}: {' '.join(self.sentences)}"


@dataclass(frozen=True)
class Reading:
    """A number of the first screen, on one side."""

    name: str
    css: str
    """Class of report.css."""
    share: Cell
    counts: str


@dataclass(frozen=True)
class Figure:
    """One number of the first screen, on every side."""

    name: str
    readings: tuple[Reading, ...]
    change: str = ""
    answer: str = ""
    """What the paired test says, or why it says nothing; empty where nothing is compared."""
    tone: str = ""
    """Class of report.css; the answer says the same in words."""


@dataclass(frozen=True)
class FirstScreen:
    """The first screen."""

    tone: str
    label: str
    """The tone, in words."""
    headline: str
    sentences: tuple[str, ...]
    alarms: tuple[Alarm, ...]
    figures: tuple[Figure, ...]


LABELS = {
    "improved": "Improved",
    "worse": "Worse",
    "mixed": "Mixed",
    "none": "No evidence of a change",
    "unpaired": "No paired claim",
    "inconclusive": "Inconclusive",
}
"""Tone -> tag of the first screen."""

TONES: dict[Answer, str] = {"improved": "improved", "worse": "worse", "no evidence": "none"}
"""Answer -> class of report.css."""


def verdict(
    before: AuditRecord,
    after: AuditRecord,
    paired: Paired | None,
    differing: Sequence[str],
    names: Naming,
    added: str | None = None,
    harder: str = "",
) -> FirstScreen:
    """Word what happened to worst-case robust accuracy, worst news first.

    Args:
        before: audit of the first model.
        after: audit of the second model.
        paired: tests on the same images; None where there are none.
        differing: what else than the model differs.
        names: of both sides.
        added: what T and C add, where the first model is the network that was trained alike without them.
        harder: that the second model alone faced further attacks, and what that means; empty where it did not.
    """
    tone, headline = _headline(before, after, paired, differing, names)
    label = LABELS[tone] if everywhere(paired[1] if paired else ()) else f"{LABELS[tone]} at some eps"
    return FirstScreen(
        tone=tone,
        label=label,
        headline=headline,
        sentences=(
            *([added] if added else []),
            _attacked(before, after, paired, names),
            *([harder] if harder else []),
            _clean(before, after, paired, names),
            *([] if added else unattributed(before, after)),
        ),
        alarms=(
            *doubts(before, f"the {names.before} audit"),
            *doubts(after, f"the {names.after} audit"),
            *_unpaired(differing),
            *([] if added else _wrong_vanilla(before, after)),
            *_wrong_pair(before.model, after.model),
        ),
        figures=_figures(two_sides(before, after, names), paired),
    )


def tone_of(tests: Sequence[PairedTest]) -> str:
    """What paired tests say together: improved, worse, mixed or none."""
    found = {test.answer for test in tests} - {"no evidence"}
    return "mixed" if len(found) > 1 else next((TONES[answer] for answer in found), "none")


def everywhere(tests: Sequence[PairedTest]) -> bool:
    """Whether they all say the same, or contradict each other.

    A change at some eps must not read as a change at every eps.
    """
    found = {test.answer for test in tests}
    return len(found) <= 1 or found >= {"improved", "worse"}


def _headline(
    before: AuditRecord, after: AuditRecord, paired: Paired | None, differing: Sequence[str], names: Naming
) -> tuple[str, str]:
    if before.doubts or after.doubts:
        return (
            "inconclusive",
            "Inconclusive: these audits cannot tell whether robust accuracy changed.",
        )
    if paired is None:
        return "unpaired", f"No claim of a change: the two audits differ in {listed(differing)}."
    return _claim(paired[1], names)


def _claim(tests: Sequence[PairedTest], names: Naming) -> tuple[str, str]:
    grid = [test.eps_255 for test in tests]
    higher, lower, neither = (
        [test.eps_255 for test in tests if test.answer == answer] for answer in ("improved", "worse", "no evidence")
    )
    tested = f"eps tested ({eps_ranges(grid)})"
    if neither == grid:
        return "none", f"No evidence that worst-case robust accuracy changed at any {tested}."
    clauses = [
        f"{word} at {f'every {tested}' if chosen == grid else eps_ranges(chosen)}"
        for word, chosen in (("higher", higher), ("lower", lower))
        if chosen
    ]
    ending = f"; no evidence of a change at {eps_ranges(neither)}" if neither else ""
    return tone_of(tests), f"Worst-case robust accuracy of {names.the_after} is {listed(clauses)}{ending}."


def _attacked(before: AuditRecord, after: AuditRecord, paired: Paired | None, names: Naming) -> str:
    first, second = headline_point(before), headline_point(after)
    counts = (
        f"Under the worst of the attacks at {eps(first.eps_255)}, {names.the_before} is right about {measured(first)} "
        f"and {names.the_after} about {measured(second)}."
    )
    if paired is None:
        return counts
    test = next(test for test in paired[1] if test.eps_255 == first.eps_255)
    otherwise = f" ({of_both(*reversed(test.tested))})" if test.tested else ""
    return (
        f"{counts} Of the same images, {number(test.only_after)} are withstood only by {names.the_after} and "
        f"{number(test.only_before)} only by {names.the_before}{otherwise}: {in_words(test.answer)} (exact McNemar "
        f"test, {p_value(test.p)} after Holm’s correction over {len(paired[1])} eps)."
    )


def _clean(before: AuditRecord, after: AuditRecord, paired: Paired | None, names: Naming) -> str:
    counts = f"Clean accuracy: {names.before} {measured(before.clean)}, {names.after} {measured(after.clean)}"
    return (
        f"{counts}: {in_words(paired[0].answer)} (exact McNemar test, {p_value(paired[0].p)})."
        if paired
        else f"{counts}."
    )


def measured(tally: Tally) -> str:
    """Word a tally in full: counts, share, interval, and images that got no answer."""
    shown = cell(tally)
    unanswered = f", {number(tally.n_errors)} of them unanswered and counted as wrong" if tally.n_errors else ""
    return f"{of(tally)} images ({shown.percent}, 95% interval {shown.interval}{unanswered})"


def of_both(first: int, second: int) -> str:
    """Word the counts that a test is of where the second model alone faced further attacks."""
    return f"under the attacks that both faced: {number(first)} and {number(second)}"


def in_words(answer: Answer) -> str:
    """Word what a paired test says."""
    return "no evidence of a change" if answer == "no evidence" else answer


def doubts(record: AuditRecord, name: str) -> list[Alarm]:
    """Say what takes the numbers of an audit back, and which images it is not of."""
    found = [_doubted(doubt, record, name) for doubt in record.doubts]
    if n_skipped := record.data.n_skipped:
        rest = f"Every number is of the other {images(record.data.n_images)}."
        found.append(Alarm(f"{capital(name)} left out {images(n_skipped)} that could not be read", (rest,)))
    return found


def _doubted(doubt: Doubt, record: AuditRecord, name: str) -> Alarm:
    match doubt:
        case "inconclusive":
            reasons = (f"Checks behind this: {listed(record.verdict.reasons)}.",) if record.verdict.reasons else ()
            why = record.verdict.sentence.removeprefix("Inconclusive: ")  # the title says so
            return Alarm(f"{capital(name)} is inconclusive", (capital(why), *reasons))
        case "checks left out":
            unasked = listed([check.id for check in record.left_out])
            why = f"Nobody has asked whether its attacks were any good ({unasked})."
            return Alarm(f"{capital(name)} left out checks", (why, record.left_out[0].remedy))
        case "images learnt from":
            check = record.learnt_from
            assert check is not None
            return Alarm(f"{capital(name)} is of images that its model may have learnt from", (check.why, check.remedy))


def _unpaired(differing: Sequence[str]) -> list[Alarm]:
    if not differing:
        return []
    why = f"The two audits differ in {listed(differing)}, so a difference may come from the measurement, not the model."
    return [Alarm("No paired claim", (why, "Scan both models with the same settings to test the change."))]


def _wrong_vanilla(before: AuditRecord, after: AuditRecord) -> list[Alarm]:
    front = after.model.front
    if before.model.front is not None or front is None:
        return []
    if front.vanilla.sha256 == before.model.sha256:
        codes = {before.model.code_sha256, after.model.code_sha256}
        if None in codes or len(codes) == 1:
            return []
        why = "Both compute with your own code, and its source has another hash in each; scan both with the same."
        return [Alarm("The code of the model changed between the audits", (why,))]
    made_from = f"The assimilated model was made from {front.vanilla.path} (SHA-256 {front.vanilla.sha256[:12]}…)."
    audited = f"The first audit is of {before.model.path} (SHA-256 {before.model.sha256[:12]}…)."
    return [Alarm("The assimilated model was made from another model", (made_from, audited))]


def _wrong_pair(before: ModelInfo, after: ModelInfo) -> list[Alarm]:
    """Say where two audits are of one model, or the second is of what the first one's was made from."""
    if all(getattr(before, field) == getattr(after, field) for field in ("sha256", "code_sha256", "arch", "loading")):
        named = f"Both name {listed(sorted({before.path, after.path}))} (SHA-256 {after.sha256[:12]}…)."
        rest = "A difference comes from how it was measured; to compare two models, pass an audit of each."
        return [Alarm("Both audits are of the same model", (named, rest))]
    if before.front is not None and before.front.vanilla.sha256 == after.sha256:
        rest = "The first is of the retrofit made from the second’s model, so a gain reads as a loss; swap them."
        return [Alarm("The audits are in the wrong order", (rest,))]
    return []


def headline_tallies(record: AuditRecord) -> dict[int, tuple[str, Tally]]:
    """The numbers of the first screen by eps: clean, at the eps that headlines, at the largest; none twice."""
    shown: dict[int, tuple[str, Tally]] = {0: ("Clean accuracy", record.clean)}
    for point in (headline_point(record), record.worst_case.points[-1]):
        shown[point.eps_255] = (f"Worst case at {eps(point.eps_255)}", point)
    return shown


def reading(side: Side, tally: Tally) -> Reading:
    """Show a tally on the first screen."""
    return Reading(side.name, side.look.css, cell(tally), of(tally))


def _figures(sides: tuple[Side, ...], paired: Paired | None) -> tuple[Figure, ...]:
    tests = {test.eps_255: test for test in (paired[0], *paired[1])} if paired else {}
    before, after = (headline_tallies(side.record) for side in sides)
    return tuple(
        _figure(name, sides, tally, after[eps_255][1], tests.get(eps_255)) for eps_255, (name, tally) in before.items()
    )


def _figure(name: str, sides: tuple[Side, ...], before: Tally, after: Tally, test: PairedTest | None) -> Figure:
    return Figure(
        name=name,
        readings=tuple(reading(side, tally) for side, tally in zip(sides, (before, after), strict=True)),
        change=change(before, after),
        answer=in_words(test.answer) if test else "no claim",
        tone=TONES[test.answer] if test else "none",
    )


def change(before: Tally, after: Tally) -> str:
    """Word a difference of two shares in percentage points."""
    if not before.n_images or not after.n_images:
        return NOT_MEASURED
    points = 100 * (share(after) - share(before))
    return f"{points:+.1f} points".replace("-", "−")  # the minus sign, not a hyphen
