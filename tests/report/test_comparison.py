import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made_up_audits import (
    CLASSES,
    GRID,
    edit,
    make_data,
    make_model,
    make_record,
    make_rows,
    write_audit,
)

from robaudit.errors import RecordError
from robaudit.records import Check, FileRef, FrontInfo, ImageRow, Loading, Verdict
from robaudit.report.comparison import Comparison, compare_sources, read_comparison
from robaudit.report.curves import SURVIVORS
from robaudit.report.document import document
from robaudit.report.html import read_page, render
from robaudit.report.sources import Source, read_source
from robaudit.report.terminal import page_summary
from robaudit.tally import Sums

MASKED = Verdict(kind="inconclusive", sentence="A gradient-free attack does better.", reasons=("M2",))


def audit(rows: list[ImageRow], **changes: Any) -> Source:
    return Source(make_record(rows, **changes), tuple(rows), {})


def compared(resistance: float, *, front: bool = True, **changes: Any) -> Comparison:
    """A model that falls at 3/255, against one that falls at `resistance`/255."""
    after = audit(make_rows(resistance=resistance, seed=2), model=make_model(front=front), **changes)
    return compare_sources(audit(make_rows(resistance=3, seed=1)), after)


def test_a_gain_is_the_headline_with_its_eps():
    verdict = compared(30).verdict
    assert verdict.tone == "improved"
    assert "assimilated model is higher at " in verdict.headline


def test_a_gain_over_the_vanilla_model_may_be_the_trainings_alone():
    unknown = "What T and C add over the same (adversarial) fine-tuning without them is not known: there is no audit"
    assert compared(30).verdict.sentences[-1].startswith(unknown)
    assert not any(said.startswith("What T") for said in compared(30, front=False).verdict.sentences)


def test_a_loss_is_said_as_plainly():
    verdict = compared(0.6).verdict
    assert verdict.tone == "worse"
    assert "assimilated model is lower at " in verdict.headline


def test_no_evidence_is_the_headline_when_there_is_none():
    rows = make_rows(seed=1)
    verdict = compare_sources(audit(rows), audit(rows, model=make_model(front=True))).verdict
    assert verdict.tone == "none"
    assert verdict.headline == "No evidence that worst-case robust accuracy changed at any eps tested (1–8/255)."


def test_the_sentence_under_the_headline_counts_what_the_rows_say():
    before, after = make_rows(resistance=3, seed=1), make_rows(resistance=6, seed=2)
    stands = [
        [min(v if v is not None else 99 for v in row.fooled_at.values()) > 4 for row in rows]
        for rows in (before, after)
    ]
    only_after = sum(b and not a for a, b in zip(*stands, strict=True))
    only_before = sum(a and not b for a, b in zip(*stands, strict=True))
    sentence = compared(6).verdict.sentences[0]
    assert f"{sum(stands[0])} of 40 images" in sentence
    assert f"{sum(stands[1])} of 40 images" in sentence
    assert f"{only_after} are withstood only by the assimilated model" in sentence
    assert f"{only_before} only by the vanilla model" in sentence


def test_two_vanilla_audits_are_before_and_after():
    page = compared(6, front=False)
    assert (page.names.before, page.names.after) == ("before", "after")
    assert "vanilla" not in page.verdict.headline + "".join(page.verdict.sentences)


def test_an_inconclusive_audit_forbids_every_claim():
    page = compared(30, verdict=MASKED)
    assert page.verdict.tone == "inconclusive"
    assert page.verdict.headline.startswith("Inconclusive")
    assert page.verdict.alarms[0].title == "The assimilated audit is inconclusive"
    assert page.verdict.alarms[0].sentences == (MASKED.sentence, "Checks behind this: M2.")
    assert page.paired == ()
    assert "improved" not in "".join(page.verdict.sentences)
    assert {figure.answer for figure in page.verdict.figures} == {"no claim"}


def test_other_attack_settings_forbid_a_claim_and_are_named():
    page = compared(30, protocol="paper")
    assert page.verdict.tone == "unpaired"
    assert "protocol (nested against paper)" in page.verdict.headline
    assert page.paired == ()
    assert "protocol" in page.unpaired


