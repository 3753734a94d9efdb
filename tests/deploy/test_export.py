"""Exported files run without robaudit and answer as the model does; a file that would not is never written."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import typer
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from robaudit.audit.scan import scan
from robaudit.cli import export as command
from robaudit.deploy import export as exporting
from robaudit.deploy.export import export
from robaudit.errors import ModelError, OutputError, SettingsError
from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.load.model import load_model
from robaudit.load.own_export import METADATA_NAME
from robaudit.records import GalleryItem
from robaudit.retrofit.model_folder import write_model

SIDE = 32


def pictures(n=5):
    return torch.rand(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(7))


def expected(folder, x):
    with torch.no_grad():
        return load_model(folder).classifier(x)


def test_torchscript_answers_as_the_model_and_says_what_it_is(assimilated, tmp_path):
    file = tmp_path / "model.ts"
    checked = export(assimilated, file, form="torchscript")
    extra = {METADATA_NAME: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch say that TorchScript is deprecated
        program = torch.jit.load(file, _extra_files=extra)
        answer = program(pictures())
    torch.testing.assert_close(answer, expected(assimilated, pictures()))
    described = json.loads(extra[METADATA_NAME])
    assert described["classes"] == ["sick", "well"]
    assert described["input"] == {"shape": ["batch", 1, SIDE, SIDE], "range": [0, 1]}
    assert checked.n_pictures == {"generated": 7}


def test_pt2_runs_where_robaudit_is_not(assimilated, tmp_path):
    file = tmp_path / "model.pt2"
    export(assimilated, file, form="pt2")
    torch.save(pictures(), tmp_path / "x.pt")
    code = (
        "import sys, torch\n"
        "y = torch.export.load(sys.argv[1]).module()(torch.load(sys.argv[2]))\n"
        "assert not any(name.startswith(('robaudit', 'timm')) for name in sys.modules)\n"
        "torch.save(y.detach(), sys.argv[3])"
    )
    places = [str(tmp_path / name) for name in ("model.pt2", "x.pt", "y.pt")]
    subprocess.run([sys.executable, "-c", code, *places], check=True, cwd=tmp_path)
    torch.testing.assert_close(torch.load(tmp_path / "y.pt"), expected(assimilated, pictures()))


def test_onnx_is_one_file_that_another_runtime_answers_from(assimilated, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    file = tmp_path / "model.onnx"
    export(assimilated, file, form="onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (answer,) = session.run(["logits"], {"image": pictures().numpy()})
    np.testing.assert_allclose(answer, expected(assimilated, pictures()).numpy(), atol=1e-5)
    assert METADATA_NAME in session.get_modelmeta().custom_metadata_map


def test_it_is_compared_on_the_users_images_too(assimilated, tmp_path):
    for label in ("sick", "well"):
        (tmp_path / "data" / label).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / label / "0.png")
    checked = export(assimilated, tmp_path / "m.pt2", form="pt2", data=str(tmp_path / "data"))
    assert checked.n_pictures["of your images"] == 2
    assert "2 of your images" in checked.sentence()


def test_colour_images_for_a_grey_model_are_refused_in_words(assimilated, tmp_path):
    for label in ("sick", "well"):
        (tmp_path / "data" / label).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / label / "0.png")
    with pytest.raises(ModelError, match="takes grey pictures"):
        export(assimilated, tmp_path / "m.pt2", form="pt2", data=tmp_path / "data")


def test_a_network_of_ones_own_code_is_exported_by_naming_it(tmp_path, monkeypatch):
    """As the error of a folder made from one says; weights and label index can be said as well."""
    (tmp_path / "own_code.py").write_text(
        "from torch import nn\n"
        "def network():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    torch.save(importlib.import_module("own_code").network().state_dict(), tmp_path / "weights.pt")
    app = typer.Typer()
    app.command()(command.export)
    options = ["--input-size", str(SIDE), "--normalization", "half", "--factory", "own_code:network"]
    file = tmp_path / "m.pt2"
    arguments = [str(tmp_path / "weights.pt"), "--format", "pt2", "--out", str(file), *options]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert file.is_file()


def answers(file, form, x):
    """What another runtime makes of an exported file."""
    if form == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(["logits"], {"image": x.numpy()})[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.jit.load(file) if form == "torchscript" else torch.export.load(file).module()
        return program(x).detach()


class Squeezed(nn.Module):
    """One number, from which the batch of a single picture is squeezed as well."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 1, 1)

    def forward(self, x):
        """One logit for each."""
        return self.head(self.body(x).relu().mean((2, 3), keepdim=True)).squeeze()


