"""Every model file here is made by hand or by torch itself; none of them is ever run."""

import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from containers import exported, scripted
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from robaudit.errors import ModelError
from robaudit.load.contents import read_contents
from robaudit.load.inert_pickle import read_entry, read_pickle
from robaudit.load.kinds import Contents, Kind
from robaudit.load.state import state_tensors
from robaudit.load.torch_pickle import DATA_GLOBALS, TensorInfo
from robaudit.load.weights import read_weights


def small() -> nn.Module:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), bn=nn.BatchNorm2d(2), fc=nn.Linear(2, 3)))


SHAPES = {name: tuple(tensor.shape) for name, tensor in small().state_dict().items()}


def shapes(contents: Contents) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in state_tensors(contents).tensors.items()}


# What people have


def test_a_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "weights.of.any.suffix"
    torch.save(small().half().state_dict(), path)
    contents = read_contents(path)
    assert contents.kind == Kind.TORCH_CHECKPOINT
    assert contents.size_bytes == path.stat().st_size
    assert contents.foreign_globals == ()
    assert shapes(contents) == SHAPES
    assert contents.groups[()]["conv.weight"] == TensorInfo((2, 1, 3, 3), "float16")
    assert contents.groups[()]["bn.num_batches_tracked"] == TensorInfo((), "int64")


@pytest.mark.parametrize(
    ("nest", "nesting"),
    [
        (lambda state: {"state_dict": state, "epoch": 3}, ("state_dict",)),
        (
            lambda state: {"model_state_dict": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
            ("model_state_dict",),
        ),
        (lambda state: {"model": {"state_dict": state}}, ("model", "state_dict")),
        (lambda state: {"net": state, "mean": torch.zeros(3)}, ("net",)),
        (lambda state: {"ema": state}, ("ema",)),
        (lambda state: {"the_weights_of_my_thesis": state}, ("the_weights_of_my_thesis",)),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_in_a_training_checkpoint(
    tmp_path: Path, nest: Callable[[Any], Any], nesting: tuple[str, ...], legacy: bool
) -> None:
    path = tmp_path / "last.ckpt"
    saved = nest(small().state_dict())
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    contents = read_contents(path)
    assert contents.kind == (Kind.LEGACY_TORCH_CHECKPOINT if legacy else Kind.TORCH_CHECKPOINT)
    assert state_tensors(contents).nesting == nesting
    assert shapes(contents) == SHAPES


def test_a_stray_tensor_hides_no_state_dict_and_no_network(tmp_path: Path) -> None:
    path, beside = tmp_path / "model.pt", {"best_acc": torch.tensor(0.93)}
    torch.save({"the_weights_of_my_thesis": small().state_dict(), **beside}, path)
    assert state_tensors(read_contents(path)).nesting == ("the_weights_of_my_thesis",)
    torch.save({"net": small(), **beside}, path)
    assert read_contents(path).kind == Kind.PICKLED_MODULE
    assert shapes(read_contents(path)) == SHAPES


def test_weights_of_one_layer_are_no_stray_tensors(tmp_path: Path) -> None:
    torch.save({**nn.Linear(2, 3).state_dict(), "optimizer": {"state": torch.ones(1)}}, tmp_path / "model.pt")
    assert shapes(read_contents(tmp_path / "model.pt")) == {"weight": (3, 2), "bias": (3,)}


@pytest.mark.parametrize(
    ("prefix", "more"),
    [
        ("", {}),
        ("module.", {}),
        ("model.", {}),
        ("backbone.", {}),
        ("_orig_mod.", {}),
        ("module._orig_mod.", {}),
        ("module.", {"n_averaged": torch.tensor(5)}),
    ],
)
def test_prefixes_are_stripped_and_told(tmp_path: Path, prefix: str, more: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "model.pt"
    torch.save(
        {"state_dict": {f"{prefix}{name}": tensor for name, tensor in small().state_dict().items()} | more}, path
    )
    state = state_tensors(read_contents(path))
    assert (state.nesting, state.prefix) == (("state_dict",), prefix)
    assert {name: tensor.shape for name, tensor in state.tensors.items()} == SHAPES
    small().load_state_dict(read_weights(read_contents(path), state), strict=True)


def test_a_prefix_that_only_some_names_have_belongs_to_the_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"backbone.weight": torch.zeros(2, 2), "head.weight": torch.zeros(2, 2)}, path)
    state = state_tensors(read_contents(path))
    assert (state.prefix, set(state.tensors)) == ("", {"backbone.weight", "head.weight"})


def test_plain_weights_come_before_their_average(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model_ema": small().state_dict(), "state_dict": small().state_dict()}, path)
    state = state_tensors(read_contents(path))
    assert (state.nesting, state.alternatives) == (("state_dict",), (("model_ema",),))


def test_the_plain_entries_of_a_checkpoint_are_its_metadata(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(
        {
            "state_dict": small().state_dict(),
            "epoch": 3,
            "arch": "resnet18",
            "classes": ["a", "b"],
            "loss": float("nan"),
        },
        path,
    )
    assert read_contents(path).metadata == {"epoch": 3, "arch": "resnet18", "classes": ["a", "b"]}


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    save_file(small().state_dict(), path, metadata={"arch": "resnet18"})
    contents = read_contents(path)
    assert (contents.kind, contents.metadata) == (Kind.SAFETENSORS, {"arch": "resnet18"})
    assert shapes(contents) == SHAPES
    known = "float16", "bfloat16", "float64", "int64", "uint8", "bool"
    save_file({name: torch.zeros(1).to(getattr(torch, name)) for name in (*known, "float8_e4m3fn")}, path)
    found = {name: tensor.dtype for name, tensor in read_contents(path).groups[()].items()}
    assert found == {name: name for name in known} | {"float8_e4m3fn": "F8_E4M3"}


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"format": "robaudit-assimilated", "architecture": "resnet18"}, Kind.ASSIMILATED),
        ({"architecture": "resnet18", "num_classes": 3}, Kind.TIMM_FOLDER),
    ],
)
def test_a_folder_is_known_by_its_configuration(tmp_path: Path, config: dict[str, Any], kind: Kind) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(small().state_dict(), tmp_path / "model.safetensors")
    contents = read_contents(tmp_path)
    assert (contents.kind, contents.metadata, contents.path) == (kind, config, tmp_path)
    assert contents.weights == tmp_path / "model.safetensors"
    assert shapes(contents) == SHAPES
    (tmp_path / "config.json").write_text(json.dumps({**config, "classes": ["a"]}))
    assert read_contents(tmp_path).sha256 != contents.sha256