def test_a_loss_under_the_attacks_of_both_is_said_although_one_more_was_run(tmp_path: Path):
    """What that attack means for the claims is said wherever the verdict is: first screen, terminal and JSON."""
    page = compare_sources(audit(make_rows(resistance=3, seed=1)), attacked_harder(make_rows(resistance=0.6, seed=2)))
    assert page.verdict.tone == "worse"
    meaning = (
        "Beyond the attacks of the vanilla model, the assimilated model faced bpda, which can only lower a curve: "
        "improved means under all attacks, worse under those that both models faced."
    )
    assert page.harder == meaning
    assert meaning in page.verdict.sentences
    assert meaning in page_summary(page, tmp_path)
    assert meaning in json.loads(document(page, tmp_path))["sentences"]
    assert compared(0.6).harder == ""


def attacked_harder(rows: list[ImageRow], *fallen: int) -> Source:
    """An audit of a retrofit that faced BPDA too, on survivors; it fells the images at these positions, at 1/255."""
    rows = [
        row.model_copy(update={"fooled_at": {**row.fooled_at, "bpda": 1 if position in fallen else None}})
        if row.prediction == row.label else row.model_copy(update={"fooled_at": {**row.fooled_at, "bpda": 0}})
        for position, row in enumerate(rows)
    ]  # fmt: skip
    record = make_record(rows, model=make_model(front=True))
    last = record.attacks[-1].model_copy(update={"scope": "survivors", "points": record.worst_case.points})
    return Source(record.model_copy(update={"attacks": (*record.attacks[:-1], last)}), tuple(rows), {})


def test_where_a_test_leaves_further_attacks_out_the_counts_are_those_under_all_and_it_says_its_own(tmp_path: Path):
    """The same model twice, and further attacks that fell images of the second: nothing is known to be worse."""
    rows = make_rows(resistance=3, seed=1)
    stands = [i for i, row in enumerate(rows) if min(99 if eps is None else eps for eps in row.fooled_at.values()) > 4]
    page = compare_sources(audit(rows), attacked_harder(rows, *stands[:3]))
    said = (
        "0 are withstood only by the assimilated model and 3 only by the vanilla model (under the attacks that both "
        "faced: 0 and 0): no evidence of a change (exact McNemar test, p = 1.000"
    )
    assert said in page.verdict.sentences[0]
    [shown] = [row for row in page.paired if row.eps == "4/255"]
    assert (shown.only_before, shown.only_after, shown.tested) == (
        "3",
        "0",
        "under the attacks that both faced: 0 and 0",
    )
    assert shown.tested in render(page)
    told = {test["eps_255"]: test for test in json.loads(document(page, tmp_path))["paired"]}
    assert (told[4]["only_before"], told[4]["only_after"], told[4]["tested"]) == (3, 0, [0, 0])
    assert told[0]["tested"] is None


def test_images_left_out_are_said_aloud():
    rows = make_rows(seed=1)
    page = compare_sources(audit(rows, data=make_data(rows, n_skipped=500)), audit(rows, model=make_model(front=True)))
    [alarm] = page.verdict.alarms
    assert alarm.title.endswith("left out 500 images that could not be read")
    assert alarm.sentences == (f"Every number is of the other {len(rows)} images.",)
    page = compare_sources(audit(rows, data=make_data(rows, n_skipped=1)), audit(rows))
    assert page.verdict.alarms[0].title.endswith("left out 1 image that could not be read")


def test_of_images_learnt_from_no_change_is_claimed_and_why_is_said_aloud(tmp_path: Path):
    """On page, terminal and JSON alike: a gain on images that one model was trained on is none."""
    why = "12 of 16 images were learnt from."
    learnt = Check(id="not-learnt-from", status="warning", value=0.75, threshold=0, why=why, remedy="Scan others.")
    page = compared(30, checks=(learnt,))
    assert (page.verdict.label, page.tests) == ("Inconclusive", None)
    [alarm] = page.verdict.alarms
    assert alarm.title == "The assimilated audit is of images that its model may have learnt from"
    assert alarm.sentences == (why, "Scan others.")
    assert any(why in line for line in page_summary(page, tmp_path))
    assert why in json.loads(document(page, tmp_path))["alarms"][0]
    page = compared(30, checks=(learnt.model_copy(update={"status": "passed"}),))
    assert (page.verdict.tone, page.verdict.alarms) == ("improved", ())


