"""A model file in words and plain data: what `robaudit inspect` shows. Loads torch only to guess an architecture."""

import shlex
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from robaudit.errors import ModelError
from robaudit.load.kinds import PROGRAMS, Contents, Kind, ProgramError
from robaudit.load.normalization import normalization_of, own_of_pixels
from robaudit.load.renamed import named_state
from robaudit.load.state import State
from robaudit.load.stated import REGRESSION, Stated, stated
from robaudit.load.torch_pickle import TensorInfo
from robaudit.load.unchanged import require_unchanged
from robaudit.typed import flag

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_PICKLES = (Kind.PICKLED_MODULE, Kind.PICKLE)


@dataclass(frozen=True)
class Description:
    """What a model file holds and what can be done with it."""

    contents: Contents
    state: State | None
    """Where the weights lie; None where there are none."""
    stated: Stated
    """What the file says of itself."""
    architectures: tuple[str, ...]
    """The one the file names, or those whose keys and shapes fit; empty where unknown."""
    operators: tuple[str, ...]
    """What its program computes with."""
    input_size: tuple[tuple[int, int], str] | None
    """(height, width) of the pictures it takes, and where that is known from; None where a program or nobody knows."""
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
    def left_out(self) -> tuple[str, ...]:
        """What a pickle would import beside the weights: they load without it."""
        return () if self.contents.file_kind in _PICKLES else self.contents.foreign_globals

    @property
    def needs_arch(self) -> bool:
        """Whether only a person can say which architecture it is."""
        has_own = self.contents.file_kind in PROGRAMS or self.contents.kind is Kind.HUGGING_FACE_FOLDER
        return len(self.architectures) != 1 and not has_own

    @property
    def command(self) -> str | None:
        """The command that would audit it."""
        if self.obstacle is not None:
            return None
        needed = " --arch ARCH" if self.needs_arch else ""
        needed += " --classes NAMES" if self.stated.contradiction else ""
        needed += " --mean M --std S" if self.stated.unclear_normalization else ""
        needed += " --input-size H,W" if self.stated.unclear_size else ""
        needed += " --label-index N" if self.stated.many_findings and self.stated.label_index is None else ""
        return f"robaudit scan {shlex.quote(str(self.contents.path))} DATA{needed} --out out/before"

    def document(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        own = self.stated
        return {
            "path": str(self.contents.path),
            "kind": self.contents.kind.value,
            "sha256": self.contents.sha256,
            "size_bytes": self.contents.size_bytes,
            "architectures": list(self.architectures),
            "n_parameters": self.n_parameters,
            "nesting": list(self.state.nesting) if self.state else [],
            "prefix": self.state.prefix if self.state else "",
            "alternatives": [".".join(path) for path in self.state.alternatives] if self.state else [],
            "tensors": {name: {"shape": list(t.shape), "dtype": t.dtype} for name, t in self.tensors.items()},
            "classes": list(own.labels or own.possible_labels),
            "normalization": {"mean": own.mean, "std": own.std} if own.mean is not None else {},
            "input_size": self.input_size and self.input_size[0],
            "input_size_source": self.input_size and self.input_size[1],
            "threshold": own.threshold,
            "metadata": dict(self.contents.metadata),
            "globals": sorted(self.contents.globals),
            "foreign_globals": list(self.contents.foreign_globals),
            "operators": list(self.operators),
            "not_pure": list(self.contents.not_pure),
            "obstacle": self.obstacle,
            "command": self.command,
        }


def describe(contents: Contents) -> Description:
    """Say what can be done with a model file.

    Raises:
        ModelError: a folder's configuration holds what no model has, or its files changed meanwhile.
    """
    try:
        state, missing = named_state(contents), None
    except ModelError as error:
        state, missing = None, str(error).removeprefix(f"{contents.path}: ")
    architectures = _architectures(contents, state)
    operators, unreadable = _operators(contents)
    own = stated(contents)
    described = Description(
        contents,
        state,
        own,
        architectures,
        operators,
        (own.size, own.size_source) if own.size else _native_size(contents, state, architectures),
        _obstacle(contents, architectures, unreadable, missing) or _unusable(contents, own) or _unfit(contents, state),
    )
    require_unchanged(contents.files)
    return described


def _obstacle(
    contents: Contents, architectures: tuple[str, ...], unreadable: str | None, missing: str | None
) -> str | None:
    kind, trusted = contents.file_kind, contents.weights_sha256 or contents.sha256
    trust = f"or, if you trust whoever made it with this computer, pass --trust {trusted}"
    if kind in _PICKLES:
        arch = flag("--arch", architectures[0]) if architectures else "--arch"
        alone = f"pass {arch} to use its weights alone, "
        imports = ", ".join(contents.foreign_globals[:5])
        return f"loading it would run code it names ({imports}); {alone if contents.groups else ''}{trust}"
    if contents.not_pure:
        return f"its program does more than compute ({', '.join(contents.not_pure[:5])}); {trust}"
    return unreadable if kind in PROGRAMS else missing


def _unusable(contents: Contents, own: Stated) -> str | None:
    """Why what a configuration says would be refused."""
    if own.is_regression:
        return REGRESSION
    channels = 3 if own.mean is None else len(own.mean)
    try:
        clear = replace(own, unclear_normalization=None)  # what is not clear is said beside the command
        normalization_of(contents.path, own_of_pixels(contents, clear, None, channels), channels)
    except ModelError as error:
        return str(error).removeprefix(f"{contents.path}: ")
    return None


def _unfit(contents: Contents, state: State | None) -> str | None:
    """Why weights fit no network that would be built for them."""
    if state is None or contents.file_kind in PROGRAMS or contents.kind is Kind.ASSIMILATED or not _has_libraries():
        return None
    from robaudit.load.network import weights_refusal

    return weights_refusal(contents, state)


def _operators(contents: Contents) -> tuple[tuple[str, ...], str | None]:
    """Operators of a program, or why they cannot be told."""
    if contents.file_kind is not Kind.ONNX or contents.weights is None:
        return contents.operators, _unread(contents)
    if find_spec("onnx") is None or find_spec("torch") is None:
        return (), "it is an ONNX graph; pip install 'robaudit[onnx]' to read it"
    from robaudit.load.onnx_graph import network_of, operators_of, parsed

    try:
        model = parsed(contents.weights)
    except ProgramError as error:
        return (), f"{error}; fetch or export it again"
    operators = operators_of(model)
    try:
        network_of(model, contents.weights)
    except ProgramError as error:
        return operators, f"{error}; pass the weights it was exported from"
    return operators, None


def _unread(contents: Contents) -> str | None:
    """Why a TorchScript or exported program of pure operators is not computed all the same."""
    if contents.file_kind not in PROGRAMS or contents.not_pure or not _has_libraries():
        return None
    from robaudit.load.network import program_refusal

    return program_refusal(contents)


def _architectures(contents: Contents, state: State | None) -> tuple[str, ...]:
    if contents.kind is Kind.HUGGING_FACE_FOLDER and contents.stated_arch is None:
        return tuple(str(name) for name in contents.metadata["architectures"][:1])
    named = () if contents.stated_arch is None else (contents.stated_arch,)
    if state is None or not _has_libraries() or contents.kind is Kind.HUGGING_FACE_FOLDER:
        return named
    from robaudit.load.architecture import candidates
    from robaudit.load.network import stated_arch

    arch = stated_arch(contents, state)
    return candidates(state.shapes) if arch is None else (arch,)


def _native_size(
    contents: Contents, state: State | None, architectures: tuple[str, ...]
) -> tuple[tuple[int, int], str] | None:
    """What the architecture is trained at, where weights alone are loaded and it is the only one."""
    if state is None or len(architectures) != 1 or contents.file_kind in PROGRAMS or not _has_libraries():
        return None
    from robaudit.load.architecture import is_known, native_size

    return native_size(architectures[0], state.shapes) if is_known(architectures[0]) else None


def _has_libraries() -> bool:
    return find_spec("torch") is not None and find_spec("timm") is not None