class SqueezedRow(Squeezed):
    """Two numbers, likewise."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 2, 1)


@pytest.mark.parametrize("made", [Squeezed, SqueezedRow])
@pytest.mark.parametrize("form", ["pt2", "onnx", "torchscript"])
def test_a_network_that_squeezes_is_exported_for_a_batch_of_one_too(tmp_path, form, made):
    if form == "onnx":
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network = made().eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    factory = f"{__name__}:{made.__name__}"
    file = tmp_path / f"model.{form}"
    export(tmp_path / "weights.pt", file, form=form, factory=factory, input_size=(SIDE, SIDE), normalization="none")
    x = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    for n in (1, 2, 3):
        with torch.no_grad():
            z = network(x[:n]).reshape(n, -1)
        wanted = torch.cat([-z / 2, z / 2], 1) if made is Squeezed else z
        torch.testing.assert_close(answers(file, form, x[:n]), wanted)


class Standardised(nn.Module):
    """Standardises each picture by itself: black and white come out as NaN."""

    def __init__(self):
        super().__init__()
        self.body = Squeezed()

    def forward(self, x):
        """One logit for each."""
        return self.body((x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True))


@pytest.mark.parametrize("weight", [1.0, torch.nan])
def test_what_is_nan_in_model_and_file_is_the_same_answer_and_nothing_to_compare(tmp_path, weight):
    torch.manual_seed(0)
    network = Standardised().eval()
    network.body.head.weight.data *= weight
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    say = {"factory": f"{__name__}:Standardised", "input_size": (SIDE, SIDE), "normalization": "none"}
    file = tmp_path / "model.pt2"
    if weight == 1:
        assert export(tmp_path / "weights.pt", file, form="pt2", **say).n_pictures == {"generated": 7}
        return
    with pytest.raises(ModelError, match=r"answers NaN to every picture it is compared on.*pass --images"):
        export(tmp_path / "weights.pt", file, form="pt2", **say)
    assert not file.exists()


def test_a_file_that_does_not_take_one_picture_is_not_written(assimilated, tmp_path, monkeypatch):
    honest = exporting.FORMATS["pt2"]

    def read(path):
        run = honest.read(path)
        return lambda x: run(x).squeeze()[:, :]

    monkeypatch.setattr(exporting, "FORMATS", exporting.FORMATS | {"pt2": type(honest)(honest.write, read)})
    with pytest.raises(ModelError, match="as pt2 does not run on a batch of 1"):
        export(assimilated, tmp_path / "m.pt2", form="pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_answers_otherwise_is_not_written(assimilated, tmp_path, monkeypatch):
    file = tmp_path / "model.pt2"
    file.write_bytes(b"the one before")
    honest = exporting.FORMATS["pt2"]
    lying = exporting.FORMATS | {"pt2": type(honest)(honest.write, lambda path: lambda x: honest.read(path)(x) + 0.01)}
    monkeypatch.setattr(exporting, "FORMATS", lying)
    with pytest.raises(ModelError, match="answers otherwise"):
        export(assimilated, file, form="pt2")
    assert file.read_bytes() == b"the one before"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]


def test_a_model_that_does_not_go_into_a_format_is_told_so(assimilated, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("unsupported operator aten::strange\nand a page of more")

    honest = exporting.FORMATS["pt2"]
    monkeypatch.setattr(exporting, "FORMATS", exporting.FORMATS | {"pt2": type(honest)(fail, honest.read)})
    with pytest.raises(ModelError, match=r"cannot be written as pt2 \(unsupported operator aten::strange\)"):
        export(assimilated, tmp_path / "model.pt2", form="pt2")
    assert list(tmp_path.iterdir()) == []


class Findings(nn.Module):
    """Four findings that do not exclude each other."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 4)

    def forward(self, x):
        """A probability for each."""
        return self.head(self.body(x).relu().mean((2, 3))).sigmoid()