def test_a_retrofit_of_another_model_is_said_aloud():
    front = FrontInfo(vanilla=FileRef(path="other.pt", sha256="f" * 64))
    rows = make_rows(seed=1)
    page = compare_sources(audit(rows), audit(rows, model=make_model(front=True).model_copy(update={"front": front})))
    assert [alarm.title for alarm in page.verdict.alarms] == ["The assimilated model was made from another model"]


def test_audits_in_the_wrong_order_are_said_aloud():
    """A gain would be titled a loss, and the retrofit be called the model before."""
    vanilla, retrofit = audit(make_rows(seed=1)), audit(make_rows(seed=2), model=make_model(front=True))
    [alarm] = compare_sources(retrofit, vanilla).verdict.alarms
    assert alarm.title == "The audits are in the wrong order"
    assert alarm.sentences[0].endswith("swap them.")
    assert compare_sources(vanilla, retrofit).verdict.alarms == ()


def test_two_audits_of_one_model_are_said_aloud_and_keep_their_numbers():
    rows = make_rows(seed=1)
    page = compare_sources(audit(rows), audit(rows, model=make_model(path="copy.pt")))
    [alarm] = page.verdict.alarms
    assert alarm.title == "Both audits are of the same model"
    assert alarm.sentences[0].startswith("Both name copy.pt and models/chest-ct-resnet18.pt (SHA-256 ")
    assert page.verdict.tone == "none"
    ema = make_model(loading=Loading(kind="checkpoint", weights="model_ema"))
    assert compare_sources(audit(rows), audit(rows, model=ema)).verdict.alarms == (), "two of one checkpoint are two"


@pytest.mark.parametrize(("codes", "said"), [(("a", "b"), 1), (("a", "a"), 0), ((None, "b"), 0)])
def test_other_code_of_the_user_than_the_vanilla_audit_had_is_said_aloud(codes: tuple[str | None, str], said: int):
    rows, (before, after) = make_rows(seed=1), codes
    models = make_model(code_sha256=before), make_model(front=True, code_sha256=after)
    page = compare_sources(*(audit(rows, model=model) for model in models))
    found = [alarm.title for alarm in page.verdict.alarms]
    assert found == ["The code of the model changed between the audits"] * said


def sentences(page: Comparison) -> list[str]:
    return [checks.sentence for checks in page.shared.checks]


def test_absent_checks_are_said_plainly_and_loud_ones_named():
    assert sentences(compared(6)) == [
        "No believability checks were run in the vanilla audit.",
        "No believability checks were run in the assimilated audit.",
    ]
    loud = Check(
        id="M2", status="warning", value=0.03, threshold=0.002, why="Square Attack did better.", remedy="Look."
    )
    worse, quiet = (
        loud.model_copy(update={"id": "M4", "status": "failed"}),
        loud.model_copy(update={"id": "P2", "status": "passed"}),
    )
    page = compared(6, checks=(loud, quiet, worse))
    assert sentences(page)[1] == "Of the 3 checks that apply to the assimilated audit, 2 spoke up:"
    assert [row.id for row in page.shared.checks[1].loud] == ["M4", "M2"], "failed before warning"
    assert [row.id for row in page.shared.checks[1].quiet] == ["P2"]
    idle = quiet.model_copy(update={"id": "P3", "status": "not_applicable"})
    page = compared(6, checks=(quiet, idle))
    assert sentences(page)[1] == "The one check that applies to the assimilated audit did not speak up: P2."
    page = compared(6, checks=(loud, idle))
    assert sentences(page)[1] == "The one check that applies to the assimilated audit spoke up:"


def test_of_many_loud_checks_the_first_screen_shows_the_worst_and_counts_the_rest():
    many = tuple(
        Check(id=f"c{i}", status="failed" if i > 15 else "warning", value=1, threshold=0, why="w", remedy="r")
        for i in range(20)
    )
    checks = compared(6, checks=many).shared.checks[1]
    assert [row.id for row in checks.first] == ["c16", "c17", "c18", "c19", "c0", "c1"]
    assert checks.further == "14"
    assert len({row.anchor for row in checks.loud}) == 20


