"""Attention and loss surface, as they stand in the folder of the audited retrofit."""

import json
import re
from pathlib import Path

import pytest
from made_up_audits import audit_of_folder as audited
from made_up_audits import make_gallery, make_record, make_rows, png, write_audit
from test_page import Page, assert_static

from robaudit.report.chart import HALF
from robaudit.report.diagnostics import Diagnosed, read_diagnostics
from robaudit.report.html import compare
from robaudit.report.moved import moved
from robaudit.report.tone import tone
from robaudit.retrofit_records import FeatureMoved, TextureMoved, ToneCurve

IDS = ("cancer/0000.png", "<b>odd</b>.png")
TEXTURE = {
    "n_images": 64,
    "levels": 32,
    "patch": 20,
    "distance": 3,
    "features": {
        "asm": {"original": 0.2, "after_texture": 0.19, "after_colour": 0.18, "moved": 0.03},
        "contrast": {"original": 3.2, "after_texture": 3.6, "after_colour": 4.0, "moved": 1.1},
        "correlation": {"original": 0.01, "after_texture": 0.05, "after_colour": 0.1, "moved": 0.2},
        "invented later": {"original": 1, "after_texture": 9, "after_colour": 9, "moved": 9},
    },
}


@pytest.fixture
def diagnosed_folder(folder: Path) -> Path:
    """An assimilated folder that was diagnosed on two images."""
    names = ["surface-before", "surface-after"]
    names += [f"{kind}-{index}" for kind in ("original", "attention-before", "attention-after") for index in (0, 1)]
    (folder / "pictures").mkdir()
    for shade, name in enumerate(names):
        (folder / "pictures" / f"{name}.png").write_bytes(png(20 * shade))
    content = {
        "format_version": 1,
        "image_ids": IDS,
        "held": 0.5,
        "steps_255": [-8, 0, 8],
        "before": {"attention_share": [0.2, 0.1], "curvature": [4.0, -2.0], "surface": [[1.0]]},
        "after": {"attention_share": [0.05, None], "curvature": [1.0, 2.0], "surface": [[0.5]]},
        "texture": TEXTURE,
        "tone": {"grey": [0, 100, 200, 255], "seen": [0.0, 20.0, 220.0, 255.0]},
        "pictures": {name: f"pictures/{name}.png" for name in names},
    }
    (folder / "diagnostics.json").write_text(json.dumps(content))
    return folder


def read(folder: Path) -> Diagnosed:
    found = read_diagnostics(audited(folder))
    assert found is not None
    return found


def test_medians_of_both_models_are_said(diagnosed_folder: Path):
    """Of 0.2 and 0.1 the median is 0.15; without a gradient there is no attention; curvature counts by its size."""
    attention, sharpness = read(diagnosed_folder).sentences
    assert attention.startswith("50% of the input gradient lie in 15.0% of the pixels before the retrofit and in 5.0%")
    assert "3 before, 1.5 after" in sharpness


def test_every_image_is_shown_with_the_attention_of_both(diagnosed_folder: Path):
    found = read(diagnosed_folder)
    assert [seen.id for seen in found.images] == list(IDS)
    captions = ["Original", "Attention, vanilla", "Attention, assimilated"]
    assert [shown.caption for shown in found.images[1].shown] == captions
    assert [shown.caption for shown in found.surfaces] == ["Loss surface, vanilla", "Loss surface, assimilated"]


def test_the_page_shows_them_under_the_strictest_policy(diagnosed_folder: Path, before: Path, tmp_path: Path):
    rows = make_rows(resistance=6, seed=2)
    model = audited(diagnosed_folder).model
    record = make_record(rows, model=model, artifacts=make_gallery(rows, tmp_path / "retrofit"))
    after = write_audit(tmp_path / "retrofit", record, rows)
    page = Page(compare(before, after, out=tmp_path / "out").read_text(encoding="utf-8"))
    assert_static(page)
    assert "Attention and loss surface" in page.text
    assert "Texture moved by T and C" in page.text
    assert "T and C moved contrast most" in page.text
    assert "How the retrofit was trained" in page.text
    assert "optimiser AdamW ours augment <b>flip" in page.text
    assert "<b>odd</b>.png" in page.text
    for attributes in (attributes for tag, attributes in page.elements if tag == "img"):
        assert (tmp_path / "out" / str(attributes["src"])).is_file()


