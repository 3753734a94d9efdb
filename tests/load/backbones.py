"""The families of networks that people have, of either library, in members small enough to save a thousand times.

Where a library's own smallest member is too large for that, one of the same code with fewer and narrower layers is
registered with the library under a name of its own: it computes with the same operators and has the same kind of keys.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import timm
import torch
from timm.models import register_model
from timm.models import vgg as timm_vgg
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.mobilenetv3 import MobileNetV3 as TimmMobileNet
from torch import Tensor, nn
from torchvision.models import convnext, densenet, efficientnet, mobilenetv3, resnet, swin_transformer, vgg
from torchvision.models._api import register_model as register_with_torchvision
from torchvision.models.vision_transformer import VisionTransformer

from robaudit.load import architecture


class Family(NamedTuple):
    """One family of one library."""

    small: str
    """A small member, as `--arch` names it."""
    real: str
    """The smallest one that the library names."""
    side: int = 32
    """Of the pictures that the small member is shown, in pixels."""
    real_side: int = 32
    fixed: bool = False
    """Whether a network is made for one size of picture."""


# timm


@register_model
def tiny_densenet(pretrained: bool = False, **options: Any) -> nn.Module:
    return timm.create_model("densenet121", **{"growth_rate": 4, "block_config": (2, 2), **options})


@register_model
def tiny_swin(pretrained: bool = False, **options: Any) -> nn.Module:
    shrunk = {"img_size": 32, "window_size": 4, "embed_dim": 16, "depths": (2, 1), "num_heads": (2, 2)}
    return timm.create_model("swin_tiny_patch4_window7_224", **{**shrunk, **options})


@register_model
def tiny_convnext(pretrained: bool = False, **options: Any) -> nn.Module:
    return timm.create_model("convnext_tiny", **{"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16), **options})


@register_model
def tiny_vit(pretrained: bool = False, **options: Any) -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", **{"depth": 2, "embed_dim": 16, "num_heads": 2, **options})


@register_model
def tiny_mobilenet(pretrained: bool = False, **options: Any) -> nn.Module:
    chosen = _chosen(options)
    blocks = decode_arch_def([["ds_r1_k3_s1_e1_c8_se0.25_nre"], ["ir_r1_k3_s2_e3_c16"]])
    made = TimmMobileNet(blocks, num_features=32, stem_size=8, **chosen)
    made.pretrained_cfg = {"classifier": "classifier", "first_conv": "conv_stem"}
    return made


@register_model
def tiny_vgg(pretrained: bool = False, **options: Any) -> nn.Module:
    made = timm_vgg.VGG((8, "M", 16, "M"), mlp_ratio=1 / 256, **_chosen(options))
    made.pretrained_cfg = {"classifier": "head.fc", "first_conv": "features.0"}
    return made


def _chosen(options: dict[str, Any]) -> dict[str, Any]:
    """Without what `timm.create_model` adds for its own factory."""
    return {name: value for name, value in options.items() if name in ("num_classes", "in_chans")}


# torchvision


def registered(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    make.__module__ = "torchvision.models.of_robaudits_tests"  # its list is of what its own modules define
    return register_with_torchvision()(make)


@registered
def resnet_tiny(weights: None = None, **options: Any) -> nn.Module:
    return resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], **options)


@registered
def densenet_tiny(weights: None = None, **options: Any) -> nn.Module:
    return densenet.DenseNet(4, (2, 2), 8, **options)


@registered
def efficientnet_tiny(weights: None = None, **options: Any) -> nn.Module:
    wide = efficientnet.MBConvConfig(1, 3, 1, 8, 8, 1)
    blocks = [wide, efficientnet.MBConvConfig(4, 3, 2, 8, 16, 2)]
    return efficientnet.EfficientNet(blocks, 0.2, **options)


@registered
def convnext_tiny_of_two_blocks(weights: None = None, **options: Any) -> nn.Module:
    return convnext.ConvNeXt([convnext.CNBlockConfig(8, 16, 1), convnext.CNBlockConfig(16, None, 1)], **options)


@registered
def vit_tiny(weights: None = None, **options: Any) -> nn.Module:
    shrunk = {"image_size": 224, "patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    return VisionTransformer(**{**shrunk, **options})


@registered
def swin_tiny(weights: None = None, **options: Any) -> nn.Module:
    return swin_transformer.SwinTransformer([4, 4], 16, [2, 1], [2, 2], [4, 4], **options)


@registered
def mobilenet_tiny(weights: None = None, **options: Any) -> nn.Module:
    block = partial(mobilenetv3.InvertedResidualConfig, kernel=3, dilation=1, width_mult=1)
    blocks = [
        block(8, expanded_channels=16, out_channels=8, use_se=True, activation="RE", stride=1),
        block(8, expanded_channels=24, out_channels=16, use_se=True, activation="HS", stride=2),
    ]
    return mobilenetv3.MobileNetV3(blocks, 32, **options)


@registered
def vgg_tiny(weights: None = None, num_classes: int = 1000) -> nn.Module:
    with torch.device("meta"):  # its own classifier has a hundred million weights
        made = vgg.VGG(vgg.make_layers([8, "M", 16, "M"]), num_classes, init_weights=False)
    made.features = vgg.make_layers([8, "M", 16, "M"])
    made.classifier = nn.Sequential(
        *(nn.Linear(16 * 7 * 7, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 32), nn.ReLU(True), nn.Dropout()),
        nn.Linear(32, num_classes),
    )
    return made


FAMILIES = {
    "resnet": Family("test_resnet", "test_resnet"),
    "densenet": Family("tiny_densenet", "densenet121"),
    "efficientnet": Family("test_efficientnet", "test_efficientnet"),
    "convnext": Family("tiny_convnext", "test_convnext"),
    "vit": Family("tiny_vit", "test_vit", fixed=True),
    "swin": Family("tiny_swin", "swin_tiny_patch4_window7_224", real_side=224),
    "mobilenet": Family("tiny_mobilenet", "mobilenetv3_small_050"),
    "vgg": Family("tiny_vgg", "vgg11"),
    "torchvision resnet": Family("torchvision:resnet_tiny", "torchvision:resnet18"),
    "torchvision densenet": Family("torchvision:densenet_tiny", "torchvision:densenet121"),
    "torchvision efficientnet": Family("torchvision:efficientnet_tiny", "torchvision:efficientnet_b0"),
    "torchvision convnext": Family("torchvision:convnext_tiny_of_two_blocks", "torchvision:convnext_tiny"),
    "torchvision vit": Family("torchvision:vit_tiny", "torchvision:vit_b_16", fixed=True),
    "torchvision swin": Family("torchvision:swin_tiny", "torchvision:swin_t"),
    "torchvision mobilenet": Family("torchvision:mobilenet_tiny", "torchvision:mobilenet_v3_small"),
    "torchvision vgg": Family("torchvision:vgg_tiny", "torchvision:vgg11", side=28),
}


@cache
def backbone(arch: str, n_outputs: int, side: int | None = None, channels: int = 3) -> nn.Module:
    """An untrained network in eval mode, of pictures of another side where one is given.

    Its batch norm has statistics of its own, its answers differ between pictures, and one output is no probability.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(n_outputs)
        made = architecture.create(arch, n_outputs, channels, side).train()
        head = head_of(made, arch)
        nn.init.normal_(head.weight)
        nn.init.constant_(head.bias, -9 if n_outputs == 1 else 0)
        if any(isinstance(module, nn.BatchNorm2d) for module in made.modules()):
            made(torch.rand(4, channels, side or 32, side or 32))
    return made.eval()


def head_of(made: nn.Module, arch: str) -> nn.Module:
    """The layer that answers."""
    return made.get_submodule(architecture.layers_of(arch)[0][0])


def pictures(side: int, channels: int = 3) -> Tensor:
    """(3, C, side, side) in [0, 1], from dark to bright."""
    noise = torch.rand(3, channels, side, side, generator=torch.Generator().manual_seed(0))
    return noise * torch.tensor([0.1, 0.5, 1.0])[:, None, None, None]
