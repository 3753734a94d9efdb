"""Models that know their answer by arithmetic, so that what is planted wrong is known and nothing else is."""

import contextlib
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_scans
import torch
from PIL import Image
from small_scans import CLASSES, small_scan, write_data, write_model
from torch import Tensor, nn

from robaudit.data.images import Images, open_images
from robaudit.data.view import View
from robaudit.errors import SettingsError
from robaudit.files import workplace_of
from robaudit.load.classifier import Classifier, LoadedModel
from robaudit.preprocessing.check import check_preprocessing
from robaudit.progress import Silent
from robaudit.records import METRICS_FILE, Check, InputSize, ModelInfo, Normalization
from robaudit.retrofit.assimilate import assimilate
from robaudit.retrofit.workplace import STATE_FILE

SIDE = 8
BORDERS = (0.2, 0.45)
"""Between three classes; lopsided, so that neither a negative nor another class order explains everything."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NONE = ((0.0,) * 3, (1.0,) * 3)
HALF = ((0.5,) * 3, (0.5,) * 3)
BYTES = ((0.0,) * 3, (1 / 255,) * 3)
SIZE_FOUND = "100.0% with images of about 128x128 .*; pass .*--input-size 128,128, or --accept"
TWICE = (tuple(m * (1 + s) for m, s in zip(*IMAGENET, strict=True)), tuple(s * s for s in IMAGENET[1]))

Norm = tuple[Sequence[float], Sequence[float]]


class ByBrightness(nn.Module):
    """Tells dark from bright images, and those between, as one does who was trained with a normalisation."""

    def __init__(self, trained_with: Norm, *borders: float) -> None:
        super().__init__()
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in trained_with)
        self.borders = torch.tensor(borders)

    def forward(self, x: Tensor) -> Tensor:
        brightness = (x * self.std + self.mean).mean(dim=(1, 2, 3))
        above = 100 * (brightness[:, None] - self.borders)
        return torch.cat([torch.zeros_like(above[:, :1]), above.cumsum(dim=1)], dim=1)


class ByColour(nn.Module):
    """Tells reddish from bluish images."""

    def forward(self, x: Tensor) -> Tensor:
        redness = (x[:, 0] - x[:, 2]).mean(dim=(1, 2))
        return torch.stack([redness, -redness], dim=1)


def loaded(backbone: nn.Module, stated: Norm, classes: Sequence[str]) -> LoadedModel:
    norm = Normalization(mean=tuple(stated[0]), std=tuple(stated[1]), source="given")
    info = ModelInfo(
        path="model.pt", sha256="0" * 64, arch="toy", n_classes=len(classes), classes=tuple(classes),
        input=InputSize(channels=3, height=SIDE, width=SIDE), normalization=norm,
    )  # fmt: skip
    return LoadedModel(Classifier(backbone, norm, in_chans=3).eval(), info)


def brightnesses(root: Path, *borders: float, n: int = 120, noise: float = 0.0) -> Images:
    """Grey images of every brightness, labelled by it, a share of them wrongly."""
    dice = np.random.default_rng(0)
    for index, brightness in enumerate(np.linspace(0.03, 0.97, n)):
        label = sum(brightness > border for border in borders)
        if dice.random() < noise:
            label = int(dice.integers(len(borders) + 1))
        pixels = np.clip(dice.normal(brightness, 0.02, (SIDE, SIDE)), 0, 1)
        save(root / f"class {label}" / f"{index:03d}.png", pixels)
    return open_images(root)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)


def check(model: LoadedModel, images: Images, **options: Any) -> Check:
    return check_preprocessing(model, images.ordered_as(model.info.classes), Silent(), **options)


# Quiet where all is right


@pytest.mark.parametrize("norm", [IMAGENET, NONE, HALF, BYTES, TWICE])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_model_with_its_right_settings_passes(tmp_path: Path, norm: Norm, noise: float) -> None:
    images = brightnesses(tmp_path, *BORDERS, noise=noise)
    result = check(loaded(ByBrightness(norm, *BORDERS), norm, images.classes), images)
    assert (result.id, result.status, result.threshold) == ("preprocessing", "passed", 0.05)
    assert "alternatives is clearly better" in result.why if noise else "no alternative could be better" in result.why


@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_model_that_guesses_is_not_taken_for_a_misunderstood_one(tmp_path: Path, n_classes: int) -> None:
    """The class order that fits best always looks better than chance, on the images it was chosen by."""

    class Guesses(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.seed = seed

        def forward(self, x: Tensor) -> Tensor:
            seeds = (x.flatten(1).double().sum(dim=1) * 1e6).long().tolist()
            draws = [torch.rand(n_classes, generator=torch.Generator().manual_seed(abs(s) + self.seed)) for s in seeds]
            return torch.stack(draws)

    images = brightnesses(tmp_path, *np.linspace(0, 1, n_classes + 1)[1:-1], n=100)
    n_alarms = 0
    for seed in range(20):
        try:
            check(loaded(Guesses(seed), NONE, images.classes), images)
        except SettingsError:
            n_alarms += 1
    assert n_alarms <= 2


class Heard(Silent):
    """What a person is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def test_a_handful_of_images_proves_nothing_and_is_said(tmp_path: Path) -> None:
    """The scan goes on, and the person learns what it may be."""
    images = brightnesses(tmp_path, *BORDERS, n=8)
    heard = Heard()
    model = loaded(ByBrightness(IMAGENET, *BORDERS), NONE, images.classes)
    result = check_preprocessing(model, images.ordered_as(model.info.classes), heard)
    assert result.status == "warning"
    assert result.value is not None
    assert result.value > result.threshold
    assert re.search(r"of 8 images as stated and \d+\.\d% with .*, which may be chance \(p = \d\.\d{3}\)", result.why)
    assert re.search(r"Audit more images .*; if not, pass --", result.remedy)
    assert heard.said == [f"preprocessing: {result.why} {result.remedy}"]


