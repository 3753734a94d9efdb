"""A file that export wrote is read as what it says it is: the model's classes and grid, and no second normalisation."""

import json
import random
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from robaudit.cli.inspect import inspect
from robaudit.deploy.export import export
from robaudit.errors import ModelError
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.folder import MAX_CONFIG_BYTES
from robaudit.load.model import load_model
from robaudit.load.own_export import METADATA_NAME, said_in_onnx
from robaudit.records import InputSize

SIDE = 32
FORMS = ["torchscript", "pt2", "onnx"]
ALPHABET = ("sick", "well")
"""Folders of the data; the model's classes stand in the other order."""


@pytest.fixture(scope="session")
def exports(assimilated, tmp_path_factory):
    """Return a function: a form -> the file of a plain network of colour pictures, and that of a retrofit of grey."""
    plain = tmp_path_factory.mktemp("plain")
    shutil.copytree(assimilated / "plain", plain, dirs_exist_ok=True)
    config = json.loads((plain / "config.json").read_text())
    (plain / "config.json").write_text(json.dumps(config | {"label_names": ["well", "sick"]}))
    written = {}

    def exported(form):
        if form == "onnx":
            pytest.importorskip("onnxruntime")
            pytest.importorskip("onnxscript")
        if form not in written:
            files = tuple(tmp_path_factory.mktemp(form) / name for name in ("plain", "retrofit"))
            export(plain, files[0], form=form)
            export(assimilated, files[1], form=form)
            written[form] = plain, *files
        return written[form]

    return exported


@pytest.mark.parametrize("form", FORMS)
def test_an_export_is_read_as_the_model_it_was(exports, form):
    plain, file, _ = exports(form)
    loaded = load_model(file, folder_classes=ALPHABET)
    assert loaded.info.classes == ("well", "sick")
    assert loaded.info.input == InputSize(channels=3, height=SIDE, width=SIDE, source="configuration")
    assert loaded.info.normalization.source == METADATA_NAME
    network = timm.create_model("test_resnet", num_classes=2).eval()
    network.load_state_dict(load_file(plain / "model.safetensors"))
    x = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(x), network((x - 0.5) / 0.25), atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_an_export_of_a_retrofit_of_grey_pictures_takes_grey_ones(assimilated, exports, form):
    """Its first convolution that anybody sees is that of the backbone, which takes three channels."""
    *_, file = exports(form)
    loaded = load_model(file)
    assert (loaded.info.classes, loaded.info.input.channels) == (("sick", "well"), 1)
    x = torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(x), load_model(assimilated).classifier(x), atol=1e-5, rtol=0)


def test_an_export_says_how_images_were_shown_in_training(assimilated, tmp_path, monkeypatch):
    shown = ("--bgr", "--resize crop")
    loaded = replace(load_model(assimilated / "plain"), shown=shown, takes_bgr=True)
    monkeypatch.setattr("robaudit.deploy.export.load_model", lambda *_: loaded)
    export(assimilated / "plain", tmp_path / "m.ts", form="torchscript")
    again = load_model(tmp_path / "m.ts")
    assert (again.shown, again.takes_bgr) == (shown, True)


def test_what_a_person_says_counts_more(exports):
    _, file, _ = exports("torchscript")
    loaded = load_model(file, classes=["a", "b"], normalization="half", input_size=(48, 64))
    assert loaded.info.classes == ("a", "b")
    assert loaded.info.normalization.source == "--normalization half"
    assert (loaded.size, loaded.info.input.source) == ((48, 64), "given")


def test_of_the_weights_alone_it_says_nothing_of_the_normalisation(exports):
    """The program normalises, its weights do not."""
    _, file, _ = exports("torchscript")
    assert load_model(file, arch="test_resnet").info.normalization.mean == (0.5,) * 3


@pytest.mark.parametrize("form", FORMS)
def test_inspect_shows_what_it_says(exports, form, capsys):
    _, file, _ = exports(form)
    document = describe(read_contents(file)).document()
    assert document["classes"] == ["well", "sick"]
    assert document["normalization"] == {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    assert (document["input_size"], document["input_size_source"]) == ((SIDE, SIDE), "configuration")
    inspect(file)
    said = capsys.readouterr().out
    assert "well, sick" in said
    assert "scan takes for its mean and std" not in said, "the program does that itself"


def with_words(file: Path, form: str, words: bytes, out: Path) -> Path:
    """The same file saying something else of itself."""
    if form == "onnx":
        onnx = pytest.importorskip("onnx")
        model = onnx.load(file)
        [entry] = [entry for entry in model.metadata_props if entry.key == METADATA_NAME]
        entry.value = words.decode()
        onnx.save(model, out)
        return out
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, words if name.endswith(METADATA_NAME) else old.read(name))
    return out


