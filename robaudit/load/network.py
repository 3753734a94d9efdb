"""What a model file holds -> the bare network, with its weights, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robaudit.data.picture import READ_CHANNELS, other_channels
from robaudit.errors import ModelError, first_line
from robaudit.load import architecture
from robaudit.load.architecture import Size
from robaudit.load.channels import first_channels
from robaudit.load.contents import DAMAGE, damaged
from robaudit.load.exported import read_exported
from robaudit.load.kinds import PROGRAMS, Contents, Kind, ProgramError
from robaudit.load.libraries import (
    hugging_face_filled,
    hugging_face_network,
    is_built_otherwise,
    monai_network,
    timm_network,
)  # fmt: skip
from robaudit.load.normalizer import Values, behind_normalizer, values_of
from robaudit.load.onnx_graph import read_onnx
from robaudit.load.renamed import named_state
from robaudit.load.scripted import read_scripted
from robaudit.load.state import State, branches, state_for
from robaudit.load.stated import stated
from robaudit.load.trusted import call_factory, load_trusted, require_trust
from robaudit.load.unchanged import Stamp, stamped
from robaudit.load.weights import misfit, put_into, read_weights
from robaudit.typed import flag

RUNS_CODE: Mapping[Kind, str] = {
    Kind.PICKLED_MODULE: "a pickled module, which runs code from the file when loaded",
    Kind.PICKLE: "a pickle that torch.save did not write, which runs code from the file when loaded",
}
MAX_BRANCHES = 16
"""Networks side by side in one state dict that are looked for."""


@dataclass(frozen=True)
class Asked:
    """What a person says of the file beyond its path."""

    arch: str | None = None
    """Architecture: a timm name, or `torchvision:` and a name there."""
    factory: str | None = None
    """`package.module:function` of the person's own, which returns the network."""
    trust: str | None = None
    """Hash of the one file whose code may run."""
    weights: str | None = None
    """Which of several state dicts in the file."""
    size: tuple[int, int] | None = None
    """(height, width) of the pictures."""


@dataclass(frozen=True)
class Network:
    """A network with its weights, and what is known of its input."""

    module: nn.Module
    arch: str
    in_chans: int
    size: tuple[int, int] | None = None
    """(height, width) it is made for, as far as that is known."""
    size_source: str = "program"
    """Where that is known from, as `robaudit.records.InputSize` has it."""
    asks_channels: bool = False
    """Whether its channels are only those of its first convolution, and it is still to be asked what it takes."""
    is_program: bool = False
    """Whether it computes what the file says, rather than what a library does."""
    runs_code: bool = False
    """Whether code from the file has run, as the person allowed."""
    batch: int | None = None
    """How many pictures it was traced for; None where that may vary."""
    place: str | None = None
    """Where in the file its state dict lay; None for the top."""
    left_out: tuple[str, ...] = ()
    """What the pickle would have imported beside the weights."""
    files: Mapping[Path, Stamp] = field(default_factory=dict)
    """Of a program: what holds it, as each was before it was read."""
    factory: str | None = None
    """The user's own code that made it."""
    normalization: Values | None = None
    """Mean and standard deviation of a layer that stands in front of it in the file, and is left out of it."""
    inside: Values | None = None
    """Likewise of a layer that stayed in it: it takes pictures that nobody has normalised."""
    library: tuple[Kind, Mapping[str, Any]] | None = None
    """Of a library's network: the folder's kind and configuration."""


def read_network(contents: Contents, asked: Asked) -> Network:
    """Load the network of a file or folder.

    Raises:
        ModelError: damaged, needs code to load, fits no architecture or not the one given.
    """
    require_trust(contents.path, trusted_hash(contents), asked.trust)
    if asked.factory is not None:
        return _from_factory(contents, asked)
    if asked.arch is None and (contents.kind is Kind.HUGGING_FACE_FOLDER or is_built_otherwise(contents)):
        return _from_library(contents, asked)
    has_program = contents.file_kind in PROGRAMS or contents.file_kind in RUNS_CODE
    if has_program and (asked.arch is None or not contents.groups):
        return _from_program(contents, asked.trust is not None)
    return _from_weights(contents, asked)


