"""The page of many audits."""

from pathlib import Path
from typing import Any

from made_up_audits import GRID, make_data, make_model, make_record, make_rows, write_audit
from test_page import Page, assert_static

from robaudit.records import Check, ImageRow, ThreatModel, Verdict
from robaudit.report.history import MOST_DRAWN, History, history
from robaudit.report.html import read_page, render, write_report
from robaudit.report.paired import holm, mcnemar
from robaudit.report.sides import names_from_paths
from robaudit.report.sources import Source


def audit(resistance: float, seed: int = 1, **changes: Any) -> Source:
    rows = make_rows(resistance=resistance, seed=seed, n_per_class=40)
    return Source(make_record(rows, **changes), tuple(rows), {})


def many(*sources: Source) -> History:
    return history([f"v{position}" for position in range(len(sources))], sources)


def test_each_is_compared_with_the_first():
    page = many(audit(3), audit(30, 2), audit(0.6, 3), audit(3))
    assert [entry.answer for entry in page.entries] == ["", "improved", "worse", "no evidence of a change"]
    assert page.verdict.headline == (
        "Against v0, worst-case robust accuracy at 4/255 is higher in v1; lower in v2; not known to differ in v3."
    )
    assert (page.verdict.tone, page.verdict.label) == ("mixed", "Mixed")


def test_p_is_corrected_over_all_audits_and_eps_at_once():
    """Two audits at eight eps are sixteen questions."""
    first, *others = sources = [audit(3), audit(4.5, 2), audit(2.4, 3)]
    raw = []
    for other in others:
        for eps in range(1, 9):
            stands = [
                [min(99 if e is None else e for e in row.fooled_at.values()) > eps for row in source.rows]
                for source in (first, other)
            ]
            pairs = list(zip(*stands, strict=True))
            raw.append(mcnemar(pairs.count((True, False)), pairs.count((False, True))))
    expected = ["p < 0.001" if p < 0.001 else f"p = {p:.3f}" for p in holm(raw)]
    page = many(*sources)
    assert page.n_tests == "16"
    assert [answered.p for entry in page.entries for answered in entry.answers if answered.eps != "clean"] == expected


def test_who_faced_further_attacks_is_said_and_may_still_be_called_worse():
    source = audit(0.6, 3)

    def attacked_harder(*names: str) -> Source:
        curve = source.record.attacks[-1].model_copy(update={"scope": "survivors"})
        further = [curve.model_copy(update={"name": name}) for name in names]
        attacks = (*source.record.attacks, *further)
        return Source(source.record.model_copy(update={"attacks": attacks}), source.rows, {})

    page = many(audit(3), attacked_harder("bpda"), attacked_harder("bpda", "square"), audit(3), attacked_harder("bpda"))
    assert page.entries[1].answer == "worse"
    assert page.harder.startswith(
        "Beyond the attacks of v0, v1 and v4 faced bpda; v2 faced bpda and Square, which can "
    )
    assert page.harder in page.verdict.sentences
    assert many(audit(3), source, audit(3)).harder == ""


def with_clean_errors(source: Source, n: int) -> Source:
    """The same audit, but the model is wrong about its first n images."""
    rows = tuple(
        row.model_copy(update={"prediction": None if row.error else "no-cancer" if row.label == "cancer" else "cancer",
                               "fooled_at": dict.fromkeys(row.fooled_at, 0)}) if position < n else row
        for position, row in enumerate(source.rows)
    )  # fmt: skip
    return Source(make_record(rows), rows, {})


def test_clean_accuracy_of_many_audits_is_as_many_questions():
    first = audit(3)
    others = [with_clean_errors(first, n) for n in (6, 9, 14)]
    raw = []
    for other in others:
        right = [[row.prediction == row.label for row in source.rows] for source in (first, other)]
        pairs = list(zip(*right, strict=True))
        raw.append(mcnemar(pairs.count((True, False)), pairs.count((False, True))))
    expected = ["p < 0.001" if p < 0.001 else f"p = {p:.3f}" for p in holm(raw)]
    assert raw[0] < 0.05
    page = many(first, *others)
    assert [entry.answers[0].p for entry in page.entries[1:]] == expected
    assert len(set(expected)) > 1


