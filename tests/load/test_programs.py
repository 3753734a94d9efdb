"""Files that carry their own program: computed by robaudit itself where that is all they do, refused otherwise."""

import argparse
import ast
import copy
import gc
import hashlib
import json
import pickle
import re
import typing
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from containers import answers, exported, exported_for_one, frozen, onnx_by_trace, pickled, row, scripted, traced
from damage import rewrite
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.front.front import Front
from robaudit.load import bounded, own_code
from robaudit.load.classifier import Classifier
from robaudit.load.contents import read_contents
from robaudit.load.description import describe
from robaudit.load.in_memory import from_module
from robaudit.load.kinds import Kind
from robaudit.load.model import load_model
from robaudit.load.network import read_network
from robaudit.load.own_code import code_sha256
from robaudit.load.trusted import call_factory
from robaudit.retrofit.before_training import with_front
from robaudit.retrofit.model_folder import write_model

PICTURES = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


class Network(nn.Module):
    """Everything that one person or another does in a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.blocks = nn.ModuleList([nn.Conv2d(6, 6, 1) for _ in range(2)])
        self.fc = nn.Linear(12, 3)
        self.scale: float = 0.5
        self.register_buffer("offset", torch.tensor([0.1]))

    def pooled(self, x: Tensor, size: int = 1) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, [size, size])

    def logits(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.conv(x))) + self.offset
        parts: list[Tensor] = []
        for block in self.blocks:
            x = x * self.scale + torch.sigmoid(block(x))
            parts.append(self.pooled(x))
        joined = torch.cat(parts, dim=1).flatten(1)
        if joined.shape[1] != 12:
            raise ValueError(f"no {joined.shape[1]} features")
        return self.fc(joined)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)


class Halved(Network):
    """The same weights by the same names, and other answers."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.load_state_dict(network.state_dict())
        self.eval().scale = 0.25


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    made = Network().train()
    made(torch.rand(8, 1, 16, 16))
    return made.eval()


@pytest.mark.parametrize("save", [traced, scripted, exported, exported_for_one])
def test_programs_keep_gradients_modes_and_names(network: nn.Module, tmp_path: Path, save: Callable[..., None]) -> None:
    save(network, PICTURES, tmp_path / "m")
    loaded = load_model(tmp_path / "m", mean=[0.0], std=[1.0], input_size=(16, 16))
    picture = PICTURES.clone().requires_grad_()
    found = torch.autograd.grad(loaded.classifier(picture).square().sum(), picture)[0]
    other = PICTURES.clone().requires_grad_()
    wanted = torch.autograd.grad(network(other).square().sum(), other)[0]
    torch.testing.assert_close(found, wanted, **CLOSE)
    assert {name.removeprefix("backbone.").removeprefix("network.") for name in loaded.classifier.state_dict()} >= {
        name for name in network.state_dict() if not name.endswith("num_batches_tracked")
    }
    assert not any(module.training for module in loaded.classifier.modules())
    assert loaded.info.loading is not None
    assert not loaded.info.loading.runs_code


def test_a_program_can_be_copied_and_stays_as_it_was(network: nn.Module, tmp_path: Path) -> None:
    import copy

    scripted(network, PICTURES, tmp_path / "m")
    loaded = load_model(tmp_path / "m", mean=[0.0], std=[1.0], input_size=(16, 16))
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(loaded.classifier)(PICTURES), loaded.classifier(PICTURES))


def test_weights_of_a_program_serve_an_architecture_too(tmp_path: Path) -> None:
    import timm

    made = timm.create_model("test_resnet", num_classes=2).eval()
    pictures = torch.rand(2, 3, 32, 32)
    traced(made, pictures, tmp_path / "m")
    with torch.no_grad():
        assert torch.equal(answers(tmp_path / "m", pictures, arch="test_resnet"), made(pictures))


