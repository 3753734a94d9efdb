"""A retrofit is scanned by its folder alone: what was said of the model before it need not be said again."""

import json
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from robaudit.audit.scan import scan
from robaudit.data.images import open_images
from robaudit.data.view import View
from robaudit.errors import ModelError
from robaudit.load import surrogate
from robaudit.load.contents import read_contents
from robaudit.load.model import load_model
from robaudit.load.surrogate import load_surrogate
from robaudit.preprocessing.check import check_preprocessing
from robaudit.preprocessing.grid import grid_note
from robaudit.progress import Silent
from robaudit.records import FileRef
from robaudit.retrofit.assimilate import assimilate

QUICK = {"epochs": 1, "batch_size": 8, "trains": "front", "alpha": 1.0}
CROPPED = View(resize="crop")
CHEAP = {"attacks": ["fgsm"], "eps": [4], "limit": 4, "check_sample": 2}


@pytest.fixture(scope="module")
def finding(data, tmp_path_factory):
    """A retrofit of one of four findings, present in images of the first class by name: and its folder."""
    folder = tmp_path_factory.mktemp("finding")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=4).state_dict(), folder / "four.pt")
    said = {"arch": "test_resnet", "label_index": 1, "classes": ["down", "across"], "input_size": (40, 40)}
    said |= {"normalization": "half", "view": CROPPED}
    record = assimilate(folder / "four.pt", data, out=folder / "out", **said, **QUICK)
    return folder / "out", record


def test_a_finding_is_audited_in_its_own_order_with_the_model_before_as_surrogate(finding, data, tmp_path):
    folder, trained = finding
    audit = scan(folder, data / "val", out=tmp_path / "audit", view=CROPPED, **(CHEAP | {"limit": None}))
    assert audit.model.classes == ("down", "across")
    assert audit.clean.n_correct == trained.best.val.n_correct
    assert audit.surrogate.sha256 == trained.vanilla.sha256
    checks = {check.id: check.status for check in audit.checks}
    assert checks["transfer"] != "not_applicable"


def test_a_scan_that_shows_images_otherwise_than_training_did_says_which_options_are_missing(
    finding, data, heard_lines
):
    retrofit, stretched = load_model(finding[0]), open_images(data / "val", classes=["down", "across"])
    why = "shown with --resize crop; this audit shows them as they are stored. Pass --resize crop."
    check = check_preprocessing(retrofit, stretched, heard_lines, accept=True)
    assert check.status == "warning"
    assert why in f"{check.why} {check.remedy}"
    assert any(why in line for line in heard_lines.lines)
    assert grid_note(retrofit, stretched.viewed(CROPPED)) is None
    other = grid_note(retrofit, stretched.viewed(View(resize="pad", invert=True)))
    assert other.remedy == "Pass --resize crop and no --invert."


def test_the_surrogate_answers_as_the_model_before_the_retrofit(finding, data):
    """On the retrofit's grid, by its normalisation, finding and classes."""
    pictures = torch.rand(4, 1, 40, 40)
    found = load_surrogate(None, load_model(finding[0]), open_images(data / "val"), Silent())
    network = timm.create_model("test_resnet", num_classes=4).eval()
    network.load_state_dict(torch.load(finding[0].parent / "four.pt"))
    with torch.no_grad():
        z = network((pictures.expand(-1, 3, -1, -1) - 0.5) / 0.5)[:, 1:2]
        torch.testing.assert_close(found.network(pictures), torch.cat([-z / 2, z / 2], 1))


def test_a_folder_that_has_changed_since_is_no_surrogate(finding, data, tmp_path, heard_lines):
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_resnet", "num_classes": 4}))
    weights = torch.load(finding[0].parent / "four.pt")
    save_file(weights, tmp_path / "model.safetensors")
    before = FileRef(path=str(tmp_path), sha256=read_contents(tmp_path).sha256)
    retrofit, images = load_model(finding[0]), open_images(data / "val")
    front = retrofit.info.front.model_copy(update={"vanilla": before})
    retrofit = replace(retrofit, info=retrofit.info.model_copy(update={"front": front}))
    assert load_surrogate(None, retrofit, images, heard_lines).file == before
    save_file({name: value + 1 for name, value in weights.items()}, tmp_path / "model.safetensors")
    assert load_surrogate(None, retrofit, images, heard_lines) is None
    assert any(
        f"{tmp_path}: the model before the retrofit is not there unchanged" in line for line in heard_lines.lines
    )


def test_where_the_model_before_cannot_be_loaded_the_retrofit_is_audited_without_it(
    finding, data, tmp_path, monkeypatch, heard_lines
):
    """It may have taken words that a retrofit does not keep, such as --trust."""

    def refuse(*_, **__):
        raise ModelError("four.pt: is a pickled module")

    monkeypatch.setattr(surrogate, "load_model", refuse)
    audit = scan(finding[0], data / "val", out=tmp_path / "audit", progress=heard_lines, **CHEAP)
    assert audit.surrogate is None
    assert {check.id: check.status for check in audit.checks}["transfer"] == "not_applicable"
    assert any(line.startswith("four.pt: is a pickled module; no transfer check") for line in heard_lines.lines)