@pytest.fixture(scope="module")
def finding(tmp_path_factory):
    """A retrofit of one finding of a traced network; its classes are not in the order of the alphabet."""
    folder = tmp_path_factory.mktemp("finding")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Findings().eval(), torch.rand(2, 3, SIDE, SIDE)).save(folder / "traced.pt")
    vanilla = load_model(
        folder / "traced.pt", label_index=2, classes=["well", "sick"], normalization="half", input_size=(SIDE, SIDE)
    )
    front = Front(1, 3)
    front.start_at_random()
    classifier = Classifier(vanilla.classifier.backbone, vanilla.info.normalization, in_chans=3, front=front)
    write_model(folder, classifier, vanilla.info, image_channels=1, recipe=vanilla.recipe)
    return folder


@pytest.mark.parametrize("form", ["pt2", "onnx", "torchscript"])
def test_one_finding_of_a_traced_network_goes_into_every_format(finding, tmp_path, form):
    """For any length of batch, though the network was traced for two."""
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    assert export(finding, tmp_path / "model", form=form).n_pictures == {"generated": 7}


def test_the_classes_of_a_retrofitted_finding_are_those_it_was_trained_with(finding):
    """Not those of the folders it is asked about: in the other order every answer would count as wrong."""
    assert load_model(finding).info.classes == ("well", "sick")
    assert load_model(finding, folder_classes=("sick", "well")).info.classes == ("well", "sick")