@pytest.mark.parametrize("save", [scripted, exported_for_one, onnx_by_trace])
def test_a_retrofitted_program_is_rebuilt_from_its_folder(
    network: nn.Module, tmp_path: Path, save: Callable[..., None]
) -> None:
    save(network, PICTURES, tmp_path / "m")
    vanilla = load_model(tmp_path / "m", input_size=(16, 16), classes=("a", "b", "c"))
    front = Front(1, 1)
    whole = Classifier(vanilla.classifier.backbone, vanilla.classifier.normalization, in_chans=1, front=front).eval()
    with torch.no_grad():  # as training would
        for weight in whole.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    (tmp_path / "retrofit").mkdir()
    write_model(tmp_path / "retrofit", whole, vanilla.info, 1, vanilla.recipe)
    (tmp_path / "m").unlink()
    loaded = load_model(tmp_path / "retrofit")
    with torch.no_grad():
        assert torch.equal(loaded.classifier(PICTURES), whole(PICTURES))
    assert loaded.info.classes == ("a", "b", "c")


def test_a_retrofitted_program_is_bound_to_its_folder_by_hash(network: nn.Module, tmp_path: Path) -> None:
    """Another program with the same weights, or none: the folder is no longer the model of its record."""
    for name, made in (("m", network), ("other", Halved(network))):
        traced(made, PICTURES, tmp_path / name)
    vanilla = load_model(tmp_path / "m", input_size=(16, 16))
    retrofit = tmp_path / "retrofit"
    retrofit.mkdir()
    write_model(retrofit, with_front(vanilla, 1, seed=0), vanilla.info, 1, vanilla.recipe)
    config, program = json.loads((retrofit / "config.json").read_text()), retrofit / "program" / "m"
    content = program.read_bytes()
    for changed in ((tmp_path / "other").read_bytes(), content[:-1], None):
        program.unlink()
        if changed is not None:
            program.write_bytes(changed)
        with pytest.raises(ModelError, match=r"its program/m is not the file that was retrofitted.*--restart"):
            load_model(retrofit)
    program.write_bytes(content)
    for hashes in (["m"], {"../config.json": ""}, {"..": ""}):
        (retrofit / "config.json").write_text(json.dumps(config | {"program_sha256": hashes}))
        with pytest.raises(ModelError, match="is not the file that was retrofitted"):
            load_model(retrofit)
    del config["program_sha256"]  # as earlier versions wrote it
    (retrofit / "config.json").write_text(json.dumps(config))
    assert load_model(retrofit).info.sha256


# Batches


class Fixed(Network):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x).reshape(2, 3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_positions", [False, True])
def test_a_frozen_program_has_its_kernels_among_its_constants(
    tmp_path: Path, channels: int, with_positions: bool
) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 256, 2))

    class WithPositions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.positions = nn.Parameter(torch.rand(1, 2, 1, 1))
            self.body = body

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) * self.positions.mean()

    made = WithPositions().eval() if with_positions else body.eval()
    pictures = PICTURES.expand(-1, channels, -1, -1)
    for save in (frozen, scripted):
        save(made, pictures, tmp_path / "m")
        with torch.no_grad():
            torch.testing.assert_close(answers(tmp_path / "m", pictures), made(pictures), **CLOSE)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("save", [traced, scripted, exported])
def test_a_program_of_another_precision_is_computed_in_float32(
    network: nn.Module, tmp_path: Path, precision: torch.dtype, save: Callable[..., None]
) -> None:
    held = copy.deepcopy(network).to(precision)
    save(held, PICTURES.to(precision), tmp_path / "m")
    with torch.no_grad():
        torch.testing.assert_close(answers(tmp_path / "m", PICTURES), held.float()(PICTURES), **CLOSE)


def test_a_program_for_one_size_of_batch_is_asked_in_such_batches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = Fixed().eval()
    torch.export.save(torch.export.export(made, (PICTURES[:2],)), tmp_path / "m.pt2")
    found = row(tmp_path / "m.pt2", PICTURES)
    with torch.no_grad():
        wanted = torch.cat([made(PICTURES[:2]), made(PICTURES[1:])[1:]])
    torch.testing.assert_close(found, wanted, **CLOSE)


class OfBatch(Network):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x) - x.mean()


def test_an_answer_that_depends_on_the_other_pictures_is_refused(tmp_path: Path) -> None:
    scripted(OfBatch().eval(), PICTURES, tmp_path / "m")
    with pytest.raises(ModelError, match=r"depends on the other images of the batch; save it in evaluation mode"):
        row(tmp_path / "m", PICTURES)


