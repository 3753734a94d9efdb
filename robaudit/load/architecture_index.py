"""The index of timm's and torchvision's architectures by what their weights look like. Needs neither library to read.

`python tools/write_architecture_index.py` writes it anew from the installed libraries. An architecture is found under a
hash of its keys and shapes, without what differs between two uses of it: the number of classes, of input channels, and
the positions of a transformer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

Shapes = Mapping[str, tuple[int, ...]]
Weight = TypeVar("Weight")

INDEX_FILE = Path(__file__).with_name("architectures.json")
POSITIONS = ("pos_embed", "pos_embedding")
"""How the keys of positions end that depend on the size of the image."""
NOT_LEARNT = (
    "num_batches_tracked", "relative_position_index", "attn_mask", "position_ids", "relative_coords_table",
)  # fmt: skip
"""How keys end that hold nothing training has learnt: libraries save them in one version and not in the next."""


def look_up(shapes: Shapes) -> tuple[str, ...]:
    """Names of the architectures that weights of these shapes may belong to, the likeliest first."""
    found = []
    for layers, by_hash in _index().items():
        heads, firsts = (names.split(" ") for names in layers.split(" | "))
        if all(f"{name}.weight" in shapes for name in (heads[0], firsts[0])):
            found += by_hash.get(signature(shapes, heads, firsts), [])
    return tuple(found)


def known_heads() -> tuple[str, ...]:
    """What the architectures of the index call the layer that answers."""
    return tuple(dict.fromkeys(layers.split(" ")[0] for layers in _index()))


def signature(shapes: Shapes, heads: Sequence[str], firsts: Sequence[str]) -> str:
    """Hash of keys and shapes, without what differs between two uses of one architecture."""
    loose: dict[str, tuple[int, ...]] = {f"{head}.bias": () for head in heads}
    loose |= {f"{head}.weight": shapes.get(f"{head}.weight", ())[1:] for head in heads}
    for first in firsts:
        shape = shapes.get(f"{first}.weight", ())
        loose[f"{first}.weight"] = shape[:1] + shape[2:]
    loose |= {key: () for key in shapes if key.endswith(POSITIONS)}
    lines = "\n".join(f"{key} {tuple(loose.get(key, shape))}" for key, shape in sorted(_as_saved_today(shapes).items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def learnt(weights: Mapping[str, Weight]) -> dict[str, Weight]:
    """Weights without what training has not learnt."""
    return {key: weight for key, weight in weights.items() if not key.endswith(NOT_LEARNT)}


def _as_saved_today(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes as the libraries now save them: every batch-norm counts its batches, and nothing else is not learnt."""
    counters = {key.replace("running_var", "num_batches_tracked"): () for key in shapes if key.endswith("running_var")}
    return {**learnt(shapes), **counters}


@lru_cache
def _index() -> dict[str, dict[str, list[str]]]:
    loaded: dict[str, dict[str, list[str]]] = json.loads(INDEX_FILE.read_text(encoding="utf-8"))
    return loaded