def test_a_change_at_some_eps_or_in_some_audits_is_not_tagged_as_one_everywhere():
    assert many(audit(3), audit(30, 2), audit(3)).verdict.label == "Improved in part"
    everywhere = many(audit(0.1), audit(300, 2))
    assert {answered.answer for answered in everywhere.entries[1].answers[1:]} == {"improved"}
    assert everywhere.verdict.label == "Improved"


def test_worse_at_other_eps_than_the_headline_is_not_tagged_improved():
    first = audit(3)
    rows = tuple(_falls_at(row, None if position % 4 else 1) for position, row in enumerate(first.rows))
    page = many(
        Source(first.record, tuple(_falls_at(row, 3) for row in first.rows), {}),
        Source(make_record(rows), rows, {}),
    )
    answers = [answered.answer for answered in page.entries[1].answers[1:]]
    assert {"worse", "improved"} <= set(answers)
    assert page.entries[1].answer == "improved"
    assert (page.verdict.tone, page.verdict.label) == ("mixed", "Mixed")


def _falls_at(row: ImageRow, eps: int | None) -> ImageRow:
    at = 0 if row.prediction != row.label else eps
    raw = () if at is None else tuple(each for each in GRID if each >= at)
    return row.model_copy(update={"fooled_at": dict.fromkeys(row.fooled_at, at), "raw_fooled_at": {"fgsm": raw}})


def test_what_is_not_comparable_is_listed_and_not_tested():
    rows = make_rows(n_per_class=40)
    other_data = audit(3, data=make_data(rows, sha256="f" * 64))
    other_attack = audit(3, protocol="paper")
    doubtful = audit(3, verdict=Verdict(kind="inconclusive", sentence="Masked."))
    page = many(audit(3), other_data, other_attack, doubtful, audit(30, 2))
    assert [entry.why for entry in page.entries] == [
        "",
        "data.sha256 differs, so it answers another question",
        "the audits differ in protocol (nested against paper)",
        "an audit is inconclusive",
        "",
    ]
    assert [entry.answer for entry in page.entries] == ["", "no claim", "no claim", "no claim", "improved"]
    assert page.verdict.headline == "Against v0, worst-case robust accuracy at 4/255 is higher in v4."
    assert "Nothing is claimed of v1, v2 and v3; the table says why." in page.verdict.sentences
    [alarm] = page.verdict.alarms
    assert alarm.sentences == ("The v3 audit is inconclusive: Masked.",)


def test_images_learnt_from_are_said_of_each_audit():
    learnt = Check(
        id="not-learnt-from", status="warning", value=1, threshold=0, why="All were learnt from.", remedy="r"
    )
    page = many(audit(3), audit(30, 2, checks=(learnt,)), audit(3))
    [alarm] = page.verdict.alarms
    [said] = alarm.sentences
    assert said == "The v1 audit is of images that its model may have learnt from: All were learnt from. r"
    assert (page.entries[1].verdict, page.entries[1].why) == ("inconclusive", "an audit is inconclusive")


def test_images_left_out_are_said_of_each_audit():
    rows = make_rows(n_per_class=40)
    page = many(audit(3), audit(3, data=make_data(rows, n_skipped=3)), audit(3))
    [alarm] = page.verdict.alarms
    assert alarm.sentences == (
        "The v1 audit left out 3 images that could not be read: Every number is of the other 80 images.",
    )


def test_an_inconclusive_first_audit_leaves_nothing_to_claim():
    page = many(audit(3, verdict=Verdict(kind="inconclusive", sentence="Masked.")), audit(30, 2), audit(30, 2))
    assert page.verdict.tone == "unpaired"
    assert page.verdict.headline == "No claim: none of these audits can be tested against v0."
    assert page.n_tests == ""


