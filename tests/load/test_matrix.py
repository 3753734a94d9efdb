"""Every container, head and backbone gives the logits of the network it was saved from."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import containers
import pytest
import torch
from backbones import FAMILIES, backbone, pictures
from containers import PROGRAMS, WEIGHTS, Save, answers, bundle, pickled, row, write_timm_folder
from heads import PROGRAM_HEADS, WEIGHT_HEADS, Head, Headed, InDict, InTuple
from safetensors.torch import save_file
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.files import sha256_of
from robaudit.load.architecture import layers_of
from robaudit.load.model import load_model

CLOSE = {"rtol": 1e-4, "atol": 1e-5}

SAVES: dict[str, Save] = {**WEIGHTS, "MONAI bundle": bundle, "pickled": pickled, **PROGRAMS}
"""From the quickest to save: what pairs are left over go to the first that holds them."""
TIMM_FOLDER = "timm folder"
CONTAINERS = (*SAVES, TIMM_FOLDER)


class Cell(NamedTuple):
    """One network of the product."""

    container: str
    head: str
    family: str

    def __str__(self) -> str:
        return "-".join(self)


def heads_of(container: str) -> dict[str, Head]:
    """Those that a container can hold: weights alone say nothing of what is done to them."""
    return PROGRAM_HEADS if container in PROGRAMS or container == "pickled" else WEIGHT_HEADS


PRODUCT = [
    Cell(container, head, family)
    for container in CONTAINERS
    for head in heads_of(container)
    for family in FAMILIES
    if container != TIMM_FOLDER or "torchvision" not in family
]


def pairs(cell: Cell) -> set[tuple[str, str]]:
    return set(combinations(cell, 2))


def pairwise(cells: Sequence[Cell]) -> list[Cell]:
    """A few of these that hold every pair of container, head and family that any of them holds: greedily chosen."""
    missing, chosen = set[tuple[str, str]]().union(*map(pairs, cells)), []
    for gain in (3, 2, 1):
        for cell in cells:
            if len(pairs(cell) & missing) >= gain:
                chosen.append(cell)
                missing -= pairs(cell)
    return chosen


SLOW_TO_SAVE = {"exported", "exported_for_one", "onnx_by_export"}
"""About a second or more each: in the fast suite on one family alone."""
FEW = pairwise([cell for cell in PRODUCT if cell.container not in SLOW_TO_SAVE or cell.family == "vgg"])


def check(cell: Cell, folder: Path) -> None:
    """Save a network, load it, and compare the logits that are attacked with its own."""
    container, head, family = cell.container, PROGRAM_HEADS[cell.head], FAMILIES[cell.family]
    made = backbone(family.small, head.n_outputs, family.side if family.fixed else None)
    seen, path = pictures(family.side), folder / "model.of.any.suffix"
    options = dict(head.options)
    if container == TIMM_FOLDER:
        write_timm_folder(made, path, family.small)
    else:
        SAVES[container](head.put_on(made).eval(), seen, path)
    if container == "pickled":
        options["trust"] = sha256_of(path)
    elif container not in PROGRAMS:
        options["arch"] = family.small
    elif container.startswith("onnx") and head.output is not None:
        options["output"] = _onnx_name(path, head.output)
    with torch.no_grad():
        expected = head.expected(made(seen))
    exact = heads_of(container) is WEIGHT_HEADS
    torch.testing.assert_close(
        attacked(path, seen, **options), expected, **({"rtol": 0, "atol": 0} if exact else CLOSE)
    )


def attacked(path: Path, seen: Tensor, **options: Any) -> Tensor:
    """The logits that an audit attacks, of a classifier whose normalisation is switched off."""
    loaded = load_model(path, mean=[0.0] * 3, std=[1.0] * 3, input_size=tuple(seen.shape[-2:]), **options)
    with torch.no_grad():
        return loaded.with_outputs_seen_on(seen).classifier(seen)


@pytest.mark.parametrize("cell", FEW, ids=str)
def test_every_pair_of_container_head_and_family(tmp_path: Path, cell: Cell) -> None:
    check(cell, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("cell", sorted(set(PRODUCT) - set(FEW)), ids=str)
def test_every_container_head_and_family(tmp_path: Path, cell: Cell) -> None:
    check(cell, tmp_path)


def test_the_few_hold_every_pair() -> None:
    """They are chosen by hand-written code; that nothing is left out is counted here."""
    held = {pair for cell in FEW for pair in combinations(cell, 2)}
    assert {(cell.container, cell.family) for cell in PRODUCT if cell.container not in SLOW_TO_SAVE} <= held
    assert {(cell.container, cell.head) for cell in PRODUCT} <= held
    assert {(cell.head, cell.family) for cell in PRODUCT} <= held
    assert len(FEW) < len(PRODUCT) / 3


def lightning_with(beside: dict[str, Tensor]) -> Callable[[nn.Module, Path], None]:
    """What a Lightning module saves that keeps more than its network."""

    def save(made: nn.Module, path: Path) -> None:
        weights = {f"model.{name}": tensor for name, tensor in made.state_dict().items()}
        torch.save({"state_dict": weights | beside, "pytorch-lightning_version": "2.5.0"}, path)

    return save


OTHER = {f"{name}": torch.zeros_like(tensor) for name, tensor in backbone("test_resnet", 3).state_dict().items()}


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
    made, seen, path = backbone("test_resnet", 3), pictures(32), tmp_path / "m"
    lightning_with(beside)(made, path)
    if as_safetensors:
        save_file(torch.load(path, weights_only=True)["state_dict"], path)
    with torch.no_grad():
        assert torch.equal(answers(path, seen), made(seen))
        if len(beside) > 2:
            place = "" if as_safetensors else "state_dict."
            average = next(iter(beside)).partition(".")[0]
            assert (answers(path, seen, weights=place + average) == 0).all()


def test_two_networks_side_by_side_are_not_chosen_between(tmp_path: Path) -> None:
    made, seen, path = backbone("test_resnet", 3), pictures(32), tmp_path / "m"
    lightning_with({f"teacher.{name}": tensor for name, tensor in OTHER.items()})(made, path)
    with pytest.raises(ModelError, match=r"holds more than one network.*; pass --weights state_dict.model to take"):
        answers(path, seen)
    with torch.no_grad():
        assert torch.equal(answers(path, seen, weights="state_dict.model"), made(seen))
        assert (answers(path, seen, weights="state_dict.teacher") == 0).all()
    assert load_model(path, weights="state_dict.teacher").info.loading.weights == "state_dict.teacher"


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_channels_than_three(tmp_path: Path, family: str, channels: int) -> None:
    arch, side, fixed = FAMILIES[family].small, FAMILIES[family].side, FAMILIES[family].fixed
    made, seen = backbone(arch, 3, side if fixed else None, channels), pictures(side, channels)
    torch.save(made.state_dict(), tmp_path / "m.pt")
    with torch.no_grad():
        assert torch.equal(answers(tmp_path / "m.pt", seen, arch=arch), made(seen))


def test_dropout_before_the_head(tmp_path: Path) -> None:
    check_real(tmp_path, "test_efficientnet", dropout=True)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_smallest_that_a_library_names_is_known_by_its_weights(tmp_path: Path, family: str, dropout: bool) -> None:
    check_real(tmp_path, FAMILIES[family].real, FAMILIES[family].real_side, dropout)


def check_real(folder: Path, arch: str, side: int = 32, dropout: bool = False) -> None:
    """The same logits of a network that nothing but its weights tells."""
    made, seen = backbone(arch, 3, side if "vit" in arch else None), pictures(side)
    name = layers_of(arch)[0][0]
    weights = {
        f"{name}.1{key[len(name) :]}" if dropout and key.startswith(f"{name}.") else key: tensor
        for key, tensor in made.state_dict().items()
    }
    torch.save(weights, folder / "m.pt")
    with torch.no_grad():
        assert torch.equal(attacked(folder / "m.pt", seen), made(seen))


# Heads of the user's own code


class Answer(NamedTuple):
    logits: Tensor
    features: Tensor


class InNamedTuple(Headed):
    """Left to code of the user's own: torch saves no program with its names."""

    def forward(self, x: Tensor) -> Answer:
        return Answer(self.network(x), x.mean((2, 3)))


def in_dict() -> nn.Module:
    return InDict(backbone("test_resnet", 3))


def in_tuple() -> nn.Module:
    return InTuple(backbone("test_resnet", 3))


def in_named_tuple() -> nn.Module:
    return InNamedTuple(backbone("test_resnet", 3))


@pytest.mark.parametrize(
    ("make", "options"),
    [(in_dict, {}), (in_tuple, {"output": "0"}), (in_named_tuple, {}), (in_dict, {"label_index": 1})],
)
def test_a_head_of_the_users_own_code(tmp_path: Path, make: Callable[[], nn.Module], options: dict[str, Any]) -> None:
    seen = pictures(32)
    containers.data_parallel(make(), seen, tmp_path / "m.pt")
    found = row(tmp_path / "m.pt", seen, factory=f"{__name__}:{make.__name__}", **options)
    with torch.no_grad():
        wanted = backbone("test_resnet", 3)(seen)
    assert torch.equal(found, wanted[:, 1:2] if "label_index" in options else wanted)


def _onnx_name(path: Path, index: int) -> str:
    """Torch's exporter names outputs after nodes; they keep their order."""
    import onnx

    return str(onnx.load(path).graph.output[index].name)
