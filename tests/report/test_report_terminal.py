import io
from math import ceil, floor, sqrt
from pathlib import Path

import pytest
from made_up_audits import GRID, make_data, make_model, make_record, make_rows, write_audit
from rich.console import Console

from robaudit.records import AuditRecord, Check, Verdict
from robaudit.report.comparison import read_comparison
from robaudit.report.html import read_page
from robaudit.report.terminal import page_summary, print_audit
from robaudit.report.words import UPPER_BOUND

ROWS = make_rows(n_per_class=50)


def printed(record: AuditRecord, width: int = 80) -> str:
    stream = io.StringIO()
    print_audit(record, Console(file=stream, width=width))
    return stream.getvalue()


def test_the_verdict_comes_first():
    record = make_record(ROWS)
    assert printed(record).startswith(record.verdict.sentence)


def wilson_by_hand(n_correct: int, n_images: int) -> str:
    """The textbook formula (Wilson 1927), its ends rounded outwards."""
    z, share = 1.959964, n_correct / n_images
    centre = (share + z**2 / (2 * n_images)) / (1 + z**2 / n_images)
    half = z / (1 + z**2 / n_images) * sqrt(share * (1 - share) / n_images + z**2 / (4 * n_images**2))
    return f"{floor(1000 * (centre - half)) / 10:.1f}–{ceil(1000 * (centre + half)) / 10:.1f}%"


def test_counts_shares_and_intervals_stand_in_the_tables():
    record = make_record(ROWS)
    text = printed(record)
    assert "Worst case over 4 attacks" in text
    for name in ("FGSM", "BIM", "MI-FGSM", "PGD"):
        assert name in text
    for point in (record.clean, *record.worst_case.points):
        line = next(line for line in text.splitlines() if f" {point.n_correct} of 100" in line)
        assert f"{point.n_correct}.0%" in line
        assert wilson_by_hand(point.n_correct, 100) in line
    for attack in record.attacks:
        for point in attack.points:
            assert wilson_by_hand(point.n_correct, 100) in text


def test_one_attack_is_one():
    assert "Worst case over 1 attack " in printed(make_record(make_rows(attacks=("fgsm",))))


