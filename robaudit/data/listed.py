"""An image that was found, before anyone looks inside: what every way of listing gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from robaudit.data.remote import Location

Split = Literal["train", "val", "test"]
SPLIT_NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_WHAT_FOLLOWS = re.compile(r"[-_ .]?(set|data|dataset|images|imgs|split|\d{4})$")


@dataclass(frozen=True)
class Listed:
    """One picture: a file, or one of several in a file."""

    id: str
    """Path relative to the data folder, with forward slashes; `#` and its place where a file holds several."""
    path: Location
    label: str
    split: str = ""
    """train, val or test; empty where the data is not divided."""
    patient: str | None = None
    """Hash of the patient's identifier, see `robaudit.data.patients`; None where unknown."""
    member: str = ""
    """Which picture of the file, in its reader's own words; empty for the only one."""
    pinned: str | None = None
    """What the file's bytes must hash to, where a manifest says so."""
    row: str = field(default="", compare=False)
    """Where a manifest names it, to begin a refusal with."""


def part_named(word: str) -> str:
    """`train`, `val` or `test` for any of their synonyms, such as `Training_Set`; other words as they are."""
    word = word.strip().lower()
    return next((part for part, names in SPLIT_NAMES.items() if _WHAT_FOLLOWS.sub("", word) in names), word)
