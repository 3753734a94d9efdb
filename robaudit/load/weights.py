"""The numbers of a state dict, and putting them into a network: every one of them, or none."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from robaudit.errors import ModelError, first_line
from robaudit.load.architecture_index import learnt
from robaudit.load.archive import ArchiveError, open_archive
from robaudit.load.kinds import Contents, Kind, ProgramError
from robaudit.load.state import State
from robaudit.load.tensors import StorageReader


def read_weights(contents: Contents, state: State) -> dict[str, Tensor]:
    """The tensors of a state dict, by names without prefix. No code from the file runs.

    Raises:
        ModelError: damaged, or in an old format that would need code.
    """
    assert contents.weights is not None
    try:
        match contents.file_kind:
            case Kind.SAFETENSORS:
                return _selected(state, load_file(contents.weights))
            case Kind.LEGACY_TORCH_CHECKPOINT:
                return _selected(state, _unpickled(contents.weights))
            case Kind.EXPORTED_PROGRAM:
                return _from_archive(contents.weights, state, "")
            case _:
                return _from_archive(contents.weights, state, None)
    except pickle.UnpicklingError:
        blocked = ", ".join(contents.foreign_globals[:3]) or "its pickle protocol is not torch's own"
        raise ModelError(
            f"{contents.path}: needs code to load ({blocked}), which robaudit does not run; "
            "save model.state_dict() alone, with torch.save as it is"
        ) from None
    except (
        ArchiveError, ProgramError, SafetensorError, OSError, RuntimeError, ValueError, KeyError, EOFError, TypeError,
    ) as error:  # fmt: skip
        raise ModelError(f"{contents.path}: cannot be loaded ({first_line(error)}); fetch or save it again") from None


def _from_archive(path: Path, state: State, folder: str | None) -> dict[str, Tensor]:
    with open_archive(path) as archive:
        if folder is None:
            [root] = archive.matching(r"[^/]+/data\.pkl")
            folder = root.removesuffix(".pkl") + "/"
            order = f"{root.removesuffix('data.pkl')}byteorder"
            if order in archive and archive.read(order).strip() != b"little":
                raise ArchiveError("its numbers are in another byte order")
        return StorageReader(archive, folder).tensors(state.tensors)


def _unpickled(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected pickle protocol")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise
        except Exception as error:
            # This reader asserts, indexes and looks up whatever a damaged file says.
            raise ArchiveError(first_line(error)) from None


def _selected(state: State, loaded: Any) -> dict[str, Tensor]:
    for key in state.nesting:
        loaded = loaded[key]
    return {name: loaded[state.prefix + state.names.get(name, name)] for name in state.tensors}


def put_into(path: Path, network: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load weights into a network that has exactly these, in its own precision.

    Args:
        path: of the file, for the message.
        network: to be filled.
        weights: by the names of its state dict.
        what: the network in words, for the message.

    Raises:
        ModelError: a weight is missing, unexpected, of another shape, or no floating-point number where one is wanted.
    """
    own = network.state_dict()
    problem = misfit({key: tuple(t.shape) for key, t in weights.items()}, {k: tuple(t.shape) for k, t in own.items()})
    whole = [key for key, t in weights.items() if key in own and own[key].is_floating_point() > t.is_floating_point()]
    if not problem and whole:
        problem = f"{len(whole)} of whole numbers, such as {whole[0]}: is it quantised?"
    if problem:
        raise ModelError(f"{path}: does not fit {what} ({problem}); pass another --arch, or --factory")
    # What training has not learnt may be missing or superfluous: then the network's own is as good.
    fitting = {key: tensor for key, tensor in weights.items() if key in own and own[key].shape == tensor.shape}
    own.update(fitting)  # into the network's own dictionary: it has the versions of layers, which some insist on
    network.load_state_dict(own, strict=True)


def misfit(shapes: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> str:
    """What keeps weights of these shapes from being those wanted, in words; empty where they fit."""
    missing = [key for key in learnt(wanted) if key not in shapes]
    unexpected = [key for key in learnt(shapes) if key not in wanted]
    different = [
        f"{key} {list(shapes[key])} instead of {list(shape)}"
        for key, shape in learnt(wanted).items()
        if key in shapes and tuple(shapes[key]) != tuple(shape)
    ]
    parts = [
        f"{len(keys)} {word}, such as {keys[0]}"
        for word, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", different))
        if keys
    ]
    return "; ".join(parts)