@pytest.mark.parametrize("attacks", [("fgsm",), ("fgsm", "bim", "mifgsm", "pgd", "margin", "square", "a" * 40)])
@pytest.mark.parametrize("classes", [("cancer", "no-cancer"), tuple(f"class number {i} of many" for i in range(7))])
def test_it_fits_80_columns_and_is_plain_when_piped(attacks: tuple[str, ...], classes: tuple[str, ...]):
    rows = make_rows(attacks=attacks, classes=classes, n_per_class=2000 // len(classes))
    text = printed(make_record(rows, classes=classes, model=make_model(classes=classes, n_classes=len(classes))))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "…" not in text


@pytest.mark.parametrize("width", [50, 60, 68])
def test_a_narrow_console_gets_every_number_and_no_bar(width: int):
    record = make_record(ROWS)
    lines = printed(record, width).splitlines()
    assert max(map(len, lines)) <= width
    assert not any("█" in line for line in lines)
    for point in record.worst_case.points:
        n = point.n_correct
        row = f"{point.eps_255}/255 {n} of 100 {n}.0% {wilson_by_hand(n, 100)}"
        assert row in [" ".join(line.split()) for line in lines]


@pytest.mark.parametrize("attacks", [("fgsm",), ("fgsm", "bim", "mifgsm", "pgd", "margin", "square", "a" * 40)])
def test_a_very_narrow_console_breaks_numbers_and_cuts_none(attacks: tuple[str, ...]):
    text = printed(make_record(make_rows(attacks=attacks)), 30)
    assert max(map(len, text.splitlines())) <= 30
    assert "…" not in text


def test_every_eps_is_a_row_with_a_bar():
    lines = [line for line in printed(make_record(ROWS)).splitlines() if "·" in line or "█" in line]
    assert len(lines) == 1 + len(GRID)


def test_a_bar_is_full_up_to_its_interval_and_grey_inside():
    """60 of 100: Wilson's interval is 50.2 to 69.1%, of 26 places 13 and 18."""
    half = next(line for line in printed(made_to_stand(60)).splitlines() if line.startswith(" 1/255"))
    assert "█" * 13 + "▒" * 5 + "·" * 8 in half


def made_to_stand(n_standing: int) -> AuditRecord:
    """A record in which this many of 100 images withstand everything."""
    rows = [
        row.model_copy(update={"prediction": row.label, "fooled_at": {"pgd": None if position < n_standing else 1}})
        for position, row in enumerate(make_rows(n_per_class=50, attacks=("pgd",)))
    ]
    return make_record(rows)


def test_many_attacks_take_a_line_each():
    attacks = tuple(f"attack-{position}" for position in range(12))
    rows = make_rows(attacks=attacks, n_per_class=50)
    text = printed(make_record(rows))
    assert text.count("Under each attack") == 1
    assert len(text.splitlines()) <= 60
    for name in attacks:
        [line] = [line for line in text.splitlines() if line.strip().startswith(f"{name} ")]
        stands = sum((row.fooled_at[name] or 99) > 4 if row.fooled_at[name] != 0 else False for row in rows)
        assert line.split()[4] == f"{stands}.0%"


def test_attacks_on_survivors_are_named_under_their_counts():
    record = make_record(ROWS)
    curves = [attack.model_copy(update={"scope": "survivors"}) for attack in record.attacks[2:]]
    text = " ".join(printed(record.model_copy(update={"attacks": (*record.attacks[:2], *curves)})).split())
    assert "Run on survivors of the attacks above, and counted together with them: MI-FGSM and PGD." in text
    assert "Run on survivors" not in printed(record)


def test_the_next_step_is_the_last_line():
    stream = io.StringIO()
    print_audit(make_record(ROWS), Console(file=stream, width=80), Path("out/before/report/index.html"))
    assert stream.getvalue().splitlines()[-1] == "Next: open out/before/report/index.html"


def test_an_ascii_terminal_gets_ascii():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    print_audit(make_record(ROWS, data=make_data(ROWS, note="Größe")), Console(file=stream, width=80))
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "###" in text
    assert "Gr\\xf6\\xdfe" in text
    assert "\\u" not in text


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch):
    def shown(**options: bool) -> str:
        stream = io.StringIO()
        print_audit(make_record(ROWS), Console(file=stream, width=80, **options))
        return stream.getvalue()

    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[36m" in shown(force_terminal=True), "bars are cyan"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[36m" not in shown(force_terminal=True)
    assert "\x1b" not in shown()


def test_sensitivity_and_specificity_need_a_named_positive_class():
    assert "sensitivity" not in printed(make_record(ROWS))
    named = printed(make_record(ROWS, data=make_data(ROWS, positive="cancer")))
    assert "sensitivity" in named
    assert "specificity" in named


def test_notes_doubts_and_loud_checks_are_said_before_the_numbers():
    loud = Check(id="M2", status="failed", value=0.1, threshold=0.0, why="Square Attack did better.", remedy="Look.")
    record = make_record(
        ROWS,
        verdict=Verdict(kind="inconclusive", sentence="Inconclusive: masked gradients."),
        data=make_data(ROWS, note="Synthetic phantoms"),
        checks=(loud,),
    )
    opening = printed(record).split("Worst case over")[0]
    for said in ("Inconclusive: masked", "Synthetic phantoms", "M2, failed: Square Attack did better."):
        assert said in opening


def test_markup_and_control_characters_in_names_stay_text():
    classes = ("[red]cancer[/red]", "no\x1b[31m")
    rows = make_rows(classes=classes)
    text = printed(make_record(rows, classes=classes, model=make_model(classes=classes)), width=200)
    assert "[red]cancer" in text
    assert "\x1b" not in text


def test_a_comparison_is_told_in_a_few_lines(before: Path, after: Path):
    lines = page_summary(read_comparison(before, after), Path("out/report/index.html"))
    assert "assimilated model" in lines[0]
    assert lines[-1] == "Next: open out/report/index.html"
    assert len(lines) <= 8


def test_checks_that_spoke_up_are_told_after_the_numbers(tmp_path: Path):
    loud = Check(id="M2", status="warning", value=0.1, threshold=0.0, why="Square did better.", remedy="Look.")
    rows = make_rows()
    path = write_audit(tmp_path, make_record(rows, checks=(loud,)), rows)
    lines = page_summary(read_page([path]), Path("index.html"))
    at = lines.index("M2, warning: Square did better.")
    assert lines[at - 1].startswith("The one check that applies to ")
    assert lines[at + 1] == UPPER_BOUND
    assert "M2" not in " ".join(page_summary(read_page([path] * 3), Path("index.html"))), "many are summed up"
