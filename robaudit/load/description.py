"""A model file in words and plain data: what `robaudit inspect` shows. Loads torch only to guess an architecture."""

import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from robaudit.errors import ModelError
from robaudit.load.contents import Contents, Kind, State, state_tensors
from robaudit.load.torch_pickle import TensorInfo

_RESAVE = "save its weights with torch.save(model.state_dict(), FILE) and pass FILE"

_OBSTACLES = {
    Kind.PICKLED_MODULE: f"loading it would run code it names; {_RESAVE}",
    Kind.TORCHSCRIPT: f"it carries its own program; {_RESAVE}",
    Kind.EXPORTED_PROGRAM: f"it carries its own program; {_RESAVE}",
    Kind.ONNX: "an ONNX graph gives no gradients; pass the PyTorch weights it was exported from",
    Kind.PICKLE: f"it is no torch file; {_RESAVE}",
}

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Description:
    """What a model file holds and what can be done with it."""

    contents: Contents
    state: State | None
    """Where the weights lie; None where there are none."""
    architectures: tuple[str, ...]
    """The one the file names, or those whose keys and shapes fit; empty where unknown."""
    obstacle: str | None
    """Why scan would refuse it, and what to do; None where it would load it."""

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """The weights, by names without prefix."""
        return dict(self.state.tensors) if self.state else {}

    @property
    def n_parameters(self) -> int:
        """How many numbers the weights have, statistics of batch norm aside."""
        return sum(tensor.n_elements for name, tensor in self.tensors.items() if not name.endswith(_STATISTICS))

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names that the file states."""
        for key in ("classes", "label_names", "class_names"):
            names = self.contents.metadata.get(key)
            if isinstance(names, list | tuple):
                return tuple(str(name) for name in names)
        return ()

    @property
    def normalization(self) -> dict[str, Any]:
        """Mean and standard deviation that the file states."""
        config = self.contents.metadata.get("pretrained_cfg", self.contents.metadata)
        return {key: config[key] for key in ("mean", "std") if isinstance(config, dict) and key in config}

    @property
    def command(self) -> str | None:
        """The command that would audit it."""
        if self.obstacle is not None:
            return None
        folder = self.contents.path.is_dir()
        arch = "" if folder or len(self.architectures) == 1 else " --arch ARCH"
        return f"robaudit scan {shlex.quote(str(self.contents.path))} DATA{arch} --out out/before"

    def document(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {
            "path": str(self.contents.path),
            "kind": self.contents.kind.value,
            "sha256": self.contents.sha256,
            "size_bytes": self.contents.size_bytes,
            "architectures": list(self.architectures),
            "n_parameters": self.n_parameters,
            "nesting": list(self.state.nesting) if self.state else [],
            "prefix": self.state.prefix if self.state else "",
            "tensors": {name: {"shape": list(t.shape), "dtype": t.dtype} for name, t in self.tensors.items()},
            "classes": list(self.classes),
            "normalization": self.normalization,
            "metadata": dict(self.contents.metadata),
            "globals": sorted(self.contents.globals),
            "foreign_globals": list(self.contents.foreign_globals),
            "obstacle": self.obstacle,
            "command": self.command,
        }


def describe(contents: Contents) -> Description:
    """Say what can be done with a model file."""
    try:
        state, missing = state_tensors(contents), None
    except ModelError as error:
        state, missing = None, str(error).removeprefix(f"{contents.path}: ")
    foreign = contents.foreign_globals
    needs_code = f"loading it would import {', '.join(foreign[:5])}; {_RESAVE}" if foreign else None
    return Description(
        contents,
        state,
        architectures=_architectures(contents, state),
        obstacle=_OBSTACLES.get(contents.kind) or needs_code or missing,
    )


def _architectures(contents: Contents, state: State | None) -> tuple[str, ...]:
    for key in ("backbone", "architecture", "arch"):  # an assimilated folder names its network first
        named = contents.metadata.get(key)
        if isinstance(named, str):
            return (named,)
    if state is None or find_spec("torch") is None or find_spec("timm") is None:
        return ()
    from robaudit.load.architecture import candidates

    return candidates({name: tensor.shape for name, tensor in state.tensors.items()})
