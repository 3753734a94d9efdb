"""How to build a network again around weights that a retrofit has trained further."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robaudit.files import replacing, sha256_of
from robaudit.load.kinds import Kind
from robaudit.load.network import Network

PROGRAM_FOLDER = "program"
PROGRAM_SHA256 = "program_sha256"
"""Entry of config.json: name -> hash of each file in that folder, so that they are part of what the model is."""


@dataclass(frozen=True)
class Recipe:
    """What a folder that assimilate writes must hold beyond the weights."""

    files: tuple[Path, ...] = ()
    """The program, and the files its numbers lie in; empty where a library knows the network by name."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Entries of its config.json."""

    @property
    def is_timms(self) -> bool:
        """Whether a plain timm folder can hold all of it: the name of an architecture, perhaps with arguments.

        The threshold at which one output decides stands beside them, for robaudit to read; timm's answers are logits.
        """
        library = self.config.get("library", {"kind": Kind.TIMM_FOLDER})
        said = {name for name, value in self.config.get("head", {}).items() if value is not None}
        can_be_said = self.config.keys() <= {"library", "head"} and said <= {"threshold"}
        return not self.files and can_be_said and library["kind"] == Kind.TIMM_FOLDER

    @property
    def timm_arguments(self) -> dict[str, Any]:
        """What a timm folder set beside the name of its architecture."""
        return dict(self.config["library"]["config"]["model_args"]) if "library" in self.config else {}

    def copy_to(self, folder: Path) -> dict[str, Any]:
        """Copy the files into a folder, and return the entries of its config.json.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        if not self.files:
            return dict(self.config)
        copies = [folder / PROGRAM_FOLDER / file.name for file in self.files]
        for file, copied in zip(self.files, copies, strict=True):
            with replacing(copied) as temporary:
                shutil.copyfile(file, temporary)
        hashes = {copied.name: sha256_of(copied) for copied in copies}
        return {**self.config, "program": f"{PROGRAM_FOLDER}/{copies[0].name}", PROGRAM_SHA256: hashes}


def altered_program(folder: Path, config: Mapping[str, Any]) -> str | None:
    """Name of a file that `copy_to` left in a folder and that is another by now; None where there is none.

    Folders of earlier versions hold no hashes, and nothing is said of them.
    """
    hashes = config.get(PROGRAM_SHA256, {})
    if not isinstance(hashes, Mapping):
        return str(config["program"])
    for name, sha256 in hashes.items():
        file = folder / PROGRAM_FOLDER / Path(name).name  # a name with folders in it leads nowhere else
        if not file.is_file() or sha256_of(file) != sha256:
            return f"{PROGRAM_FOLDER}/{name}"
    return None


def recipe_of(network: Network, head: Mapping[str, str | int | float | None]) -> Recipe:
    """The recipe of a network that was loaded, and of what its answers were taken for (output, label_index, ...)."""
    config: dict[str, Any] = {"head": dict(head)} if any(value is not None for value in head.values()) else {}
    if network.factory is not None:
        config["factory"] = network.factory
    if network.library is not None:
        kind, described = network.library
        config["library"] = {"kind": kind.value, "config": json.loads(json.dumps(described))}
    return Recipe(tuple(network.files), config)
