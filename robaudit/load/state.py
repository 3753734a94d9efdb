"""Where the weights of a model lie in its file: under which keys, and behind which prefix."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from robaudit.errors import ModelError
from robaudit.load.kinds import Contents, names
from robaudit.load.torch_pickle import TensorInfo

_NESTINGS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "module", "params")
_AVERAGES = (
    "model_ema", "ema", "ema_model", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "params_ema",
    "averaged_model", "average", "swa_model", "shadow",
)  # fmt: skip
_PLACES = {key: rank for rank, key in enumerate(_NESTINGS + _AVERAGES, start=1)}
_PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.", "net.", "network.", "timm_model.", "ema_model.")
_BOOKKEEPING = re.compile(
    r"(.*\.)?(n_averaged|total_ops|total_params|num_updates)|(criterion|loss\w*)\..*"
    r"|(class|pos|loss)_weights?|(train|val|valid|test)_\w*(acc|auc|auroc|f1|metric)\w*\..*"
)
"""What AveragedModel, profilers, metrics and Lightning modules keep beside the weights: no network computes with it."""


@dataclass(frozen=True)
class State:
    """Where the weights of a model lie in its file."""

    nesting: tuple[str, ...]
    """Keys that lead from what the file holds to the state dict; empty where it is the state dict."""
    prefix: str
    """What stands before every name and is no part of the architecture, such as `module.`."""
    tensors: Mapping[str, TensorInfo]
    """By names without the prefix."""
    alternatives: tuple[tuple[str, ...], ...] = ()
    """Other places in the file that hold a state dict, such as an average of the weights."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What the file calls a tensor, after the prefix, where that is another name."""
    branch: tuple[str, ...] = ()
    """First part of the names that were taken, where the state dict holds others beside them."""
    normalizer: tuple[str, str] | None = None
    """What the file calls the mean and standard deviation of a layer in front that normalises; None without one."""

    @property
    def place(self) -> str | None:
        """What `--weights` calls it; None for the top."""
        return ".".join((*self.nesting, *self.branch)) or None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor, by names without the prefix."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def state_tensors(contents: Contents, place: str | None = None) -> State:
    """Find the state dict in a file: where it is nested, and which prefix its names carry.

    Of several, the plain weights come before an average of them, as the names of their keys tell.

    Args:
        contents: of the file.
        place: the keys that lead to the one wanted, joined by dots; None chooses.

    Raises:
        ModelError: the file holds no tensors, several groups of them and none under a known key, or none at `place`.
    """
    if place is not None and place not in map(".".join, contents.groups):
        branch = next((found for found in branches(contents) if ".".join(found) == place), None)
        if branch is not None:
            return _of_branch(contents, branch)
    nesting, *alternatives = _places(contents, place)
    twin = _plain_beside_its_average(contents.groups[nesting]) if place is None else None
    if twin is not None:
        plain, average = twin
        return replace(_of_branch(contents, (*nesting, plain)), alternatives=((*nesting, average), *alternatives))
    prefix, tensors = without_prefix(contents.groups[nesting])
    return State(nesting, prefix, tensors, tuple(alternatives))


def branches(contents: Contents) -> list[tuple[str, ...]]:
    """Places inside state dicts: what a training class called each of the networks whose weights lie side by side."""
    return [
        (*path, first)
        for path, tensors in contents.groups.items()
        for first in dict.fromkeys(name.partition(".")[0] for name in tensors if "." in name)
    ]


def _of_branch(contents: Contents, place: tuple[str, ...]) -> State:
    *path, first = place
    below = _below(contents.groups[tuple(path)], first)
    prefix, tensors = without_prefix(below)
    return State(tuple(path), f"{first}.{prefix}", tensors, branch=(first,))


