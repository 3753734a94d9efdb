"""What a model file or folder can be, and what was found in one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from robaudit.load.torch_pickle import DATA_GLOBALS, Groups
from robaudit.load.unchanged import Stamp


class Kind(StrEnum):
    """What a model file can be."""

    ASSIMILATED = "assimilated folder"
    TIMM_FOLDER = "timm folder"
    HUGGING_FACE_FOLDER = "Hugging Face folder"
    MONAI_BUNDLE = "MONAI bundle"
    SAFETENSORS = "safetensors"
    TORCH_CHECKPOINT = "torch checkpoint"
    LEGACY_TORCH_CHECKPOINT = "torch checkpoint (before torch 1.6)"
    PICKLED_MODULE = "pickled torch module"
    TORCHSCRIPT = "TorchScript"
    EXPORTED_PROGRAM = "torch exported program"
    ONNX = "ONNX"
    PICKLE = "pickle (not written by torch.save)"


PROGRAMS = (Kind.TORCHSCRIPT, Kind.EXPORTED_PROGRAM, Kind.ONNX)
"""Files that carry what is to be computed beside the weights."""


class ProgramError(Exception):
    """A file's program, or a use of an operator in it, is none that robaudit reads and computes."""


@dataclass(frozen=True)
class Contents:
    """What a model file or folder holds."""

    kind: Kind
    path: Path
    sha256: str
    """Of the file; of a folder, over its configuration and weights."""
    size_bytes: int
    files: Mapping[Path, Stamp]
    """What it was read from, as each was before."""
    groups: Groups = field(default_factory=dict)
    """Tensors by the keys that lead to their dictionary: () is the top, ("state_dict",) one level down."""
    globals: frozenset[str] = frozenset()
    """What the pickle would import."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """A folder's configuration, safetensors metadata, the plain entries of a checkpoint, what an export says."""
    weights: Path | None = None
    """The file that holds the tensors; for a file, itself."""
    weights_kind: Kind | None = None
    """What that file is, where `kind` is a folder."""
    weights_sha256: str | None = None
    """Hash of that file, likewise."""
    operators: tuple[str, ...] = ()
    """What the program of a TorchScript, exported or ONNX file computes with."""
    not_pure: tuple[str, ...] = ()
    """What robaudit does not compute of it without consent."""

    @property
    def file_kind(self) -> Kind:
        """What the file with the tensors is."""
        return self.weights_kind or self.kind

    @property
    def stated_arch(self) -> str | None:
        """Name of the architecture that the file or folder states; an assimilated folder names its network first."""
        named = (self.metadata.get(key) for key in ("backbone", "architecture", "arch", "model_name"))
        return next((name for name in named if isinstance(name, str)), None)

    @property
    def foreign_globals(self) -> tuple[str, ...]:
        """What the pickle would import beyond data: with any of these, unpickling runs code from the file."""
        return tuple(sorted(self.globals - DATA_GLOBALS))


def names(found: Iterable[object], most: int = 5) -> str:
    """The first few names, in one line."""
    shown = [" ".join(str(name.name if isinstance(name, Path) else name).split()) for name in found]
    return ", ".join(shown[:most]) + (", ..." if len(shown) > most else "")
