"""How to build a network again around weights that a retrofit has trained further."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robaudit.load.kinds import Kind
from robaudit.load.network import Network

PROGRAM_FOLDER = "program"


@dataclass(frozen=True)
class Recipe:
    """What a folder that assimilate writes must hold beyond the weights."""

    files: tuple[Path, ...] = ()
    """The program, and the files its numbers lie in; empty where a library knows the network by name."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Entries of its config.json."""

    @property
    def is_timms(self) -> bool:
        """Whether a plain timm folder can hold all of it: the name of an architecture, perhaps with arguments."""
        library = self.config.get("library", {"kind": Kind.TIMM_FOLDER})
        return not self.files and self.config.keys() <= {"library"} and library["kind"] == Kind.TIMM_FOLDER

    @property
    def timm_arguments(self) -> dict[str, Any]:
        """What a timm folder set beside the name of its architecture."""
        return dict(self.config["library"]["config"]["model_args"]) if "library" in self.config else {}

    def copy_to(self, folder: Path) -> dict[str, Any]:
        """Copy the files into a folder, and return the entries of its config.json."""
        if not self.files:
            return dict(self.config)
        (folder / PROGRAM_FOLDER).mkdir(exist_ok=True)  # there already where a killed retrofit had come this far
        for file in self.files:
            shutil.copyfile(file, folder / PROGRAM_FOLDER / file.name)
        return {**self.config, "program": f"{PROGRAM_FOLDER}/{self.files[0].name}"}


def recipe_of(network: Network, head: Mapping[str, str | int | float | None]) -> Recipe:
    """The recipe of a network that was loaded, and of what its answers were taken for (output, label_index, ...)."""
    config: dict[str, Any] = {"head": dict(head)} if any(value is not None for value in head.values()) else {}
    if network.factory is not None:
        config["factory"] = network.factory
    if network.library is not None:
        kind, described = network.library
        config["library"] = {"kind": kind.value, "config": json.loads(json.dumps(described))}
    return Recipe(network.files, config)
