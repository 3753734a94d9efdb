"""What a user can get wrong, through the command itself: one line, exit code 2, and nothing left behind.

The line begins with `robaudit:` and is the last on stderr; words about what was understood may come before it.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from robaudit.cli.main import main
from robaudit.errors import ExitCode

REPOSITORY = Path(__file__).parents[1]
CLASSES = ("ill", "well")
ARCH = ("--arch", "test_resnet", "--input-size", "32")
COMMANDS = ("scan", "assimilate", "run")
ATTACKING = ("scan", "run")

# {} is the folder of models and images, {out} one for the result.
GOOD = ("{}/model.pt", "{}/data", "--out", "{out}", *ARCH)


def write_images(root: Path, *classes: str, colour: bool = False) -> None:
    dice = np.random.default_rng(0)
    for label in classes:
        (root / label).mkdir(parents=True)
        for index in range(6):
            pixels = dice.integers(0, 256, (32, 32, 3) if colour else (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{index}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and images, good and bad; never changed by a test."""
    torch.manual_seed(0)  # what an untrained network predicts is chance
    root = tmp_path_factory.mktemp("place")
    weights = timm.create_model("test_resnet", num_classes=2).state_dict()
    torch.save(weights, root / "model.pt")
    torch.save({"state_dict": weights, "args": Unknown()}, root / "checkpoint.pt", _use_new_zipfile_serialization=False)
    torch.save(nn.Sequential(nn.Linear(2, 2)), root / "module.pt")
    torch.save(timm.create_model("test_resnet", num_classes=2, in_chans=1).state_dict(), root / "grey.pt")
    (root / "text.pt").write_text("weights to follow\n")
    (root / "cut.pt").write_bytes((root / "model.pt").read_bytes()[:-5000])
    write_images(root / "data", *CLASSES)
    write_images(root / "three", *CLASSES, "unsure")
    write_images(root / "one", CLASSES[0])
    write_images(root / "colour", *CLASSES, colour=True)
    write_images(root / "corrupt", *CLASSES)
    (root / "corrupt" / "ill" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nthat was it")
    (root / "empty").mkdir()
    (root / "a-file").write_text("in the way")
    (root / "manifest.csv").write_text("file,class\n")
    return root


class Unknown:
    """Something that a checkpoint should not hold."""


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def mistake(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run the command, and return the last line it says; whatever it left behind fails the test."""

    def run(*arguments: str) -> str:
        before = snapshot(place)
        filled = [argument.format(place, out=tmp_path / "out") for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["robaudit", *filled])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        assert caught.value.code == 2, said.err
        assert said.out == ""
        assert "Traceback" not in said.err
        lines = said.err.splitlines()
        assert [line for line in lines if line.startswith("robaudit: ")] == lines[-1:]
        assert snapshot(place) == before
        assert snapshot(tmp_path) == {}
        return lines[-1]

    return run


def replaced(old: str, new: str) -> tuple[str, ...]:
    return tuple(new if argument == old else argument for argument in GOOD)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (replaced("{}/model.pt", "{}/nowhere.pt"), r"nowhere\.pt: cannot be read \(No such file.*pass a model"),
        (replaced("{}/model.pt", "{}/text.pt"), r"text\.pt: is a text file; pass a PyTorch"),
        (replaced("{}/model.pt", "{}/cut.pt"), r"cut\.pt: is truncated or damaged.*fetch or save it again"),
        (replaced("{}/model.pt", "{}/module.pt"), r"module\.pt: does not fit test_resnet \(.*; pass another --arch"),
        (
            replaced("{}/model.pt", "{}/checkpoint.pt"),
            r"checkpoint\.pt: needs code to load \(.*Unknown\).*save model\.",
        ),
        (replaced("{}/model.pt", "{}/data"), r"data: is a folder without config\.json; pass the model file"),
        (
            replaced("test_resnet", "resnet18"),
            r"does not fit resnet18 \(.*such as \w+\.[\w.]+.*\); pass another --arch",
        ),
        (replaced("test_resnet", "resnet19"), r"timm knows no architecture 'resnet19'.*pass --arch"),
        (replaced("{}/data", "{}/three"), r"has 2 outputs, the data has 3 classes.*--classes.*--merge"),
        (replaced("{}/data", "{}/empty"), r"empty: holds no readable image; an audit needs a folder"),
        (replaced("{}/data", "{}/one"), r"one: holds only class ill; an audit needs a folder"),
        (replaced("{}/data", "{}/nowhere"), r"nowhere: no such folder; pass a folder"),
        (
            replaced("{}/data", "{}/corrupt"),
            r"ill/3\.png: is no readable image \(no known format\); remove it or use --on-bad-image skip",
        ),
        (replaced("{}/data", "{}/manifest.csv"), r"manifest\.csv: has columns .*wanted path and label"),
        ((*GOOD, "--mean", "a,b,c", "--std", "1,1,1"), r"--mean a,b,c: wanted numbers"),
        ((*GOOD, "--mean", "nan,0,0", "--std", "1,1,1"), r"--mean nan,0,0: wanted numbers"),
        ((*GOOD, "--mean", "0.5,0.5,0.5"), r"--mean and --std belong together; pass both"),
        ((*GOOD, "--mean", "0.5", "--std", "0.5"), r"takes 3 channel\(s\), got mean \[0\.5\].*one number per channel"),
        ((*GOOD, "--mean", "0,0,0", "--std", "1,0,1"), r"std above 0"),
        ((*GOOD, "--merge", "tumor"), r"--merge tumor: wanted NEW=A,B"),
        ((*GOOD, "--merge", "=ill"), r"--merge =ill: wanted NEW=A,B"),
        ((*GOOD, "--merge", "all=ill,well"), r"data: holds only class all"),
        ((*GOOD, "--classes", "ill,well,unsure"), r"has 2 outputs, --classes lists 3 classes"),
        ((*GOOD, "--classes", "a,b"), r"holds class ill, well, the model knows a, b; rename .*--classes or --merge"),
        ((*GOOD, "--device", "banana"), r"--device banana: is not usable here.*pass cpu"),
        (replaced("32", "wide"), r"--input-size wide: wanted"),
        (replaced("32", "32-33"), r"--input-size 32-33: wanted height,width"),
        (replaced("32", "32,"), r"--input-size 32,: wanted height,width"),
        (replaced("32", "4"), r"--input-size 4: wanted height,width of at least 8"),
        ((*GOOD, "--on-bad-image", "maybe"), r"--on-bad-image maybe: wanted fail or skip"),
        ((*GOOD, "--limit", "1"), r"--limit.*greater than or equal to 2|--limit.*not in the range"),
        ((*GOOD, "--preset", "fastest"), r"fastest"),
    ],
)
def test_a_mistake_with_the_model_or_the_images(
    mistake: Callable[..., str], command: str, arguments: tuple[str, ...], expected: str
) -> None:
    said = mistake(command, *arguments)
    assert re.search(expected, said), said


@pytest.mark.parametrize("command", ATTACKING)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--attacks", "laser"), r"unknown attack 'laser'; known are fgsm, bim"),
        (("--attacks", "pgd,pgd"), r"--attacks pgd,pgd: .*none twice"),
        (("--eps", "0"), r"--eps 0: wanted different whole numbers from 1 to 255"),
        (("--eps", "300"), r"--eps 300: wanted"),
        (("--eps", "4-"), r"--eps 4-: wanted whole numbers, such as"),
        (("--eps", "4.."), r"--eps 4\.\.: wanted whole numbers, such as"),
        (("--eps", "abc"), r"--eps abc: wanted whole numbers, such as"),
        (("--eps", "1,1"), r"--eps 1,1: wanted different"),
        (("--eps", "0.0313"), r"--eps 0\.0313: wanted whole numbers, .* \(4 means 4/255\)"),
        (("--eps", "8-1"), r"--eps : wanted different|--eps 8-1: wanted"),
        (("--eps", "1-99999999999"), r"--eps 1-99999999999: wanted"),
    ],
)
def test_a_mistake_with_the_attack(
    mistake: Callable[..., str], command: str, options: tuple[str, ...], expected: str
) -> None:
    said = mistake(command, *GOOD, *options)
    assert re.search(expected, said), said


def test_a_positive_class_that_is_not_there(mistake: Callable[..., str]) -> None:
    assert "--positive sick: is no class; the classes are ill, well" in mistake("scan", *GOOD, "--positive", "sick")


@pytest.mark.parametrize("command", COMMANDS)
def test_colour_images_for_a_model_of_grey_ones(mistake: Callable[..., str], command: str) -> None:
    said = mistake(command, "{}/grey.pt", "{}/colour", "--out", "{out}", *ARCH)
    assert re.search(r"grey\.pt: takes grey pictures \(1 channel\), the pictures have 3; convert them to grey", said)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["{}/a-file", "{}/a-file/below"])
def test_an_output_folder_that_cannot_be_written(mistake: Callable[..., str], command: str, out: str) -> None:
    assert re.search(r"a-file.*choose another --out", mistake(command, *replaced("{out}", out), "--limit", "4"))


def test_the_demo_into_a_file(mistake: Callable[..., str]) -> None:
    assert re.search(r"a-file: cannot be written.*choose another --out", mistake("demo", "--out", "{}/a-file"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--lr", "0"), "--lr 0: wanted above 0"),
        (("--lr", "nan"), "--lr nan: wanted above 0"),
        (("--trains", "nothing"), "--trains nothing: wanted"),
        (("--epochs", "0"), "--epochs"),
        (("--alpha", "2"), "--alpha"),
    ],
)
def test_a_mistake_with_the_training(mistake: Callable[..., str], arguments: tuple[str, ...], expected: str) -> None:
    assert expected in mistake("assimilate", *GOOD, *arguments)


@pytest.mark.parametrize("missing", ["MODEL", "DATA", "--out"])
def test_a_missing_argument_is_named(mistake: Callable[..., str], missing: str) -> None:
    arguments = {"MODEL": (), "DATA": ("{}/model.pt",), "--out": ("{}/model.pt", "{}/data")}[missing]
    assert missing in mistake("scan", *arguments)


def test_the_real_command_says_the_same(place: Path) -> None:
    """Once without a test around it: no warning, no progress, nothing else on the way."""
    command = [sys.executable, "-m", "robaudit", "scan", "model.pt", "corrupt", "--out", "out", *ARCH]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"robaudit: corrupt/ill/3\.png: is no readable image .*\n", done.stderr), done.stderr
    assert not (place / "out").exists()


def test_a_bad_image_may_be_left_out(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(place / "model.pt"), str(place / "corrupt"), "--out", str(tmp_path / "out"), *ARCH]
    options = ["--on-bad-image", "skip", "--attacks", "fgsm", "--eps", "1"]
    monkeypatch.setattr(sys, "argv", ["robaudit", "scan", *arguments, *options])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    assert caught.value.code == ExitCode.INCONCLUSIVE, "measured, but an untrained network predicts one class"
    assert "predicts one class" in " ".join(said.err.split())
    assert said.out == f"{tmp_path / 'out' / 'audit.json'}\n"
    assert "skipped:" in said.err
    assert "3.png" in said.err
    assert '"n_skipped_images": 1' in (tmp_path / "out" / "audit.json").read_text(encoding="utf-8")


def test_a_model_that_answers_nothing_is_measured_and_inconclusive(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3: the record is written all the same."""
    weights = torch.load(place / "model.pt", weights_only=True)
    weights["fc.bias"][:] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    arguments = [str(tmp_path / "nan.pt"), str(place / "data"), "--out", str(tmp_path / "out"), *ARCH]
    monkeypatch.setattr(sys, "argv", ["robaudit", "scan", *arguments, "--attacks", "fgsm", "--eps", "1"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 3
    assert '"n_errors": 12' in (tmp_path / "out" / "audit.json").read_text(encoding="utf-8")
    assert "inconclusive" in capsys.readouterr().err.lower()
