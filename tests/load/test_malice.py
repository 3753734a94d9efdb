"""Malicious model files of every kind: what they would do never happens unless a person pins the file's hash."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from containers import exported, onnx_by_trace, quietly, scripted, write_timm_folder
from damage import PICTURES, small
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


def rewrite(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, change(name, content))


def open_it(path: Path) -> str:
    """Do everything with a file that needs no consent; return what was said."""
    try:
        describe(read_contents(path)).document()
        load_model(path, input_size=(16, 16))
    except ModelError as error:
        return str(error)
    return "loaded"


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


def test_an_expression_in_a_monai_bundle_is_not_evaluated(tmp_path: Path, canary: Path) -> None:
    folder = tmp_path / "m"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text("{}")
    evil = f"$__import__('os').system('touch {canary}')"
    definition = {"_target_": "monai.networks.nets.DenseNet121", "spatial_dims": 2, "in_channels": evil}
    (folder / "configs" / "inference.json").write_text(json.dumps({"network_def": definition}))
    torch.save({"a.weight": torch.zeros(2, 2), "b.weight": torch.zeros(2)}, folder / "models" / "model.pt")
    assert "expressions, which are not evaluated" in (said := open_it(folder)) or "pip install" in said
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


def test_absurd_claims_of_an_onnx_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnx_by_trace(small(), PICTURES, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**40])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert "does not fit into the file" in open_it(tmp_path / "m.onnx")


@quietly
def deflated(network: nn.Module, pictures: Tensor, path: Path) -> None:
    scripted(network, pictures, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            padding = b"# " + bytes([35]) * 60_000_000 if name.endswith(".py") and "container" in name else b""
            archive.writestr(name, content + padding)


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