# Loud where something was planted


@pytest.mark.parametrize(
    ("trained_with", "stated", "named"),
    [
        (NONE, IMAGENET, "no normalisation"),
        (IMAGENET, NONE, "ImageNet normalisation"),
        (TWICE, IMAGENET, "the normalisation twice"),
        (IMAGENET, TWICE, "ImageNet normalisation"),
        (HALF, NONE, r"normalisation to \[-1, 1\]"),
        (BYTES, NONE, "pixels from 0 to 255"),
    ],
)
def test_another_normalisation_is_found_and_its_flags_help(
    tmp_path: Path, trained_with: Norm, stated: Norm, named: str
) -> None:
    images = brightnesses(tmp_path, *BORDERS)
    network = ByBrightness(trained_with, *BORDERS)
    with pytest.raises(SettingsError, match=rf"as stated, and \d+\.\d% with {named} .*--accept-preprocessing") as stop:
        check(loaded(network, stated, images.classes), images)
    mean, std = (flag_of(str(stop.value), name) for name in ("--mean", "--std"))
    np.testing.assert_allclose([mean, std], trained_with, rtol=1e-5)
    assert check(loaded(network, (mean, std), images.classes), images).status == "passed"


def flag_of(message: str, name: str) -> tuple[float, ...]:
    return tuple(map(float, message.split(f"{name} ")[1].split()[0].rstrip(",").split(",")))


@pytest.mark.parametrize("borders", [BORDERS, (0.15, 0.35, 0.6)])
def test_another_class_order_is_found_by_name(tmp_path: Path, borders: tuple[float, ...]) -> None:
    images = brightnesses(tmp_path, *borders)
    network = ByBrightness(NONE, *borders)
    right = images.classes
    shuffled = (*right[1:], right[0])
    with pytest.raises(SettingsError, match=f"with class order {', '.join(right)} .*pass --classes") as stop:
        check(loaded(network, NONE, shuffled), images)
    typed = shlex.split(str(stop.value).split("; pass ")[1].split(", or ")[0])
    assert typed == ["--classes", ",".join(right)], "ready to be pasted, though the names have spaces"
    assert check(loaded(network, NONE, right), images).status == "passed"