def test_on_what_a_check_was_run_and_what_repaired_it_is_shown():
    said: dict[str, Any] = {"id": "c", "status": "warning", "value": 1, "threshold": 0, "why": "w", "remedy": ""}
    plain, full = Check(**said), Check(**said, sample_size=64, interval=(0, 0.16), repaired_by="pgd")
    notes = [row.notes for row in compared(6, checks=(plain, full)).shared.checks[1].loud]
    assert notes == ["", "on a sample of 64 images; 95% interval 0 to 0.16; repaired by PGD"]


def test_an_attack_that_ran_on_survivors_is_said_to_have():
    rows = make_rows(resistance=6, seed=2)
    curves = make_record(rows).attacks
    changes = {"scope": "survivors", "added_by": "gradient-free"}
    scoped = (*curves[:3], curves[3].model_copy(update=changes))
    page = compared(6, attacks=scoped)
    assert [plot.table.groups[0].note for plot in page.shared.attacks] == [
        "", "", "", f"{SURVIVORS}; added by the check gradient-free"
    ]  # fmt: skip
    assert page.unpaired == "the audits differ in settings of PGD", "another scope is another measurement"


def test_every_attack_is_drawn_from_clean_to_the_largest_eps():
    page = compared(6)
    assert [plot.table.groups[0].name for plot in page.shared.attacks] == ["FGSM", "BIM", "MI-FGSM", "PGD"]
    for plot in (page.shared.worst_case, *page.shared.attacks):
        assert [line.look.css for line in plot.chart.lines] == ["before", "after"]
        assert all(len(line.marks) == 1 + len(GRID) for line in plot.chart.lines)


def test_an_attack_of_one_audit_only_has_one_line():
    after = make_rows(resistance=6, seed=2, attacks=("fgsm", "pgd", "square"))
    page = compare_sources(audit(make_rows(seed=1)), audit(after))
    sides = {plot.table.groups[0].name: [line.look.css for line in plot.chart.lines] for plot in page.shared.attacks}
    assert sides["PGD"] == ["before", "after"]
    assert sides["BIM"] == ["before"]
    assert sides["Square"] == ["after"]


def test_a_named_positive_class_makes_sensitivity_and_specificity():
    rows = make_rows()
    named = audit(rows, data=make_data(rows, positive="cancer"))
    notes = [group.note for group in compare_sources(named, named).shared.classes.groups]
    assert notes == ["sensitivity", "specificity"]
    assert [group.note for group in compared(6).shared.classes.groups] == ["recall", "recall"]
    otherwise = audit(rows, data=make_data(rows, positive="no-cancer"))
    assert [group.note for group in compare_sources(named, otherwise).shared.classes.groups] == ["recall", "recall"]


def test_of_three_classes_only_the_positive_one_is_renamed():
    classes = ("glioma", "meningioma", "none")
    rows = make_rows(classes=classes)
    source = Source(
        make_record(
            rows,
            classes=classes,
            model=make_model(classes=classes, n_classes=3),
            data=make_data(rows, classes, positive="glioma"),
        ),
        tuple(rows),
        {},
    )
    assert [group.note for group in compare_sources(source, source).shared.classes.groups] == [
        "sensitivity",
        "recall",
        "recall",
    ]


def test_the_gallery_puts_the_same_image_side_by_side(before: Path, after: Path):
    exhibit = read_comparison(before, after, without_glcm=after).shared.gallery[0]
    assert [strip.title for strip in exhibit.strips] == ["Vanilla", "Assimilated", "Without GLCM loss"]
    assert [shown.role for shown in exhibit.strips[1].shown] == [
        "original",
        "texture",
        "colour",
        "adversarial",
        "difference",
    ]
    assert [shown.role for shown in exhibit.strips[2].shown] == ["texture", "colour"]


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "gallery/../../secret.png", ".", "nul\0byte"])
def test_a_picture_outside_the_audit_is_refused(before: Path, after: Path, path: str):
    (before.parent.parent / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 40)
    edit(before, lambda record: record["artifacts"][0]["files"].update(original=path))
    with pytest.raises(RecordError, match="own folder"):
        read_comparison(before, after)


def test_a_link_out_of_the_audit_is_refused(before: Path, after: Path):
    secret = before.parent.parent / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 40)
    (before.parent / "gallery/link.png").symlink_to(secret)
    edit(before, lambda record: record["artifacts"][0]["files"].update(original="gallery/link.png"))
    with pytest.raises(RecordError, match="own folder"):
        read_comparison(before, after)