def test_the_texture_that_moved_is_a_table_and_a_sentence(diagnosed_folder: Path):
    texture = read(diagnosed_folder).texture
    assert texture is not None
    assert texture.sentence == (
        "T and C moved contrast most: from 3.2 in the image to 4 in what the network sees (+25%), mean over 64 "
        "validation images."
    )
    assert [row.name for row in texture.rows] == ["Angular second moment", "Contrast", "Correlation"]
    assert "1 at a grey level and down to 0.25 between two" in texture.rows[0].meaning  # see tests/texture
    assert texture.rows[1].values == ("3.200", "3.600", "4.000", "+0.800", "1.100")


def test_texture_that_stays_is_said_to_stay_and_what_is_not_there_is_a_dash():
    contrast = FeatureMoved(original=3.2, after_texture=3.21, after_colour=None, moved=0.1)
    found = moved(TextureMoved(n_images=9, levels=32, patch=20, distance=3, features={"contrast": contrast}), "T")
    assert found is not None
    assert found.sentence.startswith("T left texture as it was: no feature's mean changed by 1% or more, over 9")
    assert found.rows[0].values[2] == "–"


def test_plain_grey_is_drawn_beside_itself_and_its_flattest_and_steepest_parts_are_said(diagnosed_folder: Path):
    """Slopes by hand: 20/100, 200/100, 35/55."""
    found = read(diagnosed_folder).tone
    assert found is not None
    assert (
        "least between grey 0 and 100 of 255, by 0.20 of a level per level, and most between 100 and 200, by 2.00."
        in (found.sentence)
    )
    assert found.rows == (("0", "0.0"), ("100", "20.0"), ("200", "220.0"), ("255", "255.0"))
    image, seen = (re.findall(r"([\d.]+),([\d.]+)", line.path) for line in found.chart.lines)
    top, bottom = HALF.top, HALF.height - HALF.bottom
    heights = [(bottom - float(y)) / (bottom - top) for _, y in seen]
    assert heights == pytest.approx([0, 20 / 255, 220 / 255, 1], abs=1e-3)
    assert image[0] == seen[0]
    assert image[-1] == seen[-1]


def test_grey_that_stays_is_said_to_stay():
    plain = ToneCurve(grey=(0, 255), seen=(0.4, 254.2))
    assert tone(plain, "T and C").sentence.startswith("T and C leave plain grey as it is")
    assert tone(plain, "C").sentence.startswith("C leaves plain grey as it is")


def test_what_one_module_did_is_not_laid_at_both_their_doors(diagnosed_folder: Path):
    record = audited(diagnosed_folder)
    assert record.model.front is not None
    front = record.model.front.model_copy(update={"modules": "C"})
    found = read_diagnostics(record.model_copy(update={"model": record.model.model_copy(update={"front": front})}))
    assert found is not None
    assert found.texture is not None
    assert found.tone is not None
    assert found.texture.sentence.startswith("C moved contrast most")
    assert found.texture.headings[2] == "after C"
    assert "C acts as a contrast curve" in found.tone.sentence


def test_a_folder_of_before_texture_was_measured_still_has_the_rest(diagnosed_folder: Path):
    file = diagnosed_folder / "diagnostics.json"
    content = json.loads(file.read_text())
    del content["texture"], content["tone"]
    file.write_text(json.dumps(content))
    found = read(diagnosed_folder)
    assert found.texture is None
    assert found.sentences


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "gone.png"])
def test_a_picture_from_elsewhere_leaves_the_section_out(diagnosed_folder: Path, path: str):
    (diagnosed_folder.parent / "secret.png").write_bytes(png(0))
    file = diagnosed_folder / "diagnostics.json"
    content = json.loads(file.read_text())
    content["pictures"]["surface-before"] = path
    file.write_text(json.dumps(content))
    assert read_diagnostics(audited(diagnosed_folder)) is None


def test_a_folder_that_was_not_diagnosed_has_no_section(folder: Path):
    assert read_diagnostics(audited(folder)) is None