# Programs that do more than compute


class Draws(Network):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x) + 0 * torch.rand(1)


def test_what_is_not_computed_takes_trust_and_is_named(tmp_path: Path) -> None:
    made = Draws().eval()
    scripted(made, PICTURES, tmp_path / "m")
    contents = read_contents(tmp_path / "m")
    assert "torch.rand" in contents.not_pure
    with pytest.raises(ModelError, match=rf"torch\.rand.*--trust {contents.sha256}"):
        load_model(tmp_path / "m")
    with pytest.raises(ModelError, match=rf"has the hash {contents.sha256}, --trust names another"):
        load_model(tmp_path / "m", trust="0" * 64)
    with torch.no_grad():
        found = answers(tmp_path / "m", PICTURES, trust=contents.sha256)
        torch.testing.assert_close(found, made(PICTURES), **CLOSE)
    loaded = load_model(tmp_path / "m", trust=contents.sha256, input_size=(16, 16))
    assert loaded.info.loading is not None
    assert loaded.info.loading.runs_code


class ListAttribute(Network):
    """Its program is of pure operators, and its attribute is nothing that robaudit reads."""

    scales: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.scales = [torch.ones(3), torch.full((3,), 2.0)]

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x) * self.scales[1]


def test_what_cannot_be_built_is_inspected_as_that_and_a_pin_lets_it_run(tmp_path: Path) -> None:
    made = ListAttribute().eval()
    scripted(made, PICTURES, tmp_path / "m")
    contents = read_contents(tmp_path / "m")
    assert not contents.not_pure
    with pytest.raises(ModelError, match=f"does not compute itself.*--trust {contents.sha256}") as stopped:
        load_model(tmp_path / "m", input_size=(16, 16))
    assert describe(contents).obstacle == str(stopped.value).removeprefix(f"{tmp_path / 'm'}: ")
    with torch.no_grad():
        torch.testing.assert_close(answers(tmp_path / "m", PICTURES, trust=contents.sha256), made(PICTURES), **CLOSE)


class Items(Network):
    def forward(self, x: Tensor) -> Tensor:
        parts: dict[str, Tensor] = {"a": self.logits(x), "b": x.mean((2, 3))}
        total = torch.zeros_like(parts["a"])
        for _, part in dict(parts.items()).items():
            total = total + part
        return total


def test_a_program_may_walk_over_a_dictionary(tmp_path: Path) -> None:
    made = Items().eval()
    scripted(made, PICTURES, tmp_path / "m")
    with torch.no_grad():
        torch.testing.assert_close(answers(tmp_path / "m", PICTURES), made(PICTURES), **CLOSE)