def test_another_order_of_numbered_classes_is_put_in_numbers(tmp_path: Path) -> None:
    """As in a MedMNIST file, whose labels take any name that the model's outputs have."""
    images = replace(brightnesses(tmp_path, *BORDERS), numbered=True)
    number = {"class 0": "1", "class 1": "2", "class 2": "0"}  # the file counts otherwise than the model
    renumbered = replace(
        images,
        classes=("0", "1", "2"),
        refs=tuple(replace(ref, label=number[ref.label]) for ref in images.refs),
    )
    network = ByBrightness(NONE, *BORDERS)
    with pytest.raises(SettingsError, match=r"with class order medium, bright, dark .*pass --classes 1,2,0"):
        check(loaded(network, NONE, ("dark", "medium", "bright")), renumbered)
    assert check(loaded(network, NONE, ("1", "2", "0")), renumbered).status == "passed"


@pytest.mark.parametrize(
    ("planted", "flags"),
    [(View(invert=True), "pass no --invert"), (View(), "pass --invert")],
)
def test_a_negative_is_found(tmp_path: Path, planted: View, flags: str) -> None:
    images = brightnesses(tmp_path, *BORDERS)

    class TrainedOnNegatives(ByBrightness):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if planted.invert else 1 - x)

    model = loaded(TrainedOnNegatives(NONE, *BORDERS), NONE, images.classes)
    with pytest.raises(SettingsError, match=f"with inverted grey levels .*{flags}"):
        check(model, images.viewed(planted))
    assert check(model, images.viewed(View(invert=not planted.invert))).status == "passed"