def trusted_hash(contents: Contents) -> str:
    """What `--trust` must name: the hash of the file that holds the model, also where that lies in a folder."""
    return contents.weights_sha256 or contents.sha256


# Weights, and a network that is known by name


def _from_weights(contents: Contents, asked: Asked) -> Network:
    state = named_state(contents, asked.weights)
    arch = asked.arch or stated_arch(contents, state)
    if arch is None:
        found = architecture.candidates(state.shapes)
        if not found and _is_built_by_monai(contents):
            return _from_library(contents, asked)
        arch = _one_of(contents, found, state)
    _require_fit(contents, arch, state)
    return _filled(named_network(contents.path, arch, state.shapes, asked.size), contents, state)


def weights_refusal(contents: Contents, state: State) -> str | None:
    """Why weights alone would not be loaded if nothing more were said of them; None where they would, or may be."""
    if contents.kind is Kind.HUGGING_FACE_FOLDER or is_built_otherwise(contents):
        return None
    try:
        arch = stated_arch(contents, state)
        if arch is None:
            found = architecture.candidates(state.shapes)
            if len(found) > 1 or (not found and _is_built_by_monai(contents)):
                return None
            arch = _one_of(contents, found, state)
        _require_fit(contents, arch, state)
    except ModelError as error:
        return str(error).removeprefix(f"{contents.path}: ")
    return other_channels(architecture.in_chans(arch, state.shapes))


def _is_built_by_monai(contents: Contents) -> bool:
    return contents.kind is Kind.MONAI_BUNDLE and bool(contents.metadata.get("network"))


def _require_fit(contents: Contents, arch: str, state: State) -> None:
    if not architecture.is_known(arch):
        raise ModelError(
            f"{contents.path}: timm knows no architecture {arch!r}; see timm.list_models() and pass --arch, "
            "or --factory for a network of your own"
        )
    if architecture.n_classes(arch, state.shapes) is None:
        problem = architecture.misfit(arch, state.shapes)
        raise ModelError(
            f"{contents.path}: does not fit {arch} ({problem}); pass another --arch, or --factory "
            "package.module:function for a network of your own"
        )


def named_network(path: Path, arch: str, shapes: Mapping[str, tuple[int, ...]], size: Size | None) -> Network:
    """The network that a library knows by name, its weights not yet the file's.

    Args:
        path: of the file, for the message.
        arch: what fits the weights.
        shapes: of the weights.
        size: (height, width) of the pictures that it is to take; None takes its own.

    Raises:
        ModelError: it cannot be made for pictures of that size.
    """
    own = architecture.native_size(arch, shapes)
    known, source = own if own is not None else (None, "architecture")
    try:
        module = architecture.build(arch, shapes, size)
        problem = misfit(shapes, {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()})
    except Exception as error:  # a library's own: it refuses in any way
        if size is None:
            raise
        problem = first_line(error)
    if problem and size is not None:
        own_size = f"; its own is {known[0]}x{known[1]}" if known else ""
        raise ModelError(
            f"{path}: {arch} with these weights takes no {size[0]}x{size[1]} images ({problem}); "
            f"pass another --input-size{own_size}"
        )
    return Network(module, arch, architecture.in_chans(arch, shapes), known, source)


def _filled(network: Network, contents: Contents, state: State) -> Network:
    put_into(contents.path, network.module, read_weights(contents, state), network.arch)
    return replace(
        network, place=state.place, left_out=contents.foreign_globals, normalization=values_of(contents, state)
    )


