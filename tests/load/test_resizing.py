"""What folders say of the way to the input grid is understood, and never silently another than what is done."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.models import save_for_hf

from robaudit.data.images import Images, open_images
from robaudit.data.resizing import Resizing, own_resizing
from robaudit.data.view import View
from robaudit.load.model import load_model
from robaudit.load.stated_resizing import hugging_face_resizing, timm_resizing
from robaudit.preprocessing.check import check_preprocessing
from robaudit.preprocessing.grid import grid_note
from robaudit.progress import Silent

TIMM = [
    ({}, None),
    ({"crop_pct": 0.875, "interpolation": "bilinear"}, Resizing("crop", 0.875, "bilinear")),
    ({"crop_pct": 0.95}, Resizing("cover", 0.95, "bicubic")),
    ({"crop_pct": 0.5, "crop_mode": "center", "interpolation": "bicubic"}, Resizing("crop", 0.5, "bicubic")),
    ({"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"}, Resizing("stretch", 1.0, "bilinear")),
    ({"crop_pct": 1.0, "crop_mode": "border", "interpolation": "bilinear"}, Resizing("pad", 1.0, "bilinear")),
    ({"crop_pct": "\x1b[2J"}, None),
    ({"crop_pct": 0}, None),
    ({"crop_pct": 0.9, "interpolation": "\x1b[2J"}, None),
]
SQUARE, CUT = {"height": 224, "width": 224}, {"shortest_edge": 256}
HUGGING_FACE = [
    ({}, None),
    ({"size": SQUARE, "resample": 2}, Resizing("stretch")),
    ({"size": SQUARE, "resample": 3}, Resizing("stretch", 1.0, "bicubic")),
    ({"size": 224, "resample": 2}, Resizing("stretch")),
    ({"size": CUT, "do_center_crop": True, "crop_size": SQUARE, "resample": 2}, Resizing("crop", 0.875)),
    ({"size": 256, "do_center_crop": True, "crop_size": 224, "resample": 2}, Resizing("crop", 0.875)),
    ({"size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": SQUARE}, Resizing("cover")),
    ({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}, Resizing("crop", 0.875, "bicubic")),
    ({"size": {"shortest_edge": 384}, "image_processor_type": "ConvNextImageProcessor"}, Resizing("stretch")),
    ({"size": SQUARE, "do_resize": False}, None),
    ({"size": "large", "resample": []}, None),
    ({"size": {"shortest_edge": -1}}, None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), TIMM)
def test_of_a_timm_folder(said: dict[str, Any], expected: Resizing | None) -> None:
    assert timm_resizing(said) == expected


@pytest.mark.parametrize(("said", "expected"), HUGGING_FACE)
def test_of_a_hugging_face_folder(said: dict[str, Any], expected: Resizing | None) -> None:
    assert hugging_face_resizing(said) == expected


def images(root: Path, shape: tuple[int, int]) -> Images:
    dice = np.random.default_rng(0)
    for name in ("ill", "well"):
        (root / name).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(dice.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(root / name / f"{index}.png")
    return open_images(root)


def folder(path: Path, **said: Any) -> Path:
    torch.manual_seed(0)
    made = timm.create_model("test_resnet", num_classes=2)
    made.pretrained_cfg = {**made.pretrained_cfg, "input_size": (3, 32, 32), **said}
    save_for_hf(made, path, model_config={"label_names": ["ill", "well"]})
    return path


def test_another_way_than_the_folders_is_said_and_recorded(tmp_path: Path) -> None:
    loaded = load_model(folder(tmp_path / "m", crop_pct=0.5, crop_mode="center", interpolation="bicubic"))
    shown = images(tmp_path / "data", (32, 32))
    note = grid_note(loaded, shown)
    assert note is not None
    assert note.remedy == "Pass --resize crop, which is nearer."
    assert note.why == (
        "The model's folder cuts the centre, 50% of the shorter side, bicubic; "
        "this audit stretches both sides, bilinear."
    )
    check = check_preprocessing(loaded, shown, Silent())
    assert check.status == "warning"
    assert note.why in check.why
    assert "--resize crop" in check.remedy
    as_near_as_can_be = grid_note(loaded, shown.viewed(View(resize="crop")))
    assert as_near_as_can_be is not None
    assert as_near_as_can_be.remedy == ""


@pytest.mark.parametrize("how", ["crop", "cover", "stretch", "pad"])
def test_the_same_way_needs_no_words(tmp_path: Path, how: Any) -> None:
    same = own_resizing(how)
    mode = {"stretch": "squash", "pad": "border"}.get(how, "center")
    loaded = load_model(folder(tmp_path / "m", crop_pct=same.share, crop_mode=mode, interpolation="bilinear"))
    assert loaded.resizing == same
    assert grid_note(loaded, images(tmp_path / "data", (40, 32)).viewed(View(resize=how))) is None


def test_square_images_are_stretched_as_they_would_be_cut(tmp_path: Path) -> None:
    loaded = load_model(folder(tmp_path / "m", crop_pct=1.0, crop_mode="center", interpolation="bilinear"))
    assert grid_note(loaded, images(tmp_path / "square", (40, 40))) is None
    oblong = grid_note(loaded, images(tmp_path / "oblong", (40, 32)))
    assert oblong is not None
    assert oblong.remedy == "Pass --resize cover, which is nearer."
