"""Which timm architecture fits a set of weights: the one whose keys and shapes are exactly these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import timm
import torch

Shapes = Mapping[str, tuple[int, ...]]

# A key that only this family has -> the members tried, common ones first. timm and torchvision share these key names.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "layer1.0.conv1.weight": (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
        "resnext50_32x4d", "resnext101_32x8d", "seresnet50", "resnet18d", "resnet34d", "resnet50d", "resnet101d",
        "resnet10t", "resnet14t", "resnet26t", "resnet26d", "test_resnet", "ecaresnet50d",
    ),
    "features.denseblock1.denselayer1.norm1.weight": ("densenet121", "densenet161", "densenet169", "densenet201"),
    "conv_stem.weight": (
        "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4",
        "tf_efficientnetv2_s", "mobilenetv2_100", "mobilenetv3_small_100", "mobilenetv3_large_100",
    ),
    "stages.0.blocks.0.conv_dw.weight": (
        "convnext_atto", "convnext_nano", "convnext_tiny", "convnext_small", "convnext_base", "test_convnext",
    ),
    "blocks.0.attn.qkv.weight": (
        "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "vit_small_patch32_224",
        "vit_base_patch32_224", "deit_tiny_distilled_patch16_224", "test_vit",
    ),
    "layers.0.blocks.0.attn.qkv.weight": (
        "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224", "swin_base_patch4_window7_224",
    ),
    "features.0.weight": ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
}  # fmt: skip


def candidates(shapes: Shapes) -> tuple[str, ...]:
    """Names of the architectures whose keys and shapes, head and first layer aside, are exactly these.

    Args:
        shapes: key -> shape of every tensor of a state dict, prefixes already stripped.
    """
    family = next((names for key, names in FAMILIES.items() if key in shapes), ())
    return tuple(name for name in family if n_classes(name, shapes) is not None)


def n_classes(arch: str, shapes: Shapes) -> int | None:
    """Number of outputs of these weights as `arch`; None where they do not fit it."""
    head = shapes.get(f"{_reference(arch, 3)[1][0]}.weight")
    if head is None or misfit(arch, shapes):
        return None
    return head[0]


def in_chans(arch: str, shapes: Shapes) -> int:
    """Input channels of these weights as `arch`: the second dimension of its first convolution."""
    first = shapes.get(f"{_first_layers(arch)[0]}.weight", (0, 3))
    return first[1] if len(first) > 1 else 3


def misfit(arch: str, shapes: Shapes) -> str:
    """What keeps these weights from being `arch`, in words; empty where they fit."""
    reference, heads = _reference(arch, in_chans(arch, shapes))
    missing = [key for key in reference if key not in shapes]
    unexpected = [key for key in shapes if key not in reference]
    of_heads = {f"{head}.{part}" for head in heads for part in ("weight", "bias")}
    different = [
        f"{key} {list(shapes[key])} instead of {list(shape)}"
        for key, shape in reference.items()
        if key in shapes and key not in of_heads and tuple(shapes[key]) != shape
    ]
    parts = [
        f"{len(keys)} {word}, such as {keys[0]}"
        for word, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", different))
        if keys
    ]
    return "; ".join(parts)


@lru_cache(maxsize=256)
def _reference(arch: str, channels: int) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """Shapes of a two-class `arch` and the names of its heads, without allocating any weight."""
    with torch.device("meta"):
        model = timm.create_model(arch, num_classes=2, in_chans=channels)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    return shapes, _layers(model.pretrained_cfg["classifier"])


@lru_cache(maxsize=256)
def _first_layers(arch: str) -> tuple[str, ...]:
    with torch.device("meta"):
        return _layers(timm.create_model(arch, num_classes=2).pretrained_cfg["first_conv"])


def _layers(named: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the one layer, several (a distilled head, two branches) or none that timm states."""
    return (named,) if isinstance(named, str) else tuple(named or ("",))
