"""A tiny classifier file and a tiny data set: stripes across or down."""

import json

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from robaudit.progress import Silent
from robaudit.retrofit import diagnostics

SIZE = 40


class Heard(Silent):
    """Progress that remembers what was said."""

    def __init__(self):
        self.lines, self.notes = [], []

    def say(self, line):
        """Remember a line."""
        self.lines.append(line)

    def advance(self, n=1, note=""):
        """Remember a note."""
        self.notes.append(note)


@pytest.fixture(scope="module")
def heard_lines():
    """Progress that remembers what was said."""
    return Heard()


@pytest.fixture(scope="module", autouse=True)
def few_examined():
    """One image of each class: the examination of eight takes longer than these trainings themselves."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(diagnostics, "N_IMAGES", 2)
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Grey images of two classes, 16 to train and 8 to validate, in train and val folders."""
    root = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    for split, n_images in (("train", 8), ("val", 4)):
        for label in ("across", "down"):
            folder = root / split / label
            folder.mkdir(parents=True)
            for index in range(n_images):
                write_stripes(folder / f"{index}.png", label, generator)
    return root


def write_stripes(path, label, generator):
    stripes = (torch.arange(SIZE) // 3 % 2 * 90 + 60).expand(SIZE, SIZE)
    stripes = stripes.T if label == "across" else stripes
    noisy = stripes + torch.randint(0, 40, (SIZE, SIZE), generator=generator)
    Image.fromarray(noisy.to(torch.uint8).numpy()).save(path)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Timm folder of an untrained test_resnet that takes three channels of 40x40."""
    return save_model(tmp_path_factory.mktemp("model") / "rgb", in_chans=3)


@pytest.fixture(scope="session")
def grey_model(tmp_path_factory):
    """The same with one input channel."""
    return save_model(tmp_path_factory.mktemp("model") / "grey", in_chans=1)


def save_model(folder, in_chans):
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(
            timm.create_model("test_resnet", num_classes=2, in_chans=in_chans).state_dict(),
            folder / "model.safetensors",
        )
    cfg = {"input_size": [in_chans, SIZE, SIZE], "mean": [0.5] * in_chans, "std": [0.25] * in_chans}
    config = {"architecture": "test_resnet", "num_classes": 2, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