def test_what_a_folder_says_is_read_once_so_that_its_hash_is_of_these_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time might find another file."""
    save_file({"head.weight": torch.zeros(2, 3)}, tmp_path / "model.safetensors")
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit"}
    said = {"config.json": json.dumps(config), "preprocessor_config.json": '{"do_normalize": false}'}
    for name, text in said.items():
        (tmp_path / name).write_text(text)
    opened, opens = [], Path.open
    monkeypatch.setattr(Path, "open", lambda path, *how, **by: opened.append(path.name) or opens(path, *how, **by))
    contents = read_contents(tmp_path)
    assert [name for name in opened if name in said] == list(said)
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in said.values()]
    weights = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert contents.sha256 == hashlib.sha256("".join([*hashes, weights]).encode()).hexdigest()


def test_a_pickled_module_needs_code_and_still_tells_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(small(), path)
    contents = read_contents(path)
    assert contents.kind == Kind.PICKLED_MODULE
    assert "torch.nn.modules.conv.Conv2d" in contents.foreign_globals
    assert shapes(contents) == SHAPES


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3)))), path)
    contents = read_contents(path)
    assert contents.kind == Kind.TORCHSCRIPT
    assert shapes(contents) == {"conv.weight": (2, 1, 3, 3), "conv.bias": (2,)}


@pytest.mark.parametrize("entry", ["m/archive_format", "m/models/model.json", "serialized_exported_program.json"])
def test_an_exported_program(tmp_path: Path, entry: str) -> None:
    path = write_zip(tmp_path / "model.pt2", {entry: b"pt2", "m/data.pkl": b"N."})
    assert read_contents(path).kind == Kind.EXPORTED_PROGRAM


def test_onnx(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0\x3a\x00")
    assert read_contents(path).kind == Kind.ONNX


def test_what_counts_as_data_is_what_torch_counts_as_data() -> None:
    """We promise that scan loads such a file; `weights_only` is who decides."""
    from torch._weights_only_unpickler import _get_allowed_globals

    ours = {name.replace("__builtin__", "builtins") for name in DATA_GLOBALS}
    assert ours <= set(_get_allowed_globals())


# Malice


class Reduces:
    """Pickles as a call of `function`, as malicious files do."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.wish = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.wish

    def __call__(self) -> None:
        """Pickle accepts only callables as what is to be called."""