def _below(tensors: Mapping[str, TensorInfo], first: str) -> dict[str, TensorInfo]:
    return {name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{first}.")}


def _plain_beside_its_average(tensors: Mapping[str, TensorInfo]) -> tuple[str, str] | None:
    """Names of a network and of its average, where a state dict holds these two and nothing else."""
    firsts = {name.partition(".")[0] for name in tensors if not _BOOKKEEPING.fullmatch(name)}
    averages = firsts & set(_AVERAGES)
    if len(firsts) != 2 or len(averages) != 1:
        return None
    [average], [plain] = averages, firsts - averages
    alike = without_prefix(_below(tensors, plain))[1] == without_prefix(_below(tensors, average))[1]
    return (plain, average) if alike else None


def state_for(contents: Contents, keys: Collection[str], place: str | None = None) -> State:
    """The state dict, with as much of its prefix as a network with these keys has in its own names.

    Such a network may hold what others have no use for, such as the weights of its loss.

    Raises:
        ModelError: as `state_tensors`.
    """
    state = state_tensors(contents, place)
    parts = [f"{part}." for part in state.prefix.split(".")[:-1]]
    for kept in range(1, len(parts) + 1):
        if not keys & state.tensors.keys():
            before = "".join(parts[len(parts) - kept :])
            longer = {before + name: tensor for name, tensor in state.tensors.items()}
            if keys & longer.keys():
                state = State(state.nesting, "".join(parts[:-kept]), longer, state.alternatives)
    held = contents.groups[state.nesting]
    left_out = {name: held[state.prefix + name] for name in keys if state.prefix + name in held}
    return replace(state, tensors={**left_out, **state.tensors})


def _places(contents: Contents, place: str | None) -> list[tuple[str, ...]]:
    """Places that hold a state dict, the wanted or likeliest first."""
    found = {".".join(path): path for path in contents.groups}
    if place is not None and place not in found:
        raise ModelError(
            f"{contents.path}: holds no tensors under {place!r}, only under {names(found) or 'none'}; "
            "pass one of them with --weights"
        )
    known = [path for path in contents.groups if set(path) <= _PLACES.keys()]
    if not known and len(contents.groups) == 1:
        known = list(contents.groups)
    if not known and place is None:
        wanted = "save model.state_dict() on its own" if not found else "say which with --weights"
        raise ModelError(
            f"{contents.path}: holds no state dict under a known key (tensors under: {names(found) or 'none'}); "
            f"{wanted}"
        )
    ranked = sorted(known, key=lambda path: _rank(path, contents.groups[path]))
    if place is None:
        return ranked
    return [found[place], *(path for path in ranked if path != found[place])]


def _rank(path: tuple[str, ...], keys: Iterable[str]) -> tuple[int, ...]:
    """Preference among places, the lowest first."""
    if not path:
        # A state dict has dotted names; stray tensors beside a nested one (a mean, a class weight) have not.
        return (0 if any("." in key for key in keys) else len(_PLACES),)
    return tuple(_PLACES.get(key, 0) for key in path)


def without_prefix(tensors: Mapping[str, TensorInfo]) -> tuple[str, dict[str, TensorInfo]]:
    """Strip what stands before every name and is no part of an architecture.

    That is a wrapper's prefix (`module.`, `_orig_mod.`), or whatever a training class called its one network.
    """
    prefix = ""
    keys = [name for name in tensors if not _BOOKKEEPING.fullmatch(name)]
    while keys and (found := _common_prefix(keys)):
        prefix += found
        keys = [name.removeprefix(found) for name in keys]
        keys = [name for name in keys if not _BOOKKEEPING.fullmatch(name)]
    return prefix, {name: tensors[prefix + name] for name in keys}


def _common_prefix(keys: list[str]) -> str:
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in keys):
            return prefix
    first = {key.partition(".")[0] for key in keys}
    # A number names a place in a Sequential, where something without weights may stand beside the network; dotted
    # names must be left, or the one layer of a small network would lose its name.
    one = f"{next(iter(first))}." if len(first) == 1 and not next(iter(first)).isdigit() else ""
    rest = [key.removeprefix(one).split(".") for key in keys]
    parts = {key[0] for key in rest}
    return one if one and len(parts) > 1 and max(map(len, rest)) > 1 and not all(map(str.isdigit, parts)) else ""
