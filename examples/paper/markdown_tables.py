"""Finished cells -> the two tables in Markdown. A cell without an audit says "not run"."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from cells import RIVALS, Cell

from robaudit.records import TRAINING_FILE, by_eps, read_audit
from robaudit.report.comparable import further_attacks, why_untested
from robaudit.report.paired import PairedTest, paired_tests
from robaudit.report.sources import Source, read_source
from robaudit.report.verdict import in_words
from robaudit.report.words import duration, eps, interval, of, percent
from robaudit.retrofit_records import TrainingRecord
from robaudit.significance import p_value

NOT_RUN = "not run"
NAMES = ("set", "backbone", "seed", "arm")

HOW_TO_READ = (
    "Right answers under the worst of all attacks, image by image, with Wilson 95% intervals. Against another arm: "
    "exact McNemar tests on the same images, corrected by Holm over the eps of a cell, not over cells; clean is tested "
    "alone. An arm's rival is the same training of the network alone, without T and C."
)


def table(cells: Sequence[Cell], out: Path, eps_255: Sequence[int], failed: Collection[Cell] = ()) -> str:
    """As the source attacks: a line per cell and attack, accuracy in percent.

    What lies in the folder of a cell that failed is of other settings, and counts as not run; so below.
    """
    heads = [*NAMES, "attack", "images", "clean", *map(eps, eps_255)]
    rows = ((cell, _audit(cell, out, failed)) for cell in cells)
    return markdown(heads, (cell.names + found for cell, file in rows for found in _as_the_source(file, eps_255)))


def strong_table(cells: Sequence[Cell], out: Path, failed: Collection[Cell] = ()) -> str:
    """Under the strongest attack: a line per cell and eps, with what may be said against vanilla and the rival."""
    heads = [*NAMES, "training", "eps", "right", "share", "95% interval", "against vanilla", "against its rival"]
    lines = markdown(heads, (cell.names + found for cell in cells for found in _by_the_strongest(cell, out, failed)))
    return f"{HOW_TO_READ}\n\n{lines}"


def markdown(heads: Sequence[str], rows: Iterator[list[str]]) -> str:
    """A table; short rows are filled up."""
    filled = (row + [""] * (len(heads) - len(row)) for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *filled)) + "\n"


def _audit(cell: Cell, out: Path, failed: Collection[Cell], *, strong: bool = False) -> Path | None:
    """The audit of a cell, if it is finished."""
    file = cell.audit(out, strong=strong)
    return file if file.exists() and cell not in failed else None


def _as_the_source(file: Path | None, eps_255: Sequence[int]) -> Iterator[list[str]]:
    if file is None:
        yield ["", "", *[NOT_RUN] * (1 + len(eps_255))]
        return
    audit = read_audit(file)
    for attack in audit.attacks:
        points = by_eps(attack.points)
        shares = [percent(points[eps]) if eps in points else NOT_RUN for eps in eps_255]
        yield [attack.name, str(audit.clean.n_images), percent(audit.clean), *shares]


def _by_the_strongest(cell: Cell, out: Path, failed: Collection[Cell]) -> Iterator[list[str]]:
    file = _audit(cell, out, failed, strong=True)
    if file is None:
        yield [_training(cell, out), NOT_RUN]
        return
    source = read_source(file)
    against = [_against(cell.other(arm), source, out, failed) if arm else {} for arm in _opponents(cell)]
    for eps_255, tally in source.record.tallies().items():
        said = [found.get(eps_255, found.get(None, "")) for found in against]
        yield [_training(cell, out), eps(eps_255), of(tally), percent(tally), interval(tally), *said]


def _opponents(cell: Cell) -> tuple[str | None, str | None]:
    """The arms that a cell is tested against: vanilla, and its rival."""
    return None if cell.arm == "vanilla" else "vanilla", RIVALS.get(cell.arm)


def _against(opponent: Cell, source: Source, out: Path, failed: Collection[Cell]) -> dict[int | None, str]:
    """Words per eps (0: clean); under None, why there are none."""
    file = _audit(opponent, out, failed, strong=True)
    if file is None:
        return {None: f"{opponent.arm} {NOT_RUN}"}
    other = read_source(file)
    if why := why_untested(other.record, source.record):
        return {None: f"no claim: {why}"}
    further = further_attacks(other.record, source.record)
    clean, attacked = paired_tests(other.rows, source.rows, source.record.threat_model.eps_255, further=further)
    return {test.eps_255: _in_words(test) for test in (clean, *attacked)}


def _in_words(test: PairedTest) -> str:
    return f"{in_words(test.answer)}, {p_value(test.p)} ({test.only_after} gained, {test.only_before} lost)"


def _training(cell: Cell, out: Path) -> str:
    """What its training took: arms with T and C take longer for as many epochs."""
    file = cell.folder(out) / "model" / TRAINING_FILE
    if not file.exists():
        return NOT_RUN
    record = TrainingRecord.model_validate_json(file.read_text(encoding="utf-8"))
    return f"{record.n_epochs} epochs, {duration(record.seconds)}"