def test_blue_for_red_is_found(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    for index in range(60):
        pixels = dice.uniform(0, 0.6, (SIDE, SIDE, 3))
        pixels[..., 0 if index % 2 else 2] += 0.3
        save(tmp_path / ("blue", "red")[index % 2] / f"{index}.png", pixels)
    images = open_images(tmp_path)
    model = loaded(ByColour(), NONE, ("red", "blue"))
    assert check(model, images).status == "passed"
    with pytest.raises(SettingsError, match=r"pass .*no --bgr"):
        check(model, images.viewed(View(bgr=True)))


class ByLeftHalf(nn.Module):
    """Tells images whose left half is the brighter from those where that is the upper half."""

    def forward(self, x: Tensor) -> Tensor:
        left = x[..., : SIDE // 2].mean(dim=(1, 2, 3)) - x[:, :, : SIDE // 2].mean(dim=(1, 2, 3))
        return torch.stack([left, -left], dim=1)


def test_rows_for_columns_are_found(tmp_path: Path) -> None:
    dice = np.random.default_rng(0)
    for index in range(60):
        pixels = dice.uniform(0, 0.6, (SIDE, SIDE))
        pixels[:, : SIDE // 2] += 0.3
        save(tmp_path / "left" / f"{index}.png", pixels)
        save(tmp_path / "upper" / f"{index}.png", pixels.T)
    images = open_images(tmp_path)
    model = loaded(ByLeftHalf(), NONE, ("left", "upper"))
    assert check(model, images).status == "passed"
    with pytest.raises(SettingsError, match=r"with rows and columns exchanged .*no --transpose"):
        check(model, images.viewed(View(transpose=True)))


def test_a_cut_out_middle_is_found(tmp_path: Path) -> None:
    """The answer lies in the middle of wide images; squeezed whole, the flanks outweigh it."""
    dice = np.random.default_rng(0)
    for index in range(80):
        pixels = np.full((SIDE, 4 * SIDE), 0.1 + 0.8 * (index // 2 % 2))
        pixels[:, 12:20] = index % 2
        save(
            tmp_path / f"class {index % 2}" / f"{index}.png", np.clip(pixels + dice.normal(0, 0.02, pixels.shape), 0, 1)
        )
    images = open_images(tmp_path)
    model = loaded(ByBrightness(NONE, 0.5), NONE, images.classes)
    with pytest.raises(SettingsError, match="pass --resize cover"):
        check(model, images)
    assert check(model, images.viewed(View(resize="cover"))).status == "passed"


class At128(ByBrightness):
    """Sees nothing at any other size than that of its training."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.shape[2:] == (128, 128) else torch.zeros_like(x))


@pytest.mark.parametrize("source", ["architecture", "assumed", "given"])
def test_the_size_of_training_is_found_where_nobody_has_said_it(tmp_path: Path, source: str) -> None:
    images = brightnesses(tmp_path, *BORDERS, n=36)
    model = loaded(At128(NONE, *BORDERS), NONE, images.classes)
    grid = InputSize(channels=3, height=SIDE, width=SIDE, source=source)
    model = replace(model, info=model.info.model_copy(update={"input": grid}))
    told = contextlib.nullcontext() if source == "given" else pytest.raises(SettingsError, match=SIZE_FOUND)
    with told:
        assert "128" not in check(model, images).why


# What a person may say to it


@pytest.fixture
def wrong(tmp_path: Path) -> Callable[..., Check]:
    images = brightnesses(tmp_path, *BORDERS)
    model = loaded(ByBrightness(IMAGENET, *BORDERS), NONE, images.classes)
    return lambda **options: check(model, images, **options)


def test_what_is_accepted_is_recorded(wrong: Callable[..., Check]) -> None:
    accepted = wrong(accept=True)
    assert accepted.status == "warning"
    assert "Accepted by the user: clean accuracy is" in accepted.why
    assert accepted.value is not None
    assert accepted.value > 0.05


def test_clean_accuracy_far_below_the_expected_one_stops(tmp_path: Path) -> None:
    images = brightnesses(tmp_path, *BORDERS, noise=0.5)
    model = loaded(ByBrightness(NONE, *BORDERS), NONE, images.classes)
    n_correct = round(float(check(model, images).why.split()[3].rstrip("%")) * 1.2)
    assert 70 < n_correct < 110
    with pytest.raises(SettingsError, match=r"of 120 images, expected 98\.0%, and no preprocessing that was tried"):
        check(model, images, expected=0.98)
    assert check(model, images, expected=n_correct / 120 + 0.03).status == "passed"
    assert check(model, images, expected=0.1).status == "passed", "better than expected is no reason to stop"
    assert check(model, images, expected=0.98, accept=True).status == "warning"


def test_a_scan_stops_before_it_writes_and_goes_on_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes in the wrong order, in a folder that timm wrote."""
    monkeypatch.setattr(small_scans, "N_IMAGES", 48)
    wrong_order = {"classes": CLASSES[::-1], "attacks": ["fgsm"], "eps": [1]}
    model, data, out = write_model(tmp_path / "model"), write_data(tmp_path / "data"), tmp_path / "out"
    with pytest.raises(SettingsError, match="pass --classes ill,well") as stop:
        small_scan(model, data, out, **wrong_order)
    assert stop.value.exit_code == 2
    assert not out.exists()
    record = small_scan(model, data, out, **wrong_order, accept_preprocessing=True)
    assert [check.status for check in record.checks if check.id == "preprocessing"] == ["warning"]
    assert record.verdict.kind == "measured"


def test_a_training_stops_before_it_writes_and_goes_on_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained with its classes in the wrong order, the network would learn the other one, and no later scan tell."""
    monkeypatch.setattr(small_scans, "N_IMAGES", 60)
    model, data, out = write_model(tmp_path / "model"), write_data(tmp_path / "data"), tmp_path / "out"
    little: dict[str, Any] = {"epochs": 1, "front": "T", "alpha": 1.0, "classes": CLASSES[::-1]}
    with pytest.raises(SettingsError, match=r"pass --classes ill,well, or --accept-preprocessing to train it as it is"):
        assimilate(model, data, out=out, **little)
    assert not out.exists()
    unfinished = workplace_of(out)
    unfinished.mkdir(exist_ok=True)
    for name in (STATE_FILE, METRICS_FILE):
        (unfinished / name).write_text("before\nafter one epoch\n")
    with pytest.raises(SettingsError, match="to train it as it is"):
        assimilate(model, data, out=out, **little, restart=True)  # what was done there is discarded
    shutil.rmtree(unfinished)
    assimilate(model, data, out=out, **little, accept_preprocessing=True)
    assert (out / "model.safetensors").exists()
