"""The page of one audit alone."""

from pathlib import Path
from typing import Any

import pytest
from made_up_audits import make_data, make_model, make_record, make_rows
from test_page import Page, assert_static

from robaudit.checks.saying import left_out
from robaudit.errors import SettingsError
from robaudit.records import NOT_LEARNT_FROM, Check, Loading, Verdict
from robaudit.report.html import compare, read_page, write_report
from robaudit.report.single import SingleAudit, single_audit
from robaudit.report.sources import Source

ROWS = make_rows(n_per_class=50, seed=1)


def alone(**changes: Any) -> SingleAudit:
    return single_audit(Source(make_record(ROWS, **changes), tuple(ROWS), {}))


def test_from_python_one_audit_is_enough_and_paths_may_be_text(before: Path, tmp_path: Path) -> None:
    page = compare(str(before), out=str(tmp_path / "out"))
    assert "Audit of " in page.read_text(encoding="utf-8")
    with pytest.raises(SettingsError, match="joins a comparison of two audits, and there are 1"):
        compare(before, out=tmp_path / "out", without_glcm=before)


def test_the_headline_is_the_worst_case_at_the_eps_that_headlines():
    """Counted here from the rows, without the code that made the record."""
    stands = sum(min(99 if eps is None else eps for eps in row.fooled_at.values()) > 4 for row in ROWS)
    verdict = alone().verdict
    assert verdict.headline == (
        f"At most {stands} of 100 images ({stands}.0%) stay correct when every pixel may change by 4/255."
    )
    assert verdict.label == "Measured"


def test_the_first_screen_ends_with_the_class_hit_hardest():
    figures = alone(data=make_data(ROWS, positive="cancer")).verdict.figures
    assert [figure.name for figure in figures[:3]] == ["Clean accuracy", "Worst case at 4/255", "Worst case at 8/255"]
    stands = {
        label: sum(
            min(99 if e is None else e for e in row.fooled_at.values()) > 4 for row in ROWS if row.label == label
        )
        for label in ("cancer", "no-cancer")
    }
    worst = min(stands, key=stands.__getitem__)
    kind = "sensitivity" if worst == "cancer" else "specificity"
    assert figures[3].name == f"Worst class at 4/255: {worst} ({kind})"
    assert figures[3].readings[0].counts == f"{stands[worst]} of 50"


@pytest.mark.parametrize(
    ("spared", "name", "counts"),
    [
        ({}, "every class alike", "0 of 24"),
        ({"a": 1, "b": 2}, "c", "0 of 8"),
        ({"a": 1, "c": 1, "b": 2}, "a and c alike", "2 of 16"),
    ],
)
def test_no_class_is_called_hit_hardest_that_shares_its_recall(spared: dict[str, int], name: str, counts: str):
    classes = ("a", "b", "c")
    rows = [
        row.model_copy(update={"fooled_at": {"pgd": None if index % 8 < spared.get(row.label, 0) else 1}})
        for index, row in enumerate(make_rows(n_per_class=8, classes=classes, clean=1, attacks=["pgd"]))
    ]
    record = make_record(rows, classes=classes, model=make_model(classes=classes, n_classes=3))
    figure = single_audit(Source(record, tuple(rows), {})).verdict.figures[-1]
    assert figure.name.removesuffix(" (recall)") == f"Worst class at 4/255: {name}"
    assert figure.readings[0].counts == counts


def test_an_inconclusive_audit_says_so_before_any_number():
    masked = Verdict(kind="inconclusive", sentence="Gradients are masked.", reasons=("masking",))
    verdict = alone(verdict=masked).verdict
    assert verdict.tone == "inconclusive"
    assert verdict.headline.startswith("Inconclusive")
    [alarm] = verdict.alarms
    assert alarm.title == "This audit is inconclusive"
    assert "Gradients are masked." in alarm.sentences


LEARNT = Check(id=NOT_LEARNT_FROM, status="warning", value=1, threshold=0, why="All were.", remedy="Scan others.")


@pytest.mark.parametrize(
    ("checks", "title", "said"),
    [
        ((LEARNT,), "is of images that its model may have learnt from", "All were. Scan others."),
        (
            (left_out("uphill"), left_out("smooth")),
            "left out checks",
            "Nobody has asked whether its attacks were any good (uphill and smooth). Scan with --check-sample 24.",
        ),
    ],
)
def test_an_audit_that_may_not_be_relied_on_is_what_badge_and_gate_call_it(
    checks: tuple[Check, ...], title: str, said: str
):
    verdict = alone(checks=checks).verdict
    assert verdict.label == "Inconclusive"
    assert "stay correct" not in verdict.headline + "".join(verdict.sentences)
    [alarm] = verdict.alarms
    assert alarm.line == f"This audit {title}: {said}"


def test_the_method_says_how_images_were_shown_and_the_model_was_read_where_that_was_chosen():
    loading = Loading(
        kind="checkpoint", weights="model_ema", output="logits", label_index=7, threshold=0.123, runs_code=True,
        left_out=("lightning.Trainer",),
    )  # fmt: skip
    shown = make_data(ROWS, shown=("--invert", "--resize crop"))
    chosen, plain = (
        {setting.name: setting.value for part in page.shared.method.sections for setting in part.settings}
        for page in (alone(data=shown, model=make_model(loading=loading)), alone())
    )
    assert {name: fact for name, fact in chosen.items() if name not in plain} == {
        "shown with": "--invert --resize crop",
        "weights taken from": "model_ema",
        "answer taken": "logits",
        "finding audited": "number 7, counted from 0",
        "threshold": "0.123, for the second class",
        "code from outside robaudit": "has run",
        "left out of the file": "lightning.Trainer",
    }


def test_the_page_compares_nothing(before: Path, tmp_path: Path):
    page = Page(write_report(read_page([before]), tmp_path / "out").read_text(encoding="utf-8"))
    assert_static(page)
    assert "McNemar" not in page.text
    assert "vanilla" not in page.text.split("How it was measured")[0].lower()
    charts = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("role") == "img"]
    assert len(charts) == 5


def test_pictures_without_glcm_need_a_comparison(before: Path):
    with pytest.raises(SettingsError, match="comparison of two audits, and there are 1"):
        read_page([before], without_glcm=before)