PICTURE = {"shape": ["batch", 3, SIDE, SIDE], "range": [0, 1]}
HOSTILE = {
    "a list": b"[]",
    "no JSON": b"{",
    "no number": b'{"input": NaN}',
    "a number of 5,000 digits": b'{"input": %s}' % (b"9" * 5000),
    "without end": b"[" * 100_000,
    "too long": b" " * (MAX_CONFIG_BYTES + 1),
    "nothing": b"{}",
    **{
        name: json.dumps({"classes": ["well", "sick"], "input": PICTURE} | said).encode()
        for name, said in {
            "classes by name": {"classes": {"well": 0, "sick": 1}},
            "classes of lists": {"classes": [["well"], ["sick"]]},
            "too many classes": {"classes": ["well", "sick", "dead"]},
            "a class twice": {"classes": ["well", "well"]},
            "input of text": {"input": "picture"},
            "bytes": {"input": PICTURE | {"range": [0, 255]}},
            "a shape of text": {"input": PICTURE | {"shape": "1234"}},
            "three sides": {"input": PICTURE | {"shape": [3, SIDE, SIDE]}},
            "channels of text": {"input": PICTURE | {"shape": ["batch", "3", SIDE, SIDE]}},
            "no channels": {"input": PICTURE | {"shape": ["batch", 0, SIDE, SIDE]}},
            "other channels": {"input": PICTURE | {"shape": ["batch", 4, SIDE, SIDE]}},
            "sides of fractions": {"input": PICTURE | {"shape": ["batch", 3, 32.0, 32.0]}},
            "a negative side": {"input": PICTURE | {"shape": ["batch", 3, -32, 32]}},
            "a side for a satellite": {"input": PICTURE | {"shape": ["batch", 3, 10**9, 10**9]}},
            "a grid of 240 GB": {"input": PICTURE | {"shape": ["batch", 3, 10**5, 10**5]}},
            "channels of 100 GB": {"input": PICTURE | {"shape": ["batch", 10**5, 512, 512]}},
        }.items()
    },
}


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("form", FORMS)
def test_whatever_else_it_says_is_refused_in_one_line(exports, tmp_path, form, words):
    _, file, _ = exports(form)
    with pytest.raises(ModelError, match=r"^[^\n]+; [^\n]+$"):
        load_model(with_words(file, form, words, tmp_path / "m"))


def test_onnx_metadata_is_found_as_the_package_finds_it(exports, tmp_path):
    """Before, behind and between entries of others, which may be long; damaged at random it is found or is not."""
    _, file, _ = exports("onnx")
    import onnx

    model = onnx.load(file)
    [said] = [json.loads(entry.value) for entry in model.metadata_props if entry.key == METADATA_NAME]
    assert said_in_onnx(file) == {METADATA_NAME: said}
    others = [onnx.StringStringEntryProto(key=key, value=value) for key, value in (("", ""), ("names", "n" * 2**21))]
    model.metadata_props.extend(others)
    model.metadata_props.insert(0, onnx.StringStringEntryProto(key="stride", value="32"))
    onnx.save(model, tmp_path / "m.onnx")
    assert said_in_onnx(tmp_path / "m.onnx") == {METADATA_NAME: said}
    model.metadata_props.append(onnx.StringStringEntryProto(key=METADATA_NAME, value="{}"))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"holds more than one robaudit\.json, and only one can be true"):
        said_in_onnx(tmp_path / "m.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    assert said_in_onnx(tmp_path / "m.onnx") == {}
    content, dice = file.read_bytes(), random.Random(0)
    for _ in range(200):
        damaged = bytearray(content[: dice.choice((len(content), dice.randrange(len(content))))])
        for _ in range(dice.randrange(4)):
            damaged[dice.randrange(-min(len(damaged), 600), 0)] = dice.randrange(256)
        (tmp_path / "m.onnx").write_bytes(damaged)
        try:
            said_in_onnx(tmp_path / "m.onnx")
        except ModelError:
            continue
