"""Which architecture fits a set of weights: the one whose keys and shapes are exactly these.

A timm architecture goes by its name, one of torchvision by `torchvision:` and its name there: the two libraries build
many networks of the same name with different keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from math import isqrt
from typing import Any, Literal

import timm
import torch
from torch import nn

from robaudit.load import weights
from robaudit.load.architecture_index import POSITIONS, Shapes, look_up

TORCHVISION = "torchvision:"
MAX_IMAGE_SIDE = 4096

Size = tuple[int, int]
"""(height, width) in pixels."""


def candidates(shapes: Shapes) -> tuple[str, ...]:
    """Names of the architectures whose keys and shapes, head and first layer aside, are exactly these.

    Those that compute the same from the same weights are named once.

    Args:
        shapes: key -> shape of every tensor of a state dict, prefixes already stripped.
    """
    return tuple(name for name in look_up(shapes) if is_known(name) and n_classes(name, shapes) is not None)


def is_known(arch: str) -> bool:
    """Whether an installed library has an architecture of this name."""
    if not arch.startswith(TORCHVISION):
        # Anything with a slash or a colon is a path, or a name of the hub, to timm.
        return re.fullmatch(r"[\w-]+(\.\w+)?", arch) is not None and timm.is_model(arch) and _has_tag(arch)
    return find_spec("torchvision") is not None and arch.removeprefix(TORCHVISION) in _torchvision_names()


def _has_tag(arch: str) -> bool:
    try:
        timm.get_pretrained_cfg(arch)
    except RuntimeError:
        return False
    return True


def n_classes(arch: str, shapes: Shapes) -> int | None:
    """Number of outputs of these weights as `arch`; None where they do not fit it."""
    head = shapes.get(f"{layers_of(arch)[0][0]}.weight")
    if head is None or misfit(arch, shapes):
        return None
    return head[0]


def in_chans(arch: str, shapes: Shapes) -> int:
    """Input channels of these weights as `arch`: the second dimension of its first convolution."""
    first = shapes.get(f"{layers_of(arch)[1][0]}.weight", (0, 3))
    return first[1] if len(first) > 1 else 3


def misfit(arch: str, shapes: Shapes) -> str:
    """What keeps these weights from being `arch`, in words; empty where they fit."""
    reference = _reference(arch, in_chans(arch, shapes), _side(arch, shapes), _has_auxiliary(shapes))
    of_heads = {f"{head}.{part}" for head in layers_of(arch)[0] for part in ("weight", "bias")}
    return weights.misfit(
        shapes, {key: shapes.get(key, shape) if key in of_heads else shape for key, shape in reference.items()}
    )


def build(arch: str, shapes: Shapes, size: Size | None = None) -> nn.Module:
    """The network of these shapes, its weights not yet the file's; for images of another size where that can be."""
    found = n_classes(arch, shapes)
    assert found is not None
    side = _side(arch, shapes)
    wanted = size if size is not None and side is None and can_be_built_for(arch, size) else side
    with torch.random.fork_rng():  # weights about to be replaced are drawn at random
        return create(arch, found, in_chans(arch, shapes), wanted, _has_auxiliary(shapes))


def can_be_built_for(arch: str, size: Size) -> bool:
    """Whether a network is made for one size of picture, and might be made for this one instead of its own."""
    cfg = None if arch.startswith(TORCHVISION) else timm.get_pretrained_cfg(arch)
    if cfg is None or not cfg.fixed_input_size or tuple(cfg.input_size[-2:]) == tuple(size):
        return False
    # Positions are learnt for a size, and only the weights say which: here they are of the architecture's own.
    return not any(key.endswith(POSITIONS) for key in _reference(arch, 3, None, False))


def native_size(arch: str, shapes: Shapes) -> tuple[Size, Literal["weights", "architecture"]] | None:
    """(height, width) of the grid that positions among the weights are for, else the one its library trains it at."""
    side = _side(arch, shapes)
    if side is not None:
        return (side, side), "weights"
    if arch.startswith(TORCHVISION):
        size = _torchvision_size(arch.removeprefix(TORCHVISION))
    else:
        cfg = timm.get_pretrained_cfg(arch)
        size = None if cfg is None else (int(cfg.input_size[-2]), int(cfg.input_size[-1]))
    return None if size is None else (size, "architecture")


def _torchvision_size(name: str) -> Size | None:
    """What the first weights that torchvision published under this name crop images to."""
    if name.startswith("vit"):  # without other positions it is as its builder makes it
        return 224, 224
    from torchvision import models

    try:
        published = next(iter(models.get_model_weights(name)))
        side = int(published.transforms.keywords["crop_size"])
    except (ValueError, StopIteration, AttributeError, KeyError):
        return None
    return side, side


