"""Write robaudit/load/architectures.json from the installed timm and torchvision. Takes minutes.

Of architectures whose weights have the same keys and shapes, those that compute the same are one, and go by the first
name: the sizes of a plain transformer, DeiT and ViT, a network of torchvision that timm has too. Those that do not are
all listed, for only a person can tell which of them a file is. An anti-aliased twin of a plain network (`blur`, `aa`)
is left out, being the rarer by far. tests/load/test_known_architectures.py compares some of either sort by what they
answer.
"""

import json
import re
import sys
import warnings
from collections import defaultdict

import timm
import torch
from torch import nn
from torchvision import models

from robaudit.load.architecture import TORCHVISION, create, layers_of
from robaudit.load.architecture_index import INDEX_FILE, signature

ANTI_ALIASED = re.compile(r"blur|resnetaa|resnextaa|conv_aa")
ANY_SIZE = re.compile(r"(vit_|deit|aimv2|beit|cait|eva|xcit|volo|coat_lite).*_\d{3}$")
"""Networks whose names end in a size, and whose sizes differ in nothing but the number of positions."""
COMMON = ("resnet", "vit_", "efficientnet", "mobilenet", "densenet", "swin", "convnext")

Index = dict[str, dict[str, list[str]]]


def main() -> None:
    """Write the index."""
    warnings.simplefilter("ignore")
    names = [*timm.list_models(), *(TORCHVISION + name for name in models.list_models(module=models))]
    found: Index = defaultdict(lambda: defaultdict(list))
    for name in names:
        for auxiliary in (True, False) if name.endswith((":googlenet", ":inception_v3")) else (False,):
            try:
                enter(found, name, auxiliary)
            except Exception as error:
                print(f"left out: {name} ({error})", file=sys.stderr)
    index = {layers: {key: told_apart(alike) for key, alike in by_hash.items()} for layers, by_hash in found.items()}
    INDEX_FILE.write_text(json.dumps(index, indent=0, sort_keys=True) + "\n", encoding="utf-8")


def enter(index: Index, name: str, auxiliary: bool) -> None:
    """Put an architecture where its shapes belong."""
    with torch.device("cpu" if "regnet" in name else "meta"):
        network = create(name, 2, auxiliary=auxiliary)
    heads, firsts = layers_of(name) if name.startswith(TORCHVISION) else stated_layers(network)
    shapes = {key: tuple(weight.shape) for key, weight in network.state_dict().items()}
    heads = tuple(head for head in heads if f"{head}.weight" in shapes)
    if heads and all(f"{first}.weight" in shapes for first in firsts):
        index[" ".join(heads) + " | " + " ".join(firsts)][signature(shapes, heads, firsts)].append(name)


def stated_layers(network: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Heads and first layers, as timm states them."""
    named = (network.pretrained_cfg[key] for key in ("classifier", "first_conv"))
    return tuple((layer,) if isinstance(layer, str) else tuple(layer or ()) for layer in named)


def told_apart(alike: list[str]) -> list[str]:
    """Of architectures with the same keys and shapes, one name for each that computes something else."""
    plain = [name for name in alike if not ANTI_ALIASED.search(name)] or alike
    kept: dict[str, str] = {}
    for name in sorted(plain, key=preference):
        kept.setdefault(function_of(name), name)
    return list(kept.values())


def function_of(name: str) -> str:
    """A name for what it computes: the same for architectures that differ in nothing but their name."""
    name = name.removeprefix(TORCHVISION)
    name = re.sub(r"_\d{3}$", "", name) if ANY_SIZE.match(name) else name
    return re.sub(r"^deit_(tiny|small|base)_patch16$", r"vit_\1_patch16", re.sub("^beitv2", "beit", name))


def preference(name: str) -> tuple[bool, bool, bool, str]:
    """The commonest first: timm's, plain names, and of several sizes 224."""
    return name.startswith(TORCHVISION), not name.startswith(COMMON), "224" not in name, name


if __name__ == "__main__":
    main()
