"""Malicious model files of every kind: what they would do never happens unless a person pins the file's hash."""

import json
import os
import pickle
import resource
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from containers import exported, onnx_by_trace, quietly, scripted, write_timm_folder
from damage import PICTURES, rewrite, small
from safetensors.torch import save_file
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.model import load_model


class Reduces:
    """Pickles as a call of `function`, as malicious files do."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.wish = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.wish


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def payload(canary: Path) -> Reduces:
    return Reduces(os.system, f"touch {canary}")


def weights() -> dict[str, Tensor]:
    return dict(small().state_dict())


def open_it(path: Path) -> str:
    """Do everything with a file that needs no consent; return what was said."""
    try:
        describe(read_contents(path)).document()
        load_model(path, input_size=(16, 16))
    except ModelError as error:
        said = str(error)
    else:
        said = "loaded"
    assert len(said.splitlines()) == 1
    return said


MOST_MEMORY_KIB = 2**19
"""Half a gigabyte, libraries that are imported on the way included."""


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY_KIB


# Pickles


def in_a_checkpoint(path: Path, bad: Any) -> None:
    torch.save({"state_dict": weights(), "hook": bad}, path)


def among_the_weights(path: Path, bad: Any) -> None:
    torch.save({**weights(), "x.weight": bad}, path)


def as_a_key_of_the_legacy_format(path: Path, bad: Any) -> None:
    torch.save({"state_dict": weights(), "hook": bad}, path, _use_new_zipfile_serialization=False)


def bare(path: Path, bad: Any) -> None:
    path.write_bytes(pickle.dumps(bad))


def in_a_hugging_face_folder(path: Path, bad: Any) -> None:
    path.mkdir()
    torch.save({"state_dict": weights(), "hook": bad}, path / "pytorch_model.bin")
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit"}
    (path / "config.json").write_text(json.dumps(config))


def in_a_bundle(path: Path, bad: Any) -> None:
    (path / "configs").mkdir(parents=True)
    (path / "models").mkdir()
    (path / "configs" / "metadata.json").write_text("{}")
    torch.save({"state_dict": weights(), "hook": bad}, path / "models" / "model.pt")


def as_constants_of_a_script(path: Path, bad: Any) -> None:
    scripted(small(), PICTURES, path)
    rewrite(path, lambda name, content: pickle.dumps(bad) if name.endswith("constants.pkl") else content)


def as_data_of_a_script(path: Path, bad: Any) -> None:
    scripted(small(), PICTURES, path)
    rewrite(path, lambda name, content: pickle.dumps(bad) if name.endswith("data.pkl") else content)


def as_sample_inputs_of_an_export(path: Path, bad: Any) -> None:
    exported(small(), PICTURES, path)
    rewrite(path, lambda name, content: pickle.dumps(bad) if "sample_inputs" in name else content)


def as_a_weight_of_an_export(path: Path, bad: Any) -> None:
    exported(small(), PICTURES, path)

    def change(name: str, content: bytes) -> bytes:
        if name.endswith("weights_config.json"):
            return content.replace(b'"use_pickle": false', b'"use_pickle": true')
        return pickle.dumps(bad) if "/weight_" in name else content

    rewrite(path, change)


PICKLES = [
    in_a_checkpoint, among_the_weights, as_a_key_of_the_legacy_format, bare, in_a_hugging_face_folder, in_a_bundle,
    as_constants_of_a_script, as_data_of_a_script, as_sample_inputs_of_an_export, as_a_weight_of_an_export,
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("write", PICKLES)
def test_a_pickle_never_runs(tmp_path: Path, canary: Path, write: Callable[[Path, Any], None]) -> None:
    write(tmp_path / "m", payload(canary))
    open_it(tmp_path / "m")
    assert not canary.exists()


def test_the_pickle_would_have_run(canary: Path) -> None:
    """Otherwise the test above proves nothing."""
    pickle.loads(pickle.dumps(payload(canary)))
    assert canary.exists()


# Programs


class WritesWhenAsked(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.path)
        return self.conv(x).mean((2, 3))


class WritesWhenLoaded(nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), state[0])

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@pytest.mark.parametrize(("made", "named"), [(WritesWhenAsked, r"torch\.save"), (WritesWhenLoaded, "__setstate__")])
def test_a_script_that_writes_a_file_takes_consent(
    tmp_path: Path, canary: Path, made: Callable[[str], nn.Module], named: str
) -> None:
    scripted(made(str(canary)).eval(), PICTURES, tmp_path / "m")
    said = open_it(tmp_path / "m")
    assert not canary.exists()
    with pytest.raises(ModelError, match=rf"{named}.*--trust [0-9a-f]{{64}}"):
        load_model(tmp_path / "m")
    # The proof that it would have: whoever pins it lets it.
    sha256 = said.rsplit(" ", 1)[1]
    load_model(tmp_path / "m", trust=sha256, input_size=(16, 16))
    assert canary.exists()


def test_an_expression_in_an_exported_program_is_not_evaluated(tmp_path: Path, canary: Path) -> None:
    """torch.export.load hands it to sympy, which hands it to `eval`."""
    exported(small(), PICTURES, tmp_path / "m")
    evil = f"__import__('os').system('touch {canary}')"

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        document = json.loads(content)
        for value in document["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = evil
        return json.dumps(document).encode()

    rewrite(tmp_path / "m", change)
    open_it(tmp_path / "m")
    assert not canary.exists()


# Folders


def test_code_in_a_hugging_face_folder_is_not_imported(tmp_path: Path, canary: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "modeling_evil.py").write_text(f"open({str(canary)!r}, 'w')\n")
    config = {
        "architectures": ["EvilForImageClassification"], "model_type": "evil",
        "auto_map": {"AutoModelForImageClassification": "modeling_evil.EvilForImageClassification"},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights(), folder / "model.safetensors")
    said = open_it(folder)
    assert "has no image classifier 'EvilForImageClassification'" in said or "pip install" in said
    assert not canary.exists()


def evil_file(path: Path, canary: Path) -> Path:
    torch.save({"state_dict": weights(), "hook": payload(canary)}, path)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"quantization_config": {"quant_method": "torchao"}}, "sets quantization_config, which loads more than"),
        ({"backbone_config": {"backbone_kwargs": {"checkpoint_path": "EVIL"}}}, "sets backbone_kwargs, which loads"),
        (
            {"architectures": ["TimmWrapperForImageClassification"], "model_type": "timm_wrapper",
             "model_args": {"checkpoint_path": "EVIL"}},
            "has no image classifier 'TimmWrapperForImageClassification' of type 'timm_wrapper'",
        ),
        ({"architectures": ["../EvilForImageClassification"]}, "has no image classifier"),
        ({"model_type": "os"}, "has no image classifier"),
        ({"num_hidden_layers": 10**12}, "asks for more than 1000 layers"),
    ],
)  # fmt: skip
def test_a_hugging_face_configuration_loads_nothing_else(
    tmp_path: Path, canary: Path, sets: dict[str, Any], said: str
) -> None:
    pytest.importorskip("transformers")
    folder = tmp_path / "m"
    folder.mkdir()
    save_file(weights(), folder / "model.safetensors")
    evil = str(evil_file(folder / "evil.pth", canary))
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit", **sets}
    (folder / "config.json").write_text(json.dumps(config).replace("EVIL", evil))
    assert said in open_it(folder)
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore")
def test_attention_from_the_hub_is_not_fetched(tmp_path: Path) -> None:
    """Transformers takes `organisation/name` for code of the hub, which it downloads and runs."""
    transformers = pytest.importorskip("transformers")
    small_vit = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    made = transformers.ViTForImageClassification(transformers.ViTConfig(image_size=32, **small_vit)).eval()
    made.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"attn_implementation": "evil/attention"}
    with pytest.raises(ImportError, match="kernels"):  # what transformers itself would do, were it installed
        transformers.ViTForImageClassification(transformers.ViTConfig.from_dict(config))
    (tmp_path / "config.json").write_text(json.dumps(config))
    seen = torch.rand(1, 3, 32, 32)
    loaded = load_model(tmp_path, mean=(0.0,) * 3, std=(1.0,) * 3)
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(seen), made(seen).logits)


@pytest.mark.parametrize(
    "sets",
    [
        {"architecture": "hf-hub:evil/model"},
        {"architecture": "local-dir:FOLDER"},
        {"architecture": "test_resnet.EVIL"},
        {"architecture": "resnet50"},
        {"architecture": "torchvision:get_model"},
        {"model_args": {"checkpoint_path": "EVIL"}},
        {"model_args": {"act_layer": "__import__('os').system('touch CANARY')"}},
        {"model_args": {"img_size": [10**9, 10**9]}},
        {"num_classes": 10**12, "model_args": {"global_pool": "max"}},
    ],
)
def test_a_timm_folder_names_an_architecture_and_nothing_else(
    tmp_path: Path, canary: Path, sets: dict[str, Any]
) -> None:
    folder = write_timm_folder(small(), tmp_path / "m", "test_resnet", num_classes=3)
    evil = str(evil_file(folder / "evil.pth", canary))
    config = json.dumps(json.loads((folder / "config.json").read_text()) | sets)
    for word, meant in (("EVIL", evil), ("FOLDER", str(folder)), ("CANARY", str(canary))):
        config = config.replace(word, meant)
    (folder / "config.json").write_text(config)
    assert open_it(folder) != "loaded"
    assert not canary.exists()


def test_what_else_a_timm_folder_points_at_is_not_read(tmp_path: Path, canary: Path) -> None:
    folder = write_timm_folder(small(), tmp_path / "m", "test_resnet", num_classes=3)
    evil = str(evil_file(folder / "evil.pth", canary))
    config = json.loads((folder / "config.json").read_text())
    pointers = {"url": f"file://{evil}", "file": evil, "hf_hub_id": "evil/model", "custom_load": "hf"}
    (folder / "config.json").write_text(json.dumps(config | {"pretrained_cfg": pointers}))
    open_it(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    "link", ["config.json", "model.safetensors", "preprocessor_config.json", "processor_config.json"]
)
@pytest.mark.parametrize("to", ["itself", "/dev/zero", "a pipe", "the folder"])
def test_a_folder_of_links_that_lead_nowhere(tmp_path: Path, link: str, to: str) -> None:
    folder = write_timm_folder(small(), tmp_path / "m", "test_resnet")
    if "processor" in link:
        config = {"architectures": ["ViTForImageClassification"], "model_type": "vit"}
        (folder / "config.json").write_text(json.dumps(config))
    (folder / link).unlink(missing_ok=True)
    if to == "a pipe":
        os.mkfifo(folder / link)
    else:
        (folder / link).symlink_to({"itself": folder / link, "/dev/zero": "/dev/zero", "the folder": folder}[to])
    assert open_it(folder) != "loaded"


def test_a_bundle_calls_nothing(tmp_path: Path, canary: Path) -> None:
    folder = tmp_path / "m"
    as_bundle(folder, {"_target_": "os.system", "command": f"touch {canary}"})
    assert "os.system is no classifier of MONAI" in (said := open_it(folder)) or "pip install" in said
    hidden = {"_target_": "DenseNet121", "norm": ["batch", {"_target_": "os.system", "command": f"touch {canary}"}]}
    as_bundle(folder, hidden)
    assert "expressions, which are not evaluated" in (said := open_it(folder)) or "pip install" in said
    assert not canary.exists()


def as_bundle(folder: Path, definition: dict[str, Any]) -> None:
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "models").mkdir(exist_ok=True)
    (folder / "configs" / "metadata.json").write_text("{}")
    (folder / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}))
    torch.save({"a.weight": torch.zeros(2, 2), "b.weight": torch.zeros(2)}, folder / "models" / "model.pt")


def test_an_expression_in_a_monai_bundle_is_not_evaluated(tmp_path: Path, canary: Path) -> None:
    evil = f"$__import__('os').system('touch {canary}')"
    as_bundle(tmp_path / "m", {"_target_": "monai.networks.nets.DenseNet121", "spatial_dims": 2, "in_channels": evil})
    assert "expressions, which are not evaluated" in (said := open_it(tmp_path / "m")) or "pip install" in said
    assert not canary.exists()


def assimilated(folder: Path, **config: Any) -> Path:
    write_timm_folder(small(), folder, "test_resnet", format="robaudit-assimilated", **config)
    weights = {f"backbone.{name}": tensor.clone() for name, tensor in small().state_dict().items()}
    from robaudit.front.front import Front

    front = Front(1, 1)
    save_file(weights | {f"front.{k}": v.clone() for k, v in front.state_dict().items()}, folder / "model.safetensors")
    described = json.loads((folder / "config.json").read_text()) | {"front": front.config()}
    (folder / "config.json").write_text(json.dumps(described))
    return folder


def test_an_assimilated_folder_names_no_code_and_no_file_elsewhere(tmp_path: Path, canary: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(f"open({str(canary)!r}, 'w')\n")
    own = assimilated(tmp_path / "own", factory="elsewhere:make")
    assert "which is your own code; pass --factory elsewhere:make" in open_it(own)
    scripted(small(), PICTURES, tmp_path / "secret.pt")
    for program in ("../secret.pt", str(tmp_path / "secret.pt")):
        folder = assimilated(tmp_path / f"away{len(program)}", program=program)
        assert "its program lies elsewhere" in open_it(folder)
    assert not canary.exists()


# Containers of numbers


def safetensors_of(header: dict[str, Any] | bytes, n_bytes: int = 16, length: int | None = None) -> bytes:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(content) if length is None else length).to_bytes(8, "little") + content + bytes(n_bytes)


def of_span(*spans: tuple[int, int]) -> dict[str, Any]:
    return {
        f"t{i}": {"dtype": "F32", "shape": [(b - a) // 4], "data_offsets": [a, b]} for i, (a, b) in enumerate(spans)
    }


@pytest.mark.parametrize(
    "content",
    [
        safetensors_of(of_span((0, 12), (8, 16))),
        safetensors_of(of_span((0, 8), (12, 16))),
        safetensors_of(of_span((0, 2**40))),
        safetensors_of({"t": {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}}),
        safetensors_of({"t": {"dtype": "F32", "shape": [-4], "data_offsets": [16, 0]}}),
        safetensors_of({"t": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 16]}}),
        safetensors_of({"t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1e300]}}),
        safetensors_of(of_span((0, 16)), length=2**47),
        safetensors_of(b'{"t":' + b"[" * 100_000),
        safetensors_of(b'{"t": {"dtype": "F32", "shape": [' + b"9" * 100_000 + b'], "data_offsets": [0, 16]}}'),
    ],
    ids=["overlap", "gap", "beyond", "negative", "negative size", "overflow", "broken", "header", "nested", "digits"],
)
def test_numbers_that_lie_elsewhere_than_safetensors_has_room(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m").write_bytes(content)
    assert "is truncated or damaged" in open_it(tmp_path / "m")


def test_an_archive_is_not_unpacked(tmp_path: Path, canary: Path) -> None:
    torch.save(weights(), tmp_path / "m")
    (tmp_path / "below").mkdir()
    with zipfile.ZipFile(tmp_path / "m", "a") as archive:
        for name in ("../canary", "m/../../canary", str(canary), "m/data/../../../canary"):
            archive.writestr(name, "it was unpacked")
    open_it(tmp_path / "m")
    assert not canary.exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("entry", ["data.pkl", "data/0"])
def test_an_entry_that_is_there_twice_is_not_chosen_between(tmp_path: Path, canary: Path, entry: str) -> None:
    """A scanner that reads the first would pass what a loader that reads the last runs."""
    torch.save(weights(), tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m", "a") as archive:
        archive.writestr(f"m/{entry}", pickle.dumps(payload(canary)))
    assert "two entries of the same name" in open_it(tmp_path / "m")
    assert not canary.exists()


@pytest.mark.parametrize("entry", ["data.pkl", "data/0", "byteorder"])
def test_a_bomb_among_the_numbers(tmp_path: Path, entry: str) -> None:
    torch.save(timm.create_model("test_vit2", num_classes=2).state_dict(), tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "m", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            with archive.open(name, "w") as file:
                file.write(content)
                for _ in range(600 if name == f"m/{entry}" else 0):
                    file.write(bytes(1_000_000))
    assert (tmp_path / "m").stat().st_size < 3_000_000
    assert "damaged" in (said := open_it(tmp_path / "m")) or "more than" in said


class Storage:
    """What a checkpoint says of where its numbers lie."""

    def __init__(self, *persistent: Any) -> None:
        self.persistent = persistent


class StoragePickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.persistent if isinstance(value, Storage) else None


@pytest.mark.parametrize(
    ("storage", "view"),
    [
        (("storage", torch.FloatStorage, "../../../etc/passwd", "cpu", 4), (0, (4,), (1,))),
        (("storage", torch.FloatStorage, "/etc/passwd", "cpu", 4), (0, (4,), (1,))),
        (("storage", torch.FloatStorage, "0", "cpu", 2**60), (0, (2**60,), (1,))),
        (("storage", torch.FloatStorage, "0", "cpu", 4), (-4, (4,), (1,))),
        (("storage", torch.FloatStorage, "0", "cpu", 4), (0, (4,), (-1,))),
        (("storage", torch.FloatStorage, "0", "cpu", 4), (0, (2**31, 2**31), (0, 0))),
        (("storage", torch.FloatStorage, "0", "cpu", 4), (2**62, (4,), (1,))),
        (("storage", os.system, "0", "touch canary", 4), (0, (4,), (1,))),
        (("module", os.system, "touch canary"), (0, (4,), (1,))),
        (("storage", torch.FloatStorage, "0", "cpu", 4, (os.system, "touch canary")), (0, (4,), (1,))),
    ],
)  # fmt: skip
def test_a_storage_is_no_file_and_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: tuple[Any, ...], view: tuple[Any, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    import io

    written = io.BytesIO()
    rebuilt = Reduces(torch._utils._rebuild_tensor_v2, Storage(*storage), *view, False, {})
    StoragePickler(written, protocol=2).dump({"fc.weight": rebuilt, "fc.bias": rebuilt})
    torch.save({"fc.weight": torch.zeros(4)}, tmp_path / "m")
    rewrite(tmp_path / "m", lambda name, content: written.getvalue() if name.endswith("data.pkl") else content)
    assert open_it(tmp_path / "m") != "loaded"
    assert not (tmp_path / "canary").exists()


def test_a_pickle_that_doubles_itself_sixty_times(tmp_path: Path) -> None:
    """A thousand million laughs: small on disk, without end where it is looked at part by part."""
    nested: Any = ["x"]
    for _ in range(60):
        nested = [nested, nested]
    torch.save({"state_dict": weights(), "hook": nested, "net": {"a": nested}}, tmp_path / "m")
    open_it(tmp_path / "m")
    torch.save(nested, tmp_path / "alone")
    assert "holds no state dict" in open_it(tmp_path / "alone")


# Code in programs

FORGERIES = [
    "torch.from_file(CANARY, True, 4)",
    "ops.aten.from_file(CANARY, True, 4)",
    "torch.save(x, CANARY)",
    "ops.prim.PythonOp(CANARY)",
    "__torch__.torch.classes.evil.Run(CANARY)",
    "self.__class__.__init__.__globals__",
    "getattr(self, '__class__')",
    "__import__('os').system(CANARY)",
    "eval(CANARY)",
    "open(CANARY, 'w')",
    "(lambda: open(CANARY, 'w'))()",
    "[open(CANARY, 'w') for y in [1]]",
    "torch.pow(10, 10000000000)",
    "torch.mul([0], 10000000000000)",
]


def forge(path: Path, lines: list[str]) -> None:
    """A script of which every method and function begins with these lines."""
    scripted(small(), PICTURES, path)

    def change(name: str, content: bytes) -> bytes:
        found: list[str] = []
        begins = False
        for line in content.decode().split("\n") if "/code/" in name and name.endswith(".py") else []:
            if begins:
                found += [" " * (len(line) - len(line.lstrip())) + forged for forged in lines]
            found.append(line)
            begins = line.endswith(") -> Tensor:")
        return "\n".join(found).encode() if found else content

    rewrite(path, change)


def test_the_forger_writes_what_is_computed(tmp_path: Path) -> None:
    """Otherwise the tests below prove nothing."""
    forge(tmp_path / "m", ["_harmless = torch.add(1, 1)"])
    assert open_it(tmp_path / "m") == "loaded"


@pytest.mark.parametrize("expression", FORGERIES)
def test_forged_code_of_a_script(tmp_path: Path, canary: Path, expression: str) -> None:
    forge(tmp_path / "m", ["_evil = " + expression.replace("CANARY", repr(str(canary)))])
    said = open_it(tmp_path / "m")
    assert "is TorchScript that robaudit does not compute itself" in said or "is not computed" in said, said
    assert "indent" not in said, said
    assert not canary.exists()


@pytest.mark.parametrize("lines", [["while True:", "  pass"], ["for i in range(10000000000):", "  pass"]])
def test_a_script_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    monkeypatch.setattr("robaudit.load.scripted.MAX_STEPS", 20_000)  # sooner than the real limit
    forge(tmp_path / "m", lines)
    said = open_it(tmp_path / "m")
    assert "steps" in said or "rounds" in said, said


def test_text_that_is_formatted_looks_nothing_up(tmp_path: Path) -> None:
    forge(tmp_path / "m", ["_evil = torch.format('{0.__class__.__init__.__globals__}', 1)"])
    assert open_it(tmp_path / "m") == "loaded"


@pytest.mark.parametrize(
    "target",
    ["os.system", "builtins.eval", "torch.ops.aten.from_file.default", "torch.ops.evil.run.default", "torch.save", "#"],
)
def test_forged_targets_of_an_exported_program(tmp_path: Path, canary: Path, target: str) -> None:
    exported(small(), PICTURES, tmp_path / "m")

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        document = json.loads(content)
        node = document["graph_module"]["graph"]["nodes"][0]
        node["target"] = target
        node["inputs"] = [{"name": "filename", "arg": {"as_string": str(canary)}, "kind": 1}]
        return json.dumps(document).encode()

    rewrite(tmp_path / "m", change)
    assert open_it(tmp_path / "m") != "loaded"
    assert not canary.exists()


# ONNX


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link", "sub/secret", ".", ""])
def test_numbers_of_an_onnx_file_come_from_beside_it_alone(tmp_path: Path, location: str) -> None:
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "m"
    (folder / "sub").mkdir(parents=True)
    for secret in (tmp_path / "secret", folder / "sub" / "secret"):
        secret.write_bytes(bytes(4096))
    (folder / "link").symlink_to(tmp_path / "secret")
    onnx_by_trace(small(), PICTURES, folder / "m.onnx")
    model = onnx.load(folder / "m.onnx")
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    assert "which is no file beside it" in open_it(folder / "m.onnx")


def test_an_operator_of_python_in_an_onnx_file(tmp_path: Path, canary: Path) -> None:
    """As onnxruntime-extensions runs them, and a function of the file by the name of an operator."""
    onnx = pytest.importorskip("onnx")
    onnx_by_trace(small(), PICTURES, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    node = model.graph.node[0]
    node.op_type, node.domain = "PyOp", "ai.onnx.contrib"
    node.attribute.append(onnx.helper.make_attribute("code", f"open({str(canary)!r}, 'w')"))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "PyOp" in open_it(tmp_path / "m.onnx")
    assert not canary.exists()


def test_absurd_claims_of_an_onnx_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnx_by_trace(small(), PICTURES, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**40])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "does not fit into the file" in open_it(tmp_path / "m.onnx")


def write_functions(path: Path, functions: list[list[Any]]) -> Path:
    """A graph that calls the last of several functions f0, f1, ..., from a to b, of these nodes."""
    onnx = pytest.importorskip("onnx")
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("d", 1)]
    made = [
        onnx.helper.make_function("d", f"f{index}", ["a"], ["b"], nodes, opsets)
        for index, nodes in enumerate(functions)
    ]
    pictures = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("batch", 3, 8, 8))
    answers = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([calls(len(functions) - 1, "x", "y")], "g", [pictures], [answers])
    path.write_bytes(
        onnx.helper.make_model(graph, functions=made, opset_imports=opsets, ir_version=10).SerializeToString()
    )
    return path


def calls(index: int, before: str, after: str, **attributes: Any) -> Any:
    onnx = pytest.importorskip("onnx")
    return onnx.helper.make_node(f"f{index}", [before], [after], domain="d", **attributes)


def test_functions_of_an_onnx_file_that_double_at_every_step(tmp_path: Path) -> None:
    """4 kB that would become 2^41 nodes, or nothing after 2^41 calls."""
    onnx = pytest.importorskip("onnx")
    doubling = [[calls(index, "a", "t"), calls(index, "t", "b")] for index in range(40)]
    for first in ([onnx.helper.make_node("Relu", ["a"], ["b"])], []):
        path = write_functions(tmp_path / "m.onnx", [first, *doubling])
        assert path.stat().st_size < 8000
        assert "more than 200000 nodes with its functions written out" in open_it(path)


def test_functions_of_an_onnx_file_that_double_inside_of_a_branch(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")

    def branch(index: int) -> Any:
        nodes = [calls(index, "a", "t"), calls(index, "t", "u")]
        graph = onnx.helper.make_graph(nodes, "g", [], [onnx.helper.make_empty_tensor_value_info("u")])
        return onnx.helper.make_node("If", ["a"], ["b"], then_branch=graph, else_branch=graph)

    relu = onnx.helper.make_node("Relu", ["a"], ["b"])
    path = write_functions(tmp_path / "m.onnx", [[relu], *([branch(index)] for index in range(20))])
    assert "more than 200000 nodes with its functions written out" in open_it(path)


def test_functions_of_an_onnx_file_that_carry_much(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    numbers = onnx.numpy_helper.from_array(np.zeros(2**18, np.float32))
    carrier = onnx.helper.make_node("Constant", [], ["b"], value=numbers)
    often = [calls(0, "a", f"t{index}") for index in range(300)]
    path = write_functions(tmp_path / "m.onnx", [[carrier], [*often, calls(0, "a", "b")]])
    assert "bytes with its functions written out" in open_it(path)


def test_functions_of_an_onnx_file_that_call_themselves_or_have_one_name(tmp_path: Path) -> None:
    assert "a function that calls itself" in open_it(write_functions(tmp_path / "m.onnx", [[calls(0, "a", "b")]]))
    onnx = pytest.importorskip("onnx")
    model = onnx.load(write_functions(tmp_path / "m.onnx", [[onnx.helper.make_node("Relu", ["a"], ["b"])]]))
    model.functions.append(model.functions[0])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "two functions of one name" in open_it(tmp_path / "m.onnx")


@pytest.mark.parametrize("n", [300, 5000])
def test_functions_of_an_onnx_file_that_nest_without_end(tmp_path: Path, n: int) -> None:
    onnx = pytest.importorskip("onnx")
    chain = [[calls(index, "a", "b")] for index in range(n)]
    path = write_functions(tmp_path / "m.onnx", [[onnx.helper.make_node("Relu", ["a"], ["b"])], *chain])
    assert open_it(path) != "loaded"


def test_functions_of_an_onnx_file_are_computed(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    flat = [onnx.helper.make_node("Flatten", ["a"], ["b"])]
    path = write_functions(tmp_path / "m.onnx", [flat, [calls(0, "a", "t"), calls(0, "t", "b")]])
    assert open_it(path) == "loaded"


@quietly
def deflated(network: nn.Module, pictures: Tensor, path: Path) -> None:
    def padded(name: str, content: bytes) -> bytes:
        padding = b"# " + bytes([35]) * 60_000_000 if name.endswith(".py") and "container" in name else b""
        return content + padding

    scripted(network, pictures, path)
    rewrite(path, padded, zipfile.ZIP_DEFLATED)


def test_a_bomb_of_code_is_refused(tmp_path: Path) -> None:
    deflated(small(), PICTURES, tmp_path / "m")
    assert (tmp_path / "m").stat().st_size < 1_000_000
    assert "more than" in open_it(tmp_path / "m")


def test_no_pure_operator_touches_anything_but_numbers() -> None:
    from robaudit.load.aten import PURE_OPERATORS, is_pure

    refused = {"save", "load", "from_file", "manual_seed", "seed", "warn", "fork", "rand", "randn", "set_"}
    assert not {name for name in refused if is_pure(name)}
    for name in PURE_OPERATORS:
        schemas = [str(schema) for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}")]
        assert not any("filename" in schema for schema in schemas), name
        assert schemas or name == "_upsample_lanczos2d_aa", "an operator of torch; this one of its later versions"