def stated_arch(contents: Contents, state: State) -> str | None:
    """What a folder says is binding; what a checkpoint says settles what its keys leave open."""
    arch = contents.stated_arch
    if arch is None or contents.kind in (Kind.ASSIMILATED, Kind.TIMM_FOLDER):
        return arch
    return arch if architecture.is_known(arch) and architecture.n_classes(arch, state.shapes) is not None else None


def _one_of(contents: Contents, found: tuple[str, ...], state: State) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise ModelError(f"{contents.path}: fits {', '.join(found)}; say which with --arch")
    first = ", ".join(list(state.tensors)[:3])
    for place in branches(contents)[:MAX_BRANCHES]:
        if architecture.candidates(named_state(contents, ".".join(place)).shapes):
            raise ModelError(
                f"{contents.path}: holds more than one network, or one and something else (keys such as {first}); pass "
                f"{flag('--weights', '.'.join(place))} to take what lies there alone, or --factory "
                "package.module:function"
            )
    raise ModelError(
        f"{contents.path}: fits no architecture robaudit infers (keys such as {first}); pass --arch, a timm name, "
        "or --factory package.module:function for a network of your own"
    )


def factory_network(factory: str) -> Network:
    """The network that the user's own code makes, its weights not yet the file's.

    Raises:
        ModelError: it makes none.
    """
    module = call_factory(factory)
    return Network(
        module, factory, first_channels(module), asks_channels=True, is_program=True, runs_code=True, factory=factory
    )  # fmt: skip


def _from_factory(contents: Contents, asked: Asked) -> Network:
    assert asked.factory is not None
    network = factory_network(asked.factory)
    state = state_for(contents, network.module.state_dict().keys(), asked.weights)
    behind = behind_normalizer(contents, state)
    if state.branch:  # the person has left a layer that normalises beside what they name
        return _filled(network, contents, behind)
    return replace(_filled(network, contents, state), inside=values_of(contents, behind))


def library_network(contents: Contents) -> Network:
    """The network that a folder's configuration names, its weights not yet the folder's.

    Raises:
        ModelError: the library is not installed or has no such network, or its weights are not the folder's.
    """
    make = {Kind.HUGGING_FACE_FOLDER: hugging_face_network, Kind.TIMM_FOLDER: timm_network}.get(
        contents.kind, monai_network
    )
    with torch.random.fork_rng():
        name, module = make(contents)
    own = architecture.native_size(name, {}) if contents.kind is Kind.TIMM_FOLDER else None
    size, source = own or (None, "architecture")
    library = contents.kind, contents.metadata
    return Network(
        module, name, first_channels(module), size, source, asks_channels=True, is_program=True, library=library
    )  # fmt: skip


def _from_library(contents: Contents, asked: Asked) -> Network:
    with torch.device("meta"):  # an absurd configuration is told from the weights before it takes any memory
        empty = library_network(contents)
    wanted = {key: tuple(tensor.shape) for key, tensor in empty.module.state_dict().items()}
    state = state_for(contents, wanted.keys(), asked.weights)
    if contents.kind is Kind.HUGGING_FACE_FOLDER:
        return _from_hugging_face(contents, empty, state)
    problem = misfit(state.shapes, wanted)
    if problem:
        raise ModelError(f"{contents.path}: does not fit {empty.arch} ({problem}); fetch or save it again")
    return _filled(library_network(contents), contents, state)


def _from_hugging_face(contents: Contents, empty: Network, state: State) -> Network:
    n_wanted = sum(tensor.numel() for tensor in empty.module.state_dict().values())
    n_held = sum(tensor.n_elements for tensor in state.tensors.values())
    if n_wanted > 2 * n_held:
        raise ModelError(
            f"{contents.path}: does not fit {empty.arch} (its config.json wants {n_wanted:,} numbers, its weights have "
            f"{n_held:,}); fetch or save it again"
        )
    module = hugging_face_filled(contents, read_weights(contents, state))
    return replace(empty, module=module, place=state.place, left_out=contents.foreign_globals)