def payloads(canary: Path) -> dict[str, tuple[Any, str]]:
    system = Reduces(os.system, f"touch {canary}")
    return {
        "os.system": (system, f"{os.system.__module__}.system"),
        "eval": (Reduces(eval, f"open({str(canary)!r}, 'w')"), "builtins.eval"),
        "nested": ({"state_dict": {"conv.weight": [({"x": system},)]}}, f"{os.system.__module__}.system"),
        "as a callee": (Reduces(Reduces(getattr, canary, "touch")), "builtins.getattr"),
    }


@pytest.mark.parametrize("name", payloads(Path()))
@pytest.mark.parametrize("container", ["zip", "zip beside weights", "legacy", "bare"])
def test_a_malicious_pickle_is_told_and_never_run(tmp_path: Path, name: str, container: str) -> None:
    canary = tmp_path / "canary"
    payload, wanted = payloads(canary)[name]
    path = tmp_path / "model.pt"
    if container == "bare":
        path.write_bytes(pickle.dumps(payload))
    elif container == "zip beside weights":
        torch.save({"state_dict": small().state_dict(), "extra": payload}, path)
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=container == "zip")
    contents = read_contents(path)
    # Protocol 2, which torch writes, calls `builtins` by its old name.
    assert wanted in {name.replace("__builtin__", "builtins") for name in contents.foreign_globals}
    assert not canary.exists()


def test_the_payloads_would_have_run(tmp_path: Path) -> None:
    """Otherwise the test above proves nothing."""
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(payloads(canary)["os.system"][0]))
    assert canary.exists()


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        (b"cposix\nsystem\n(S'true'\ntR.", {"posix.system"}),
        (b"(S'true'\niposix\nsystem\n.", {"posix.system"}),
        (b"(cposix\nsystem\nS'true'\no.", {"posix.system"}),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", {"posix.system"}),
        (b"cposix\nsystem\n)\x81.", {"posix.system"}),
        (b"cposix\nsystem\n)}\x92.", {"posix.system"}),
        (b"\x80\x02\x82\x01.", {"copyreg extension 1"}),
        (b"cbuiltins\nobject\n)R}b.", {"builtins.object"}),
    ],
)
def test_every_way_to_import_is_noted(program: bytes, wanted: set[str]) -> None:
    assert read_pickle(io.BytesIO(program)).globals == wanted


def test_plain_data_reads_as_the_pickle_module_reads_it() -> None:
    value = {"a": [1, 2.5, -(2**70), None, True], "b": {"c": ("x", (), (1,), (1, 2), (1, 2, 3, 4))}, 3: "é" * 300}
    shared = [1]
    value["shared"] = [shared, shared]  # type: ignore[assignment]
    for protocol in range(6):
        assert read_pickle(io.BytesIO(pickle.dumps(value, protocol))).value == value


# Damage and absurd claims