def test_a_missing_picture_is_named(before: Path, after: Path):
    (before.parent / "gallery/0-original.png").unlink()
    with pytest.raises(RecordError, match=r"0-original\.png.*cannot be read"):
        read_comparison(before, after)


def test_a_picture_that_is_no_png_is_refused(before: Path, after: Path):
    (before.parent / "gallery/0-original.png").write_text("<svg onload='alert(1)'/>")
    with pytest.raises(RecordError, match="no PNG"):
        read_comparison(before, after)


@pytest.mark.parametrize("n_audits", [1, 2, 3])
@pytest.mark.parametrize("rows", ["images.partial.jsonl", "images.jsonl"])
def test_no_page_is_made_of_an_unfinished_audit(before: Path, after: Path, rows: str, n_audits: int):
    edit(after, lambda record: record.update(status="partial", images=rows))
    with pytest.raises(RecordError, match=r"audit\.json: is unfinished; run the same scan again to go on$"):
        read_page([after, before, before][:n_audits])


def test_missing_rows_are_refused(before: Path, after: Path):
    (after.parent / "images.jsonl").unlink()
    with pytest.raises(RecordError) as error:
        read_comparison(before, after)
    rows = after.parent / "images.jsonl"
    remedy = "put the one that scan wrote with audit.json beside it, or scan again"
    assert str(error.value) == f"{rows}: cannot be read (No such file or directory); {remedy}"


def test_rows_from_outside_the_audit_are_refused(before: Path, after: Path):
    edit(before, lambda record: record.update(images="../after/images.jsonl"))
    with pytest.raises(RecordError, match="own folder"):
        read_comparison(before, after)


def test_rows_that_contradict_the_record_are_refused(tmp_path: Path, after: Path):
    record = make_record(make_rows(seed=1))
    contradiction = write_audit(tmp_path / "other", record, make_rows(seed=5))
    with pytest.raises(RecordError, match="do not add up"):
        read_comparison(contradiction, after)


def test_a_clean_count_that_the_rows_contradict_is_refused(before: Path, after: Path):
    def all_right(record: dict[str, Any]) -> None:
        for tally in (record["clean"], *record["clean"]["per_class"].values()):
            tally["n_correct"] = tally["n_images"]

    edit(before, all_right)
    with pytest.raises(RecordError, match="do not add up"):
        read_comparison(before, after)


@pytest.mark.parametrize("of", ["points", "raw_points"])
def test_a_curve_of_an_attack_that_the_rows_contradict_is_refused(before: Path, after: Path, of: str):
    """The worst case alone would not tell: PGD sets it."""

    def fall_later(record: dict[str, Any]) -> None:
        curve = record["attacks"][0][of]
        smaller, larger = next(pair for pair in pairwise(curve) if pair[0]["n_correct"] > pair[1]["n_correct"])
        larger |= smaller | {"eps_255": larger["eps_255"]}

    edit(before, fall_later)
    with pytest.raises(RecordError, match="do not add up"):
        read_comparison(before, after)


@pytest.mark.parametrize("protocol", ["nested", "paper"])
def test_the_curves_of_an_attack_on_survivors_and_of_one_at_every_eps_add_up(tmp_path: Path, protocol: str):
    rows = make_rows()
    record = make_record(rows)
    fgsm, *_, pgd = record.attacks
    bim = record.attacks[1].model_copy(update={"scope": "survivors"})
    sums = Sums((fgsm, pgd, bim), (), CLASSES, GRID)
    sums.add(*rows)
    bim = bim.model_copy(update={"points": sums.curves[-1][0]})
    first = fgsm.model_copy(update={"points": fgsm.raw_points}) if protocol == "paper" else fgsm
    changed = record.model_copy(update={"protocol": protocol, "attacks": (first, pgd, bim)})
    path = write_audit(tmp_path / "audit", changed, rows)
    assert read_source(path).record == changed
    edit(path, lambda record: record["attacks"].reverse())
    with pytest.raises(RecordError, match="do not add up"):
        read_source(path)


def test_comparing_loads_neither_torch_nor_scipy_until_it_must():
    modules = "robaudit.report.comparison, robaudit.report.html, robaudit.report.terminal, robaudit.cli.compare"
    code = f"import sys, {modules}; sys.exit(bool({{'torch', 'scipy', 'jinja2'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