# Files that say themselves what is to be computed


def _from_program(contents: Contents, may_run_code: bool) -> Network:
    path, kind, file = contents.path, contents.file_kind, contents.weights
    assert file is not None
    if may_run_code and kind is not Kind.ONNX:  # which has no code to run
        held = stamped([file])
        module = load_trusted(file, kind, trusted_hash(contents))
        trusted = _of_channels(module, kind, stated(contents).channels, held)
        return replace(trusted, runs_code=True, inside=_inside(contents))
    if kind in RUNS_CODE:
        raise ModelError(_needs_trust(contents, f"is {RUNS_CODE[kind]}: it would import {_imports(contents)}"))
    try:
        return replace(_read_program(file, kind, stated(contents).channels), inside=_inside(contents))
    except DAMAGE as error:
        raise damaged(path, error) from None
    except ProgramError as error:
        if kind is Kind.ONNX:
            raise ModelError(
                f"{path}: cannot be read as ONNX ({error}); pass the weights it was exported from"
            ) from None
        raise ModelError(
            _needs_trust(contents, f"is {kind.value} that robaudit does not compute itself: {error}")
        ) from None


def program_refusal(contents: Contents) -> str | None:
    """Why a program would not be loaded if nothing more were said of it; None where it would."""
    try:
        _from_program(contents, may_run_code=False)
    except ModelError as error:
        return str(error).removeprefix(f"{contents.path}: ")
    return None


def _inside(contents: Contents) -> Values | None:
    """Mean and standard deviation of a layer that normalises, among the weights of a program."""
    try:
        return values_of(contents, named_state(contents))
    except ModelError:  # it names no weights, or those of an old format: they are not needed to compute it
        return None


def _read_program(file: Path, kind: Kind, channels: int | None) -> Network:
    held = stamped([file])
    if kind is Kind.ONNX:
        graph, shape, beside = read_onnx(file)
        return _traced(graph, kind, shape, held | beside)
    if kind is Kind.EXPORTED_PROGRAM:
        exported, shape = read_exported(file)
        return _traced(exported, kind, shape, held)
    return _of_channels(read_scripted(file), kind, channels, held)


def _traced(network: nn.Module, kind: Kind, shape: tuple[int | None, ...], files: Mapping[Path, Stamp]) -> Network:
    if len(shape) != 4:
        raise ProgramError(f"its input has {len(shape)} dimensions, wanted batch, channels, height, width")
    batch, channels, height, width = shape
    if width in READ_CHANNELS and (channels is None or channels > max(READ_CHANNELS)):
        raise ModelError(
            f"{next(iter(files))}: its input is (batch, {channels or 'height'}, {height or 'width'}, {width}): it "
            "seems to want channels last, and robaudit gives (batch, channels, height, width); export it with "
            "x.permute(0, 2, 3, 1) in front"
        )
    size = (height, width) if height is not None and width is not None else None
    return replace(_of_channels(network, kind, channels, files), size=size, batch=batch)


def _of_channels(module: nn.Module, kind: Kind, channels: int | None, files: Mapping[Path, Stamp]) -> Network:
    asks, channels = channels is None, channels or first_channels(module)
    return Network(module, kind.value, channels, asks_channels=asks, is_program=True, files=files)


def _needs_trust(contents: Contents, what: str) -> str:
    ways = "save model.state_dict() with torch.save or safetensors and pass that"
    if contents.groups:
        found = architecture.candidates(named_state(contents).shapes)
        ways += f", pass --arch{f' {found[0]}' if len(found) == 1 else ''} to use its weights alone"
    return (
        f"{contents.path}: {what}; {ways}, or, if you trust whoever made it with this computer, "
        f"--trust {trusted_hash(contents)}"
    )


def _imports(contents: Contents) -> str:
    return ", ".join(contents.foreign_globals[:3]) or "nothing"