def write_zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def checkpoint(shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Return the data.pkl of a state dict with one tensor of any shape in a storage of four bytes."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"\x8a\x09" + value.to_bytes(9, "little") for value in values) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + numbers(shape) + numbers(stride)
    return b"\x80\x02}X\x03\x00\x00\x00a.b" + tensor + b"\x89}tRs."


def test_the_hand_made_checkpoint_is_one(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.pt", {"m/data.pkl": checkpoint((1,), (1,)), "m/data/0": bytes(4)})
    assert shapes(read_contents(path)) == {"a.b": (1,)}


@pytest.mark.parametrize(
    ("shape", "stride"),
    [((2,), (1,)), ((10**10, 5), (5, 1)), ((2**40,), (0,)), ((1, 1), (1,)), ((2**63,), (0,)), ((1,) * 65, (1,) * 65)],
)
def test_a_shape_larger_than_its_storage_is_refused(
    tmp_path: Path, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    path = write_zip(tmp_path / "m.pt", {"m/data.pkl": checkpoint(shape, stride), "m/data/0": bytes(4)})
    with pytest.raises(ModelError, match="storage 0: a tensor"):
        read_contents(path)


def safetensors_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: list[Any], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


def test_the_hand_made_safetensors_file_is_one(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(safetensors_file({"b": entry([1], 4, 8), "a": entry([1], 0, 4), "s": entry([0], 8, 8)}, bytes(8)))
    assert shapes(read_contents(path)) == {"a": (1,), "b": (1,), "s": (0,)}


@pytest.mark.parametrize(
    "content",
    [
        safetensors_file({"a": entry([1], 0, 4)}, bytes(4), length=50_000_000_000),
        safetensors_file({"a": entry([50_000_000_000], 0, 200_000_000_000)}, bytes(4)),
        safetensors_file({"a": entry([50_000_000_000], 0, 4)}, bytes(4)),
        safetensors_file({"a": entry([1], 0, 4)}, bytes(3)),
        safetensors_file({"a": entry([1], 0, 4)}, bytes(5)),
        safetensors_file({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, bytes(4)),
        safetensors_file({"a": entry([-1], 0, 4)}, bytes(4)),
        safetensors_file({"a": entry([True], 0, 4)}, bytes(4)),
        safetensors_file({"a": entry([1.0], 0, 4)}, bytes(4)),
        safetensors_file({"a": 3}),
        safetensors_file({"a": {"dtype": "F32"}}),
        safetensors_file({"a": {"dtype": "a\nb", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_file(b"{not json"),
        safetensors_file(b'{"a":' + b"[" * 100_000),
    ],
)
def test_a_damaged_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="truncated or damaged") as caught:
        read_contents(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02",
        b"\x80\x02.",
        b"\x80\x02K",
        b"\x80\x02t.",
        b"\x80\x02h\x05.",
        b"\x80\x02R.",
        b"\x80\x02]]e.",
        b"\x80\x04\x8e\x00\x00\x00\x00\x00\x00\x00\x10abc.",  # claims 2**60 bytes
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # a number of 2 GB
        b"\x80\x02\xff.",
        b"\x80\x02(((s.",
    ],
)
def test_a_damaged_pickle_is_refused(tmp_path: Path, program: bytes) -> None:
    for path in (write_zip(tmp_path / "zip", {"m/data.pkl": program}), tmp_path / "bare"):
        if path.name == "bare":
            path.write_bytes(program)
        with pytest.raises(ModelError, match="truncated or damaged") as caught:
            read_contents(path)
        assert "\n" not in str(caught.value)


def test_a_memo_index_claims_no_memory() -> None:
    """`LONG_BINPUT 4294967295` makes CPython's own unpickler allocate 64 GB."""
    assert read_pickle(io.BytesIO(b"\x80\x02K\x01r\xff\xff\xff\xff.")).value == 1


def test_deep_and_endless_structures_are_survived(tmp_path: Path) -> None:
    deep = b"\x80\x02}" + b"X\x01\x00\x00\x00a}" * 50_000 + b"s" * 50_000 + b"."
    endless = b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."
    # Each level holds the one below twice: 2**30 paths, 31 dictionaries.
    levels = (
        b"}(X\x01\x00\x00\x00ah%bX\x01\x00\x00\x00bh%buq%b" % ((bytes([i]),) * 2 + (bytes([i + 1]),)) for i in range(30)
    )
    laughs = b"\x80\x02}q\x00" + b"".join(levels) + b"."
    tuples = b"\x80\x02}(" + b"K\x01" + b"\x85" * 200_000 + b"K\x02u."
    for number, program in enumerate((deep, endless, laughs, tuples)):
        contents = read_contents(write_zip(tmp_path / str(number), {"m/data.pkl": program}))
        with pytest.raises(ModelError, match="holds no state dict"):
            state_tensors(contents)


def test_numbers_that_no_network_has_are_named(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2, dtype=torch.float8_e4m3fn)}, tmp_path / "m")
    contents = read_contents(tmp_path / "m")
    with pytest.raises(ModelError, match=r"cannot be loaded \(numbers of type \w+\)"):
        read_weights(contents, state_tensors(contents))


def test_a_compressed_bomb_is_refused(tmp_path: Path) -> None:
    bomb = {"m/data.pkl": bytes(40 * 2**20)}
    path = write_zip(tmp_path / "bomb", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match=r"data\.pkl has more than"):
        read_contents(path)


def test_an_archive_with_two_entries_of_one_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", b"N.")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("m/data.pkl", b"N.")
    with pytest.raises(ModelError, match="two entries"):
        read_contents(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_file_is_refused_or_at_least_read(tmp_path: Path, part: float, legacy: bool) -> None:
    path = tmp_path / "model.pt"
    torch.save(small().state_dict(), path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    if legacy and part > 0.9:
        assert shapes(read_contents(path)) == SHAPES  # the pickle is whole; its numbers are torch's business
        return
    with pytest.raises(ModelError, match="truncated or damaged"):
        read_contents(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"hello world, I am text\n", "is a text file"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "is a PNG image"),
        (b"\x1f\x8b" + bytes(20), "gzip"),
        (b"\x00\x01\x02\x03" * 10, "is no model file"),
    ],
)
def test_what_is_no_model_is_told_in_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=expected) as caught:
        read_contents(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_with_an_undecodable_name_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "model.zip", {"n\xe4me": b"x"})
    path.write_bytes(path.read_bytes().replace("\xe4".encode(), b"\xff\xff"))
    with pytest.raises(ModelError, match="truncated or damaged"):
        read_contents(path)


SEEDS = {
    "checkpoint": lambda path: torch.save({"state_dict": small().state_dict(), "epoch": 3}, path),
    "legacy": lambda path: torch.save(small().state_dict(), path, _use_new_zipfile_serialization=False),
    "module": lambda path: torch.save(small(), path),
    "safetensors": lambda path: save_file(small().state_dict(), path),
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("intact")
    for name, save in SEEDS.items():
        save(folder / name)
    return {name: (folder / name).read_bytes() for name in SEEDS}


def test_a_text_with_an_odd_escape_is_a_text_like_others() -> None:
    assert read_entry(b"S'\\q'\n.").value == "\\q"


@settings(max_examples=200)
@given(
    name=st.sampled_from(sorted(SEEDS)),
    place=st.floats(0, 1, exclude_max=True),
    removed=st.integers(0, 40),
    inserted=st.binary(max_size=8),
)
def test_any_damage_ends_in_contents_or_one_line(
    intact: dict[str, bytes], name: str, place: float, removed: int, inserted: bytes
) -> None:
    content = intact[name]
    # Most of the file is numbers; the part that describes them is at its beginning, and in a zip at its end.
    start = int(place * min(len(content), 2500)) if name != "module" else int(place * len(content))
    with tempfile.TemporaryDirectory() as folder:
        path, message = Path(folder) / "model", ""
        path.write_bytes(content[:start] + inserted + content[start + removed :])
        try:
            state_tensors(read_contents(path))
        except ModelError as error:
            message = str(error)
        assert "\n" not in message


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "model.zip", {"../../etc/passwd": b"x", "b.txt": b"y"})
    with pytest.raises(ModelError, match="holds no model"):
        read_contents(path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path, expected in (
        (tmp_path / "nothing.pt", "cannot be read"),
        (tmp_path, "a folder without config.json"),
        (Path("/dev/null"), "no regular file"),
    ):
        with pytest.raises(ModelError, match=expected):
            read_contents(path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("[1]", "not a JSON object"),
        ("{", "not valid JSON"),
        ('{"a": NaN}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"model_type": "vit"}', "names no timm or Hugging Face architecture"),
        ('{"architecture": "resnet18"}', "no weights"),
        (" " * (2**20 + 1), "more than"),
    ],
)
def test_a_folder_that_cannot_be_used(tmp_path: Path, config: str, expected: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=expected):
        read_contents(tmp_path)


def test_several_groups_under_unknown_keys_are_not_guessed_between(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"generator": small().state_dict(), "discriminator": small().state_dict()}, path)
    with pytest.raises(ModelError, match="discriminator"):
        state_tensors(read_contents(path))


def test_reading_contents_loads_no_torch() -> None:
    code = "import sys, robaudit.load.contents, robaudit.load.description; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("save", [scripted, exported])
def test_inspect_works_where_torch_is_not_installed(tmp_path: Path, save: Callable[..., None]) -> None:
    save(nn.Conv2d(1, 2, 3).eval(), torch.rand(2, 1, 4, 4), tmp_path / "m")
    hidden = "import sys; sys.modules |= {'torch': None, 'timm': None}; from robaudit.cli.main import main; main()"
    command = [sys.executable, "-c", hidden, "inspect", tmp_path / "m", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "conv2d" in json.loads(done.stdout)["operators"]