def test_a_file_that_does_not_run_is_told_so_and_why(assimilated, tmp_path, monkeypatch):
    def read(_):
        def run(_):
            raise RuntimeError("advice to developers") from ValueError("expected a batch of 2")

        return run

    honest = exporting.FORMATS["pt2"]
    monkeypatch.setattr(exporting, "FORMATS", exporting.FORMATS | {"pt2": type(honest)(honest.write, read)})
    with pytest.raises(ModelError, match=r"as pt2 does not run on a batch of 7 \(expected a batch of 2\); nothing was"):
        export(assimilated, tmp_path / "m.pt2", form="pt2")
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_is_read_is_written_over_by_whatever_name(assimilated, tmp_path, monkeypatch):
    shutil.copytree(assimilated, tmp_path / "folder")
    (tmp_path / "folder" / "pytorch_model.bin").write_bytes(b"older weights")
    state, audit = tmp_path / "state.pt", tmp_path / "audit.json"
    torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), state)
    audit.write_text("{}")
    (tmp_path / "link.pt2").symlink_to(state)
    (tmp_path / "hard.pt2").hardlink_to(state)
    monkeypatch.chdir(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    refused = [
        *(
            ("folder", f"folder/{name}")
            for name in ("model.safetensors", "config.json", "pytorch_model.bin", "plain/config.json")
        ),
        *((state, out) for out in ("state.pt", "folder/../state.pt", "link.pt2", "hard.pt2")),
        (state, audit),
    ]
    for model, out in refused:
        with pytest.raises(OutputError, match="belongs to what is read"):
            export(model, out, form="pt2", audit=audit)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_pictures_that_are_compared_on_are_not_written_over(assimilated, audit_of, tmp_path):
    """Those that a manifest or an audit names lie anywhere."""
    (tmp_path / "audit").mkdir()
    listed, stored = tmp_path / "listed.png", tmp_path / "audit" / "stored.png"
    for file in (listed, stored):
        Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(file)
    manifest, audit = tmp_path / "list.csv", tmp_path / "audit" / "audit.json"
    manifest.write_text("path,label\nlisted.png,sick\naudit/stored.png,well\n")
    item = GalleryItem(id="listed.png", label="sick", prediction="sick", files={"original": "stored.png"})
    audit.write_text(audit_of(artifacts=(item,)).model_dump_json())
    for out, read in ((listed, {"data": str(manifest)}), (stored, {"audit": str(audit)})):
        content = out.read_bytes()
        with pytest.raises(OutputError, match="belongs to what is read"):
            export(assimilated, out, form="torchscript", **read)
        assert out.read_bytes() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that takes no byte is Linux's")
def test_a_full_disk_is_told_as_such_by_every_format():
    """In torch's own words it is an inline_container, and its writer of .pt2 aborted the process in the end."""
    for name in ("torchscript", "pt2", "onnx"):
        with pytest.raises(OSError, match="No space left on device"):
            exporting.FORMATS[name].write(nn.Conv2d(1, 1, 3).eval(), pictures(2), {}, Path("/dev/full"))


def test_the_files_beside_an_onnx_model_are_not_written_over(tmp_path):
    network = timm.create_model("test_resnet", num_classes=2).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(network, (torch.rand(1, 3, SIDE, SIDE),), dynamo=True, verbose=False)
    program.save(tmp_path / "m.onnx", external_data=True)
    beside = tmp_path / "m.onnx.data"
    content = beside.read_bytes()
    with pytest.raises(OutputError, match="belongs to what is read"):
        export(tmp_path / "m.onnx", beside, form="pt2", classes=["sick", "well"])
    assert beside.read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_what_cannot_be_read_again_is_not_written_to(tmp_path):
    """Nobody reads this pipe: opening it to write would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(OutputError, match=r"is no regular file, and .* write to a file"):
            export(tmp_path / "unread.pt", out, form="torchscript")


def test_an_unknown_format_is_refused(assimilated, tmp_path):
    with pytest.raises(SettingsError, match="wanted torchscript, onnx, pt2"):
        export(assimilated, tmp_path / "m", form="tflite")


def test_onnx_without_its_extra_says_what_to_install(assimilated, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SettingsError, match=r"pip install 'robaudit\[onnx\]'"):
        export(assimilated, tmp_path / "m.onnx", form="onnx")


def test_the_command_prints_the_path_and_what_was_checked(assimilated, tmp_path):
    app = typer.Typer()
    app.command()(command.export)
    file = tmp_path / "m.pt2"
    result = CliRunner().invoke(app, [str(assimilated), "--format", "pt2", "--out", str(file)], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, f"{file}\n")
    assert "same decisions and logits as the model on 7 generated pictures" in result.stderr


def test_the_command_can_say_the_same_as_json(assimilated, tmp_path):
    app = typer.Typer()
    app.command()(command.export)
    arguments = [str(assimilated), "--format", "torchscript", "--out", str(tmp_path / "m.ts"), "--json"]
    told = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)
    assert told["file"] == str(tmp_path / "m.ts")
    assert told["n_pictures"] == {"generated": 7}
    assert 0 <= told["largest_difference"] < 1e-3


def test_the_adversarials_stored_by_an_audit_are_compared(assimilated, tmp_path):
    """As the gallery of a scan leaves them."""
    for split in ("train", "val", "test"):
        for label in ("sick", "well"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            pixels = np.random.default_rng(len(split + label)).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / split / label / "0.png")
    audit = scan(assimilated, tmp_path / "data", out=tmp_path / "audit", attacks=["fgsm"], eps=[8])
    n_stored = sum(role in item.files for item in audit.artifacts for role in ("original", "adversarial"))
    checked = export(assimilated, tmp_path / "m.pt2", form="pt2", audit=tmp_path / "audit" / "audit.json")
    assert checked.n_pictures["stored by the audit"] == n_stored >= 2


def test_an_audit_that_stored_no_picture_is_one_of_none(assimilated, audit_of, tmp_path):
    (tmp_path / "audit.json").write_text(audit_of().model_dump_json(), encoding="utf-8")
    checked = export(assimilated, tmp_path / "m.ts", form="torchscript", audit=tmp_path / "audit.json")
    assert checked.n_pictures == {"generated": 7, "stored by the audit": 0}
    assert "stored" not in checked.sentence()
