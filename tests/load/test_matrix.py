"""Every container, head and backbone gives the logits of the network it was saved from."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import containers
import pytest
import timm
import torch
from containers import PROGRAMS, WEIGHTS, answers, row
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.load.model import load_model

BACKBONES = {"test_resnet": 32, "test_efficientnet": 32, "test_convnext": 32, "test_vit": 160}
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@cache
def network(arch: str, n_classes: int = 3, in_chans: int = 3) -> nn.Module:
    """An untrained network whose batch norm has statistics of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(n_classes + 10 * in_chans)
        made = timm.create_model(arch, num_classes=n_classes, in_chans=in_chans).train()
        made(torch.rand(4, in_chans, BACKBONES[arch], BACKBONES[arch]))
    return made.eval()


def pictures(side: int, in_chans: int = 3) -> Tensor:
    return torch.rand(3, in_chans, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("arch", BACKBONES)
@pytest.mark.parametrize("container", WEIGHTS)
@pytest.mark.parametrize("n_outputs", [3, 1])
def test_weights_of_a_backbone(tmp_path: Path, container: str, arch: str, n_outputs: int) -> None:
    made, seen = network(arch, n_outputs), pictures(BACKBONES[arch])
    path = tmp_path / "model.of.any.suffix"
    WEIGHTS[container](made, seen, path)
    with torch.no_grad():
        assert torch.equal(row(path, seen), made(seen))
        if n_outputs > 1:
            assert torch.equal(answers(path, seen), made(seen))


def lightning_with(beside: dict[str, Tensor]) -> Callable[[nn.Module, Path], None]:
    """What a Lightning module saves that keeps more than its network."""

    def save(made: nn.Module, path: Path) -> None:
        weights = {f"model.{name}": tensor for name, tensor in made.state_dict().items()}
        torch.save({"state_dict": weights | beside, "pytorch-lightning_version": "2.5.0"}, path)

    return save


OTHER = {f"{name}": torch.zeros_like(tensor) for name, tensor in network("test_resnet").state_dict().items()}


@pytest.mark.parametrize(
    "beside",
    [
        {"class_weights": torch.ones(3), "val_auroc.preds": torch.zeros(4)},
        {f"ema_model.{name}": tensor for name, tensor in OTHER.items()},
        {f"model_ema.module.{name}": tensor for name, tensor in OTHER.items()}
        | {"model_ema.n_averaged": torch.ones(1)},
    ],
    ids=["class weights and metrics", "an average", "an AveragedModel"],
)
@pytest.mark.parametrize("as_safetensors", [False, True])
def test_a_network_beside_what_its_training_kept(
    tmp_path: Path, beside: dict[str, Tensor], as_safetensors: bool
) -> None:
    made, seen, path = network("test_resnet"), pictures(32), tmp_path / "m"
    lightning_with(beside)(made, path)
    if as_safetensors:
        containers.save_file(torch.load(path, weights_only=True)["state_dict"], path)
    with torch.no_grad():
        assert torch.equal(answers(path, seen), made(seen))
        if len(beside) > 2:
            place = "" if as_safetensors else "state_dict."
            average = next(iter(beside)).partition(".")[0]
            assert (answers(path, seen, weights=place + average) == 0).all()


def test_two_networks_side_by_side_are_not_chosen_between(tmp_path: Path) -> None:
    made, seen, path = network("test_resnet"), pictures(32), tmp_path / "m"
    lightning_with({f"teacher.{name}": tensor for name, tensor in OTHER.items()})(made, path)
    with pytest.raises(ModelError, match=r"holds more than one network.*; pass --weights state_dict.model to take"):
        answers(path, seen)
    with torch.no_grad():
        assert torch.equal(answers(path, seen, weights="state_dict.model"), made(seen))
        assert (answers(path, seen, weights="state_dict.teacher") == 0).all()
    assert load_model(path, weights="state_dict.teacher").info.loading.weights == "state_dict.teacher"


@pytest.mark.parametrize("in_chans", [1, 4])
@pytest.mark.parametrize("arch", BACKBONES)
def test_other_channels_than_three(tmp_path: Path, arch: str, in_chans: int) -> None:
    made, seen = network(arch, 3, in_chans), pictures(BACKBONES[arch], in_chans)
    torch.save(made.state_dict(), tmp_path / "m.pt")
    with torch.no_grad():
        assert torch.equal(answers(tmp_path / "m.pt", seen), made(seen))


@pytest.mark.parametrize(
    ("program", "arch"),
    [(program, "test_resnet") for program in PROGRAMS]
    + [("traced", "test_vit"), ("exported_for_one", "test_vit"), ("onnx_by_trace", "test_vit")]
    + [("scripted", "test_convnext")]
    + [("exported", "test_efficientnet"), ("onnx_by_export", "test_efficientnet")],
)  # fmt: skip
def test_program_of_a_backbone(tmp_path: Path, program: str, arch: str) -> None:
    made, seen = network(arch), pictures(BACKBONES[arch])
    PROGRAMS[program](made, seen, tmp_path / "m")
    with torch.no_grad():
        torch.testing.assert_close(answers(tmp_path / "m", seen), made(seen), **CLOSE)


# Heads


class Answer(NamedTuple):
    logits: Tensor
    features: Tensor


class Small(nn.Module):
    """A few layers with any head on top."""

    def __init__(self, n_outputs: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4, n_outputs)

    def logits(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu(self.conv(x)).mean((2, 3))
        return self.fc(features), features


class Plain(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)[0]


class Softmax(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)[0].softmax(1)


class LogSoftmax(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)[0].log_softmax(1)


class Squeezed(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)[0].flatten()


class InTuple(Small):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits(x)


class InDict(Small):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        out, features = self.logits(x)
        return {"features": features, "logits": out}


class InNamedTuple(Small):
    def forward(self, x: Tensor) -> Answer:
        out, features = self.logits(x)
        return Answer(out, features)


HEADS: dict[str, tuple[Callable[[], Small], dict[str, Any]]] = {
    "logits": (Plain, {}),
    "softmax": (Softmax, {}),
    "log-softmax": (LogSoftmax, {}),
    "one output": (lambda: Plain(1), {}),
    "one output, squeezed": (lambda: Squeezed(1), {}),
    "tuple": (InTuple, {"output": "0"}),
    "dictionary": (InDict, {}),
    "named tuple": (InNamedTuple, {}),
    "one finding of three": (Plain, {"label_index": 2}),
}


@cache
def small(head: str) -> Small:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return HEADS[head][0]().eval()


def expected(head: str, seen: Tensor) -> Tensor:
    """The head's answer by hand."""
    made = small(head)
    with torch.no_grad():
        out = made.logits(seen)[0]
    if head == "one finding of three":
        return out[:, 2:]
    return out.softmax(1) if head == "softmax" else out.log_softmax(1) if head == "log-softmax" else out


@pytest.mark.parametrize("head", [head for head in HEADS if head != "named tuple"])
@pytest.mark.parametrize("program", ["traced", "scripted", "exported", "onnx_by_trace"])
def test_program_with_a_head(tmp_path: Path, program: str, head: str) -> None:
    """A named tuple is left to code of the user's own: torch saves none of these with its names."""
    seen, path = pictures(16, 1), tmp_path / "m"
    PROGRAMS[program](small(head), seen, path)
    options = dict(HEADS[head][1])
    if program == "onnx_by_trace" and head in ("tuple", "dictionary"):
        options["output"] = _onnx_name(path, 1 if head == "dictionary" else 0)
    torch.testing.assert_close(row(path, seen, **options), expected(head, seen), **CLOSE)


def _onnx_name(path: Path, index: int) -> str:
    """Torch's exporter names outputs after nodes; they keep their order."""
    import onnx

    return str(onnx.load(path).graph.output[index].name)


MADE_HERE = "test_matrix"


def in_dict() -> nn.Module:
    return InDict()


def in_tuple() -> nn.Module:
    return InTuple()


def in_named_tuple() -> nn.Module:
    return InNamedTuple()


@pytest.mark.parametrize(
    ("head", "factory", "options"),
    [
        ("dictionary", "in_dict", {}),
        ("tuple", "in_tuple", {"output": "0"}),
        ("named tuple", "in_named_tuple", {}),
        ("dictionary", "in_dict", {"label_index": 1}),
    ],
)
def test_a_head_of_the_users_own_code(tmp_path: Path, head: str, factory: str, options: dict[str, Any]) -> None:
    seen = pictures(16, 1)
    containers.data_parallel(small(head), seen, tmp_path / "m.pt")
    found = row(tmp_path / "m.pt", seen, factory=f"{MADE_HERE}:{factory}", **options)
    wanted = expected(head, seen)
    assert torch.equal(found, wanted[:, 1:2] if "label_index" in options else wanted)