class Depthwise(nn.Module):
    """Each convolution but the second has other channels than the picture has, and the head is made first."""

    def __init__(self, channels: int, as_grey: bool = False) -> None:
        super().__init__()
        self.head, self.as_grey = nn.Conv2d(8, 2, 1), as_grey
        self.each = nn.Conv2d(channels, channels, 3, groups=channels)
        self.body = nn.Conv2d(channels, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.as_grey:
            x = x.mean(1, keepdim=True)
        return self.head(self.body(self.each(x)).relu()).mean((2, 3))


class RowsOfGrey(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(-1, 256))


CHANNELS = {
    "of three": (Depthwise(3), {}, 3),
    "of one": (Depthwise(1), {}, 1),
    "of four": (nn.Sequential(nn.Conv2d(4, 2, 3), nn.Flatten()), {}, 4),
    "turns grey": (Depthwise(1, as_grey=True), {}, 3),
    "turns grey, and one is said": (Depthwise(1, as_grey=True), {"mean": (0.5,), "std": (0.5,)}, 1),
    "takes three channels for three pictures": (RowsOfGrey(256, 2), {}, 1),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_a_network_is_asked_how_many_channels_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made, options, channels = CHANNELS[name]
    torch.save(made.state_dict(), tmp_path / "m.pt")
    monkeypatch.setattr("robaudit.load.network.call_factory", lambda name: copy.deepcopy(made))
    loaded = load_model(tmp_path / "m.pt", factory="my:own", input_size=(16, 16), **options)
    assert loaded.info.input.channels == channels
    if channels < 4:
        traced(made.eval(), torch.rand(2, channels, 16, 16), tmp_path / "m")
        assert load_model(tmp_path / "m", input_size=(16, 16), **options).info.input.channels == channels
    if not options and channels < 4:
        assert from_module(made, classes="ab", size=(16, 16)).info.input.channels == channels


class WithLoss(nn.Module):
    """As a training class keeps both; what it computes with can have such a name too."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))
        self.register_buffer("class_weights", torch.tensor([2.0, 0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) * self.class_weights


def test_a_network_that_holds_its_own_loss_gets_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = WithLoss()
    made.class_weights += 1
    torch.save({"state_dict": made.state_dict()}, tmp_path / "m.pt")
    monkeypatch.setattr("robaudit.load.network.call_factory", lambda name: WithLoss())
    asked = {"factory": "my:own", "input_size": (16, 16), "normalization": "none"}
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "m.pt", **asked).classifier(PICTURES), made(PICTURES))


class Resized(Network):
    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=False)
        x = nn.functional.interpolate(x, size=[16, 16], mode="nearest-exact")
        flat = nn.functional.interpolate(x.flatten(2), size=256, mode="linear")
        return self.logits(flat.reshape_as(x))


def test_a_program_may_resize(tmp_path: Path) -> None:
    """Scripted, it names the operators of every mode and of every number of dimensions."""
    made = Resized().eval()
    scripted(made, PICTURES, tmp_path / "m")
    with torch.no_grad():
        torch.testing.assert_close(answers(tmp_path / "m", PICTURES), made(PICTURES), **CLOSE)


def test_numbers_beside_a_graph_are_part_of_what_the_model_is(
    tmp_path: Path, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx")
    file, beside = tmp_path / "m.onnx", tmp_path / "m.onnx.data"
    onnx_by_trace(network, PICTURES, file)
    alone = load_model(file, input_size=(16, 16)).info
    assert alone.sha256 == read_contents(file).sha256
    onnx.save_model(onnx.load(file), file, save_as_external_data=True, location=beside.name, size_threshold=0)
    parsed = []
    load = onnx.load
    monkeypatch.setattr(onnx, "load", lambda path, **how: parsed.append(path) or load(path, **how))
    assert "Conv" in describe(read_contents(file)).operators
    assert parsed == [file], "once"
    found = [load_model(file, input_size=(16, 16)).info.sha256]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (file, beside)]
    assert found == [hashlib.sha256("".join(hashes).encode()).hexdigest()]
    content = bytearray(beside.read_bytes())
    content[-1] ^= 1
    beside.write_bytes(content)
    found.append(load_model(file, input_size=(16, 16)).info.sha256)
    assert len({alone.sha256, *found}) == 3

    def before_hashing(*arguments: Any) -> Any:
        read = read_network(*arguments)
        beside.write_bytes(content + b"more")
        return read

    monkeypatch.setattr("robaudit.load.model.read_network", before_hashing)
    with pytest.raises(ModelError, match=r"m\.onnx\.data: changed while it was read"):
        load_model(file, input_size=(16, 16))


def test_the_users_own_code_is_part_of_what_the_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the factory, and of what it imports from elsewhere; the weights file keeps its own hash throughout."""
    (tmp_path / "with_layers.py").write_text("def half(x):\n    return x / 2\n")
    forward = "from with_layers import half\nclass Net(torch.nn.Linear):\n    def forward(self, x): return half(x)\n"
    (tmp_path / "with_networks.py").write_text(f"import torch\n{forward}")
    (tmp_path / "with_factory.py").write_text("import with_networks\ndef make(): return with_networks.Net(4, 2)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = call_factory("with_factory:make")
    found = [code_sha256(made, "with_factory:make"), code_sha256(made, None)]
    assert code_sha256(nn.Sequential(made), None) == found[1], "also where it lies inside a library's"
    for name in ("factory", "networks", "layers"):
        with (tmp_path / f"with_{name}.py").open("a") as file:
            file.write("# edited\n")
        found.append(code_sha256(made, "with_factory:make"))
    assert None not in found
    assert len(set(found)) == 5
    assert code_sha256(nn.Linear(4, 2), None) is None, "an installed library's alone"


def test_own_code_is_followed_by_its_import_statements_whatever_they_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and instances tell nothing of where they are from, and some values do as they please when asked."""
    (own := tmp_path / "of_own").mkdir()
    sources = {
        "__init__": "from . import with_steps\n",
        "with_steps": "STEPS = 2\n",
        "with_numbers": "SLOPE = 0.1\n",
        "with_instances": "from torch import nn\nnorm = nn.Identity()\n",
        "with_lazy": "class Lazy:\n    __class__ = property(lambda self: 1 / 0)\nsettings = Lazy()\n",
        "unused": "",
        "factory": (
            "import torch, of_own, of_own.with_lazy as lazy\n"
            "from of_own.with_lazy import settings\n"
            "def make():\n"
            "    from .with_instances import norm\n"
            "    from .with_numbers import SLOPE\n"
            "    return torch.nn.Sequential(norm, torch.nn.LeakyReLU(SLOPE))\n"
        ),
    }
    for name, source in sources.items():
        (own / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("of_own.unused")
    made = call_factory("of_own.factory:make")
    before = code_sha256(made, "of_own.factory:make")
    changed = set()
    for name, source in sources.items():
        (own / f"{name}.py").write_text(f"{source}# edited\n")
        if code_sha256(made, "of_own.factory:make") != before:
            changed.add(name)
        (own / f"{name}.py").write_text(source)
    assert changed == {*sources} - {"unused"}


def test_imports_are_found_wherever_a_statement_may_stand() -> None:
    """As a walk through every node of the file finds them, which takes ten times as long."""
    odd = """
async def f():
    async with a: import in_async_with
    async for b in c: import in_async_for
    else: from . import in_async_else
match d:
    case [e] if e: import in_case
try: import in_try
except* OSError: import in_handler
else: import in_else
finally: import in_finally
class G:
    while True:
        if h: pass
        elif i: from .. import in_elif
        with j: import in_with
    def k(self): import in_method
"""
    installed = [Path(module.__file__ or "") for module in (argparse, typing, warnings)]
    for content in (odd.encode(), *(file.read_bytes() for file in installed)):
        walked = [node for node in ast.walk(ast.parse(content)) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert walked
        assert sorted(map(ast.dump, own_code._imports(content))) == sorted(map(ast.dump, walked))
    assert gc.isenabled()


@pytest.mark.parametrize("place", ["alone_in_target.py", "whole_in_target/__init__.py", "part_in_target/networks.py"])
def test_what_pip_installed_into_a_folder_of_any_name_is_a_librarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (file := tmp_path / "libs" / place).parent.mkdir(parents=True)
    (tmp_path / "libs" / "any-1.0.dist-info").mkdir()
    file.write_text("import torch\nclass Net(torch.nn.Linear): pass\ndef make(): return Net(4, 2)\n")
    monkeypatch.syspath_prepend(str(tmp_path / "libs"))
    factory = f"{place.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}:make"
    made = call_factory(factory)
    assert code_sha256(made, None) is None
    assert code_sha256(made, factory) is not None, "but for the factory's own package"


def test_a_record_tells_whether_the_users_own_code_was_edited(tmp_path: Path, network: nn.Module) -> None:
    pickled(network, PICTURES, tmp_path / "m.pt")
    contents = read_contents(tmp_path / "m.pt")
    info = load_model(tmp_path / "m.pt", trust=contents.sha256, input_size=(16, 16)).info
    assert (info.sha256, info.code_sha256) == (contents.sha256, code_sha256(network, None))
    assert from_module(network, classes="abc", size=(16, 16)).info.code_sha256 == info.code_sha256


def test_a_large_bare_pickle_is_read_to_its_end(tmp_path: Path) -> None:
    """Whoever saves with `pickle` has the weights among its instructions."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2)).eval()
    network[1].register_buffer("unused", torch.zeros(10 * 2**20))  # 40 MiB
    (tmp_path / "m").write_bytes(pickle.dumps(network))
    sha256 = read_contents(tmp_path / "m").sha256
    with pytest.raises(ModelError, match=f"--trust {sha256}"):
        load_model(tmp_path / "m", input_size=(16, 16))
    pictures = torch.rand(2, 3, 16, 16)
    found = load_model(tmp_path / "m", trust=sha256, input_size=(16, 16), classes=("a", "b"), normalization="none")
    with torch.no_grad():
        torch.testing.assert_close(found.classifier(pictures), network(pictures))


def test_a_pin_is_checked_even_where_none_is_needed(network: nn.Module, tmp_path: Path) -> None:
    scripted(network, PICTURES, tmp_path / "m")
    with pytest.raises(ModelError, match="--trust names another"):
        load_model(tmp_path / "m", trust="1" * 64)


def test_a_pickled_module_takes_trust_or_an_architecture(tmp_path: Path) -> None:
    import timm

    made = timm.create_model("test_resnet", num_classes=2).eval()
    pictures = torch.rand(2, 3, 32, 32)
    pickled(made, pictures, tmp_path / "m")
    sha256 = read_contents(tmp_path / "m").sha256
    with pytest.raises(ModelError, match=rf"runs code.*timm\..*pass --arch test_resnet.*--trust {sha256}"):
        load_model(tmp_path / "m")
    with torch.no_grad():
        for pasted in (f"SHA256:{sha256}", f" {sha256} "):
            assert torch.equal(answers(tmp_path / "m", pictures, trust=pasted), made(pictures))
        assert torch.equal(answers(tmp_path / "m", pictures, arch="test_resnet"), made(pictures))


def test_a_network_pickled_whole_into_a_checkpoint(tmp_path: Path) -> None:
    """As some trainers write it: {"model": the module itself, "epoch": 3}."""
    import timm

    made, pictures = timm.create_model("test_resnet", num_classes=2).eval(), torch.rand(2, 3, 32, 32)
    beside = {"epoch": 3, "best_acc": torch.tensor(0.9), "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    torch.save({"model": made, **beside}, tmp_path / "m")
    sha256 = read_contents(tmp_path / "m").sha256
    with pytest.raises(ModelError, match=rf"runs code.*timm\..*pass --arch test_resnet.*--trust {sha256}"):
        load_model(tmp_path / "m")
    with torch.no_grad():
        assert torch.equal(answers(tmp_path / "m", pictures, trust=sha256), made(pictures))
        assert torch.equal(answers(tmp_path / "m", pictures, arch="test_resnet"), made(pictures))
    torch.save({"model": made, "ema": made}, tmp_path / "two")
    with pytest.raises(ModelError, match="holds networks model, ema; save the one meant on its own"):
        load_model(tmp_path / "two", trust=read_contents(tmp_path / "two").sha256)


def test_trusted_code_must_be_there(tmp_path: Path) -> None:
    pickled(nn.Sequential(nn.Conv2d(1, 2, 3)), PICTURES, tmp_path / "m")
    rewrite(tmp_path / "m", lambda name, content: content.replace(b"Sequential", b"Sequentiel"))
    sha256 = read_contents_or_hash(tmp_path / "m")
    with pytest.raises(ModelError, match=r"its code cannot be imported|cannot be loaded"):
        load_model(tmp_path / "m", trust=sha256)


def read_contents_or_hash(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


# Absurd programs: the code of a harmless one, rewritten


class Flat(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(x, 1)


def script_of(path: Path, body: str) -> None:
    """A TorchScript file whose network begins with these statements."""
    scripted(Flat(), PICTURES, path)
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    rewrite(path, lambda name, content: content.replace(b"    return", lines.encode() + b"    return", 1))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("for i in range(9223372036854775807):\n  pass", "a loop of 9223372036854775807 rounds"),
        ("l = torch.mul([0], 1000000000000)", "something too large"),
        ('s = torch.mul("a", 1000000000000)', "something too large"),
        ('s = torch.remainder("%01000000000d", 5)', "something too large"),
        ("l = [0]\nfor i in range(60):\n  torch.extend(l, l)", "something too large"),
        (
            "l = [0]\nfor i in range(19):\n  torch.extend(l, l)\nfor i in range(9):\n  m = torch.copy(l)",
            "more than 2000000 steps",
        ),
        ("l = [0]\nfor i in range(60):\n  l = [l, l]\ns = str(l)", "the text of a list of lists"),
        (
            "l, m = [0], [0]\nfor i in range(60):\n  l = [l, l]\n  m = [m, m]\nb = torch.eq(l, m)",
            "eq of a list of lists",
        ),
        ("t = (0, )\nfor i in range(60):\n  t = (t, t)\nd = {t: 0}", "a key that is a tuple"),
        ("t = (0, )\nfor i in range(60):\n  t = (t, t)\nops.prim.RaiseException(t, )", "the text of a list of lists"),
        ("z = torch.zeros([1000000, 1000000])", r"a tensor of shape \[1000000, 1000000\]"),
        ("z = torch.repeat(x, [1000000, 1000, 1, 1])", "a tensor of shape"),
        ("z = torch.nn_missing(x)", r"torch\.nn_missing"),
        ("z = x.grad", "is not computed"),
        ("z = __torch__.missing.function(x, )", "is no function of the program"),
    ],
)
def test_absurd_scripts_end_at_once(tmp_path: Path, body: str, expected: str) -> None:
    script_of(tmp_path / "m", body)
    with pytest.raises(ModelError, match=expected):
        load_model(tmp_path / "m", input_size=(16, 16))


def test_a_script_nested_too_deeply_for_the_parser_is_told(tmp_path: Path) -> None:
    """Some versions of Python say no word about it."""
    script_of(tmp_path / "m", "a = " + "-" * 20_000 + "1")
    [said] = read_contents(tmp_path / "m").not_pure
    assert re.fullmatch(r"__torch__\S*: .+", said)


def test_loops_in_loops_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robaudit.load.scripted.MAX_STEPS", 20_000)  # of the real limit, lists tell above, in no time
    script_of(tmp_path / "m", "for i in range(20000):\n  for j in range(20000):\n    pass")
    with pytest.raises(ModelError, match="more than 20000 steps"):
        load_model(tmp_path / "m", input_size=(16, 16))


def test_a_program_that_multiplies_sizes_is_exported_again(tmp_path: Path) -> None:
    """Then its sizes are symbols."""

    class Sized(Network):
        def forward(self, x: Tensor) -> Tensor:
            return self.logits(x.reshape(x.shape[0], x.shape[1] * x.shape[2], -1).reshape(x.shape))

    made = Sized().eval()
    exported(made, PICTURES, tmp_path / "m")
    loaded = load_model(tmp_path / "m", input_size=(16, 16), classes=("a", "b", "c"), normalization="none")
    batch = torch.export.Dim("batch", min=1, max=64)
    again = torch.export.export(loaded.classifier, (PICTURES,), dynamic_shapes=({0: batch},)).module()
    with torch.no_grad():
        torch.testing.assert_close(again(PICTURES[:1]), made(PICTURES[:1]), **CLOSE)


def insert_node(path: Path, target: str, inputs: list[dict[str, Any]]) -> None:
    """Have an exported program begin with one more step, which answers a number."""
    node = {
        "target": target, "inputs": inputs, "outputs": [{"as_sym_int": {"as_name": "absurd"}}],
        "metadata": {}, "is_hop_single_tensor_return": None,
    }  # fmt: skip

    def insert(file: str, content: bytes) -> bytes:
        if not file.endswith("models/model.json"):
            return content
        document = json.loads(content)
        document["graph_module"]["graph"]["nodes"].insert(0, node)
        return json.dumps(document).encode()

    rewrite(path, insert)


@pytest.mark.parametrize(("name", "values"), [("pow", (7, 10**9)), ("mul", (2**62, 2**62)), ("pow", (2**62, 60))])
def test_absurd_numbers_of_an_exported_program_end_at_once(
    network: nn.Module, tmp_path: Path, name: str, values: tuple[int, int]
) -> None:
    exported(network, PICTURES, tmp_path / "m")
    inputs = [{"name": key, "arg": {"as_int": value}, "kind": 1} for key, value in zip("ab", values, strict=True)]
    insert_node(tmp_path / "m", f"_operator.{name}", inputs)
    with pytest.raises(ModelError, match=rf"is not computed \(torch\.{name}"):
        load_model(tmp_path / "m", input_size=(16, 16))


def test_an_operator_of_texts_is_not_called(network: nn.Module, tmp_path: Path) -> None:
    exported(network, PICTURES, tmp_path / "m")
    inputs = [{"name": name, "arg": {"as_string": "x" * 1000}, "kind": 1} for name in ("self", "other")]
    insert_node(tmp_path / "m", "torch.ops.aten.add.str", inputs)
    with pytest.raises(ModelError, match=r"aten\.add\.str, which is about no tensor"):
        load_model(tmp_path / "m", input_size=(16, 16))


def test_too_much_arithmetic_ends_at_once(network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported(network, PICTURES, tmp_path / "m")
    monkeypatch.setattr(bounded, "MAX_FLOPS", 1000.0)
    with pytest.raises(ModelError, match="operations on numbers"):
        load_model(tmp_path / "m", input_size=(16, 16))


def test_an_exported_program_that_asks_for_terabytes_ends_at_once(network: nn.Module, tmp_path: Path) -> None:
    class Big(Network):
        def forward(self, x: Tensor) -> Tensor:
            return self.logits(x) + x.new_zeros(4, 3).sum()

    exported_for_one(Big().eval(), PICTURES, tmp_path / "m")

    def enlarge(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        return content.replace(b'"as_ints": [4, 3]', b'"as_ints": [4000000, 3000000]')

    rewrite(tmp_path / "m", enlarge)
    with pytest.raises(ModelError, match=r"a tensor of shape \[4000000, 3000000\]"):
        load_model(tmp_path / "m", input_size=(16, 16))


def test_the_exported_format_before_torch_2_8(network: nn.Module, tmp_path: Path) -> None:
    """The same program and weights, as older versions laid them out."""
    exported(network, PICTURES, tmp_path / "new")
    with zipfile.ZipFile(tmp_path / "new") as archive:
        program = next(archive.read(name) for name in archive.namelist() if name.endswith("models/model.json"))
    torch.save(dict(network.state_dict()), tmp_path / "weights.pt")
    torch.save({}, tmp_path / "constants.pt")
    with zipfile.ZipFile(tmp_path / "m", "w") as archive:
        archive.writestr("version", "8.5")
        archive.writestr("serialized_exported_program.json", program)
        archive.write(tmp_path / "weights.pt", "serialized_state_dict.pt")
        archive.write(tmp_path / "constants.pt", "serialized_constants.pt")
    assert read_contents(tmp_path / "m").kind == Kind.EXPORTED_PROGRAM
    with torch.no_grad():
        torch.testing.assert_close(answers(tmp_path / "m", PICTURES), network(PICTURES), **CLOSE)


@pytest.mark.parametrize(
    ("save", "entry"),
    [(exported, "m/models/model.json"), (exported, "m/data/weights/weight_0"), (scripted, "m/data/0")],
)
def test_a_damaged_program_is_fetched_again_and_not_trusted(
    network: nn.Module, tmp_path: Path, save: Callable[..., None], entry: str
) -> None:
    save(network, PICTURES, tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m") as archive:
        content = archive.read(entry)
    whole = (tmp_path / "m").read_bytes()
    assert whole.count(content) == 1
    (tmp_path / "m").write_bytes(whole.replace(content, content[:-1] + bytes([content[-1] ^ 1])))
    with pytest.raises(ModelError, match=r"truncated or damaged.*fetch or save it again") as stopped:
        load_model(tmp_path / "m", input_size=(16, 16))
    assert "--trust" not in str(stopped.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda d: d["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.mine.op.default"),
            r"torch\.ops\.mine",
        ),
        (lambda d: d["graph_module"]["graph"]["nodes"][0].update(target="os.system"), r"os\.system"),
        (lambda d: d["graph_module"].pop("signature"), "signature"),
        (lambda d: d["graph_module"]["graph"]["nodes"][1].pop("inputs"), "inputs"),
        (lambda d: d.update(graph_module=[]), "TypeError"),
    ],
)
def test_an_exported_program_of_another_form_is_refused(
    network: nn.Module, tmp_path: Path, change: Callable[[Any], Any], expected: str
) -> None:
    exported(network, PICTURES, tmp_path / "m")

    def edit(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    rewrite(tmp_path / "m", edit)
    with pytest.raises(ModelError, match=rf"{expected}.*--trust"):
        load_model(tmp_path / "m", input_size=(16, 16))
