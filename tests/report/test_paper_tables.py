"""The tables of examples/paper, from audits made up beforehand."""

import json
import math
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from made_up_audits import make_model, make_record, make_rows, write_audit

from robaudit.records import Verdict

ARMS = {"vanilla": 1.5, "fine-tuning": 1.6, "no-glcm": 3.0, "assimilation": 6.0}
"""Arm -> how much it resists; no-glcm is made inconclusive, robust is not run."""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, paper: Callable[..., None]) -> tuple[Path, str]:
    """The folder of the cells, and what the script printed without time to run any."""
    out = tmp_path_factory.mktemp("paper")
    for arm, resistance in ARMS.items():
        rows = make_rows(resistance=resistance, seed=len(arm))
        kind = "inconclusive" if arm == "no-glcm" else "measured"
        model = make_model(front=arm in ("assimilation", "no-glcm"))
        record = make_record(rows, model=model, verdict=Verdict(kind=kind, sentence="Made up."))
        write_audit(cell(out, arm) / "audit-strong", record, rows)
    arguments = ["--arms", ",".join([*ARMS, "robust"]), "--minutes", "0", "--strong", "--out", str(out)]
    with redirect_stdout(StringIO()) as printed, redirect_stderr(StringIO()) as said:
        paper(*arguments)
    assert not said.getvalue()
    return out, printed.getvalue()


def test_both_tables_are_printed_and_written(tables: tuple[Path, str]) -> None:
    out, printed = tables
    source, strong = ((out / name).read_text(encoding="utf-8") for name in ("table.md", "table-strong.md"))
    assert printed == f"{source}\n{strong}"


@pytest.mark.parametrize("eps_255", [0, 2, 8])
def test_a_line_of_the_strong_table_is_what_its_rows_say(tables: tuple[Path, str], eps_255: int) -> None:
    """Counted anew from images.jsonl, tested by a sum of binomial coefficients."""
    out, printed = tables
    before, after = (withstood(cell(out, arm), eps_255) for arm in ("vanilla", "assimilation"))
    gained, lost = len(after - before), len(before - after)
    names, n_right, against_vanilla = line_of(printed, "assimilation", eps_255)
    assert names == ["phantoms", "test_resnet", "0", "assimilation"]
    assert n_right == f"{len(after)} of 40"
    assert against_vanilla.endswith(f"({gained} gained, {lost} lost)")
    if eps_255 == 0:  # alone, without Holm's correction
        assert f"p = {coin(gained, lost):.3f}" in against_vanilla
    else:
        # Holm multiplies by 1 to 8.
        least, most = coin(gained, lost), 8 * coin(gained, lost)
        assert most < 0.05 or least >= 0.05, "made-up rows that leave it open"
        assert against_vanilla.startswith("improved" if most < 0.05 else "no evidence")


def test_an_inconclusive_audit_gets_no_claim(tables: tuple[Path, str]) -> None:
    assert line_of(tables[1], "no-glcm", 4)[2] == "no claim: an audit is inconclusive"


def test_t_and_c_are_held_against_the_same_training_without_them(tables: tuple[Path, str]) -> None:
    out, printed = tables
    rival, after = (withstood(cell(out, arm), 3) for arm in ("fine-tuning", "assimilation"))
    row = next(line for line in printed.splitlines() if "| assimilation |" in line and "| 3/255 |" in line)
    assert row.endswith(f"({len(after - rival)} gained, {len(rival - after)} lost) |")


def test_what_was_not_run_says_so(tables: tuple[Path, str]) -> None:
    source, strong = tables[1].split("Right answers", 1)
    assert all(line.count("not run") == 9 for line in source.splitlines()[2:] if line)
    (robust,) = [line for line in strong.splitlines() if "| robust |" in line]
    assert robust.count("not run") == 2, "training and audit"


def test_every_finished_arm_stands_on_one_page(tables: tuple[Path, str]) -> None:
    page = cell(tables[0], "vanilla").parent / "report-strong" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert all(f"{arm}/audit-strong" in text for arm in ARMS)


def cell(out: Path, arm: str) -> Path:
    return out / "phantoms" / "test_resnet" / "seed-0" / arm


def line_of(printed: str, arm: str, eps_255: int) -> tuple[list[str], str, str]:
    """Names, right answers and words against vanilla."""
    eps = f"| {eps_255}/255 |" if eps_255 else "| clean |"
    strong = printed.split("Right answers", 1)[1]
    (row,) = [line for line in strong.splitlines() if f"| {arm} |" in line and eps in line]
    cells = [part.strip() for part in row.strip("|").split("|")]
    return cells[:4], cells[6], cells[9]


def withstood(folder: Path, eps_255: int) -> set[str]:
    """Images that no attack fooled within `eps_255`."""
    lines = (folder / "audit-strong" / "images.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        row["id"]
        for row in map(json.loads, lines)
        if all(found is None or found > eps_255 for found in row["fooled_at"].values())
    }


def coin(gained: int, lost: int) -> float:
    """Two-sided exact probability of so uneven a split, were it a fair coin."""
    n = gained + lost
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n)