def audit_at(eps_255: int) -> Source:
    """An audit of one eps."""
    source = audit(3)
    points = tuple(point for point in source.record.worst_case.points if point.eps_255 == eps_255)
    changes = {
        "threat_model": ThreatModel(eps_255=(eps_255,), image_channels="grey", sentence=f"At most {eps_255}/255."),
        "attacks": tuple(curve.model_copy(update={"points": points}) for curve in source.record.attacks),
        "worst_case": source.record.worst_case.model_copy(update={"points": points}),
    }
    return Source(source.record.model_copy(update=changes), source.rows, {})


def test_audits_of_other_eps_share_a_table_with_gaps():
    page = many(audit(3), audit_at(4), audit(3))
    _, row, _ = page.shared.counts.groups[0].rows
    assert [cell.percent for cell in row.cells].count("–") == 7


def test_a_column_holds_one_eps_whatever_the_audits_tested():
    """Of an audit at 8/255 alone nothing stands in the column of 4/255, and its worst class is said with its eps."""
    at_eight = audit_at(8)
    page = many(audit(3), at_eight, audit(3))
    assert page.entries[1].headline.percent == "–"
    assert page.entries[1].largest.count == str(at_eight.record.worst_case.points[0].n_correct)
    assert page.entries[1].worst_class == ""
    assert " at 8/255, " in page.shared.worst_classes[1]
    assert " at " not in page.shared.worst_classes[0]


def test_no_column_stands_twice():
    """Where the largest eps is the one that headlines, one column has both."""
    pages = {"both": many(audit(3), audit(3)), "one": many(audit_at(4), audit_at(4))}
    tables = {
        name: render(page).partition('<table class="audits">')[2].partition("</table>")[0]
        for name, page in pages.items()
    }
    assert [tables["both"].count(f"worst case at {eps}/255") for eps in (4, 8)] == [1, 1]
    assert tables["one"].count("worst case at 4/255") == 1
    for table in tables.values():
        rows = table.split("<tr>")[1:]
        assert len({row.count("<th") + row.count("<td") for row in rows}) == 1, "headings and cells are as many"


def test_checks_are_summed_up_in_a_sentence():
    check = Check(id="c", status="failed", value=1, threshold=0, why="w", remedy="r")
    quiet = check.model_copy(update={"status": "passed"})
    page = many(audit(3, checks=(check, check, quiet)), audit(3, checks=(quiet,)), audit(3))
    assert page.verdict.sentences[-1] == ("Checks that spoke up: 2 in v0. No believability checks were run in v2.")


def test_of_too_many_audits_the_first_and_the_last_are_drawn():
    page = many(*[audit(3)] * (MOST_DRAWN + 3))
    assert len(page.shared.worst_case.chart.lines) == MOST_DRAWN
    assert page.left_out == "v1, v2 and v3"
    looks = [line.look for line in page.shared.worst_case.chart.lines]
    assert len(set(looks)) == len({look.marker for look in looks}) == MOST_DRAWN, "and no two look alike"
    assert len(page.shared.counts.groups[0].rows) == MOST_DRAWN + 3


def test_audits_are_called_by_what_tells_them_apart(tmp_path: Path):
    paths = [tmp_path / name / "audit.json" for name in ("monday/before", "tuesday/before", "after")]
    assert names_from_paths([*paths, tmp_path / "old.json"]) == ["monday/before", "tuesday/before", "after", "old"]


def test_an_audit_given_twice_is_numbered_and_no_path_of_this_machine_is_shown(tmp_path: Path):
    before, after = (tmp_path / name / "audit.json" for name in ("before", "after"))
    assert names_from_paths([before, after, before]) == ["before (1)", "after", "before (2)"]


def test_the_page_stands_under_the_strictest_policy(tmp_path: Path):
    paths = []
    for position, resistance in enumerate((2.5, 6, 1)):
        rows = make_rows(resistance=resistance, seed=position)
        record = make_record(rows, model=make_model(path=f"models/{position}.pt"))
        paths.append(write_audit(tmp_path / f"v{position}", record, rows))
    page = Page(write_report(read_page(paths), tmp_path / "out").read_text(encoding="utf-8"))
    assert_static(page)
    for name in ("v0", "v1", "v2", "models/0.pt", "models/2.pt"):
        assert name in page.text
    ids = [value for name, value in page.attributes() if name == "id"]
    assert len(ids) == len(set(ids))