def create(
    arch: str, outputs: int, channels: int = 3, size: int | Size | None = None, auxiliary: bool = False
) -> nn.Module:
    """An architecture by its name, its weights drawn at random.

    Args:
        arch: timm name, or `torchvision:` and a name there.
        outputs: of its head.
        channels: of its input.
        size: side, or (height, width), of the images it takes, where that is fixed and not the architecture's own.
        auxiliary: whether it has the auxiliary heads that Inception is trained with.
    """
    if arch.startswith(TORCHVISION):
        return _torchvision(arch.removeprefix(TORCHVISION), outputs, channels, size, auxiliary)
    network: nn.Module = timm.create_model(
        arch, num_classes=outputs, in_chans=channels, **({} if size is None else {"img_size": size})
    )
    return network


def _torchvision(name: str, outputs: int, channels: int, size: int | Size | None, auxiliary: bool) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {} if size is None else {"image_size": size}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": auxiliary, "init_weights": False}
    network: nn.Module = models.get_model(name, weights=None, num_classes=outputs, **options)
    if channels != 3:
        _replace_first(network, channels)
    return network


def _replace_first(network: nn.Module, channels: int) -> None:
    """Torchvision has no argument for the channels of the input."""
    name, first = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    parent, _, attribute = name.rpartition(".")
    options: dict[str, Any] = {
        option: getattr(first, option) for option in ("kernel_size", "stride", "padding", "dilation")
    }
    replacement = nn.Conv2d(channels, first.out_channels, bias=first.bias is not None, **options)
    setattr(network.get_submodule(parent), attribute, replacement)


@lru_cache
def _torchvision_names() -> frozenset[str]:
    from torchvision import models

    return frozenset(models.list_models(module=models))


@lru_cache(maxsize=512)
def _reference(arch: str, channels: int, side: int | None, auxiliary: bool) -> Mapping[str, tuple[int, ...]]:
    """Shapes of a two-class `arch`, without allocating any weight."""
    with torch.random.fork_rng(), torch.device(_shapes_on(arch)):
        model = create(arch, 2, channels, side, auxiliary)
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


@lru_cache(maxsize=512)
def layers_of(arch: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the heads and of the first layers: what differs between uses of one architecture."""
    with torch.random.fork_rng(), torch.device(_shapes_on(arch)):
        if not arch.startswith(TORCHVISION):
            cfg = timm.create_model(arch, num_classes=2).pretrained_cfg
            return _names(cfg["classifier"]), _names(cfg["first_conv"])
        auxiliary = arch.endswith(("googlenet", "inception_v3"))
        two, three = (create(arch, n, auxiliary=auxiliary) for n in (2, 3))
    heads = [
        key.removesuffix(".weight")
        for (key, one), other in zip(two.state_dict().items(), three.state_dict().values(), strict=True)
        if one.shape != other.shape and key.endswith(".weight")
    ]
    first = next(name for name, module in two.named_modules() if isinstance(module, nn.Conv2d))
    return tuple(reversed(heads)), (first,)  # the main head is the last


def _shapes_on(arch: str) -> str:
    """Where to build what only its shapes are wanted of; torchvision's RegNets work their widths out in tensors."""
    return "cpu" if arch.startswith(f"{TORCHVISION}regnet") else "meta"


def _names(named: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the one layer, several (a distilled head, two branches) or none that timm states."""
    return (named,) if isinstance(named, str) else tuple(named or ("",))


def _has_auxiliary(shapes: Shapes) -> bool:
    return any(key.startswith(("AuxLogits.", "aux1.")) for key in shapes)


def _side(arch: str, shapes: Shapes) -> int | None:
    """Side of the square image that a transformer's positions are for; None where it is the architecture's own."""
    key = next((key for key in shapes if key.endswith(POSITIONS)), None)
    patch = shapes.get(f"{layers_of(arch)[1][0]}.weight", ())
    if key is None or len(shapes[key]) != 3 or len(patch) != 4 or patch[-1] < 2:
        return None
    own = _reference(arch, 3, None, _has_auxiliary(shapes)).get(key, ())
    if len(own) != 3 or own == tuple(shapes[key]):
        return None
    n_own = (_own_side(arch) // patch[-1]) ** 2
    # What is neither of the picture's patches is a token for the class, or a register.
    side = isqrt(max(0, shapes[key][1] - (own[1] - n_own))) * patch[-1]
    return side if 0 < side <= MAX_IMAGE_SIDE else None


def _own_side(arch: str) -> int:
    cfg = None if arch.startswith(TORCHVISION) else timm.get_pretrained_cfg(arch)
    return 224 if cfg is None else int(cfg.input_size[-1])
