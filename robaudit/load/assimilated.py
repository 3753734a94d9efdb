"""A folder that assimilate wrote: the network it was made from is rebuilt, and its trained weights put in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robaudit.errors import ModelError, first_line
from robaudit.front.front import Front
from robaudit.load import architecture
from robaudit.load.contents import read_contents
from robaudit.load.kinds import Contents, Kind
from robaudit.load.network import Asked, Network, factory_network, library_network, named_network, read_network
from robaudit.load.recipe import altered_program
from robaudit.load.state import State
from robaudit.load.weights import put_into, read_weights
from robaudit.typed import flag

FRONT, BACKBONE, WRAPPED = "front.", "backbone.", "network."


@dataclass(frozen=True)
class Retrofitted:
    """The parts of a folder that assimilate wrote."""

    network: Network
    """As it was before the retrofit, its weights not the folder's yet."""
    front: Front
    weights: Mapping[str, Tensor]
    """Of the backbone."""


def read_assimilated(contents: Contents, asked: Asked) -> Retrofitted:
    """Rebuild the front and the network behind it.

    Raises:
        ModelError: damaged, or needs what the person has not passed.
    """
    weights = read_weights(contents, State((), "", contents.groups.get((), {})))
    front = _front(contents, _under(FRONT, weights))
    backbone = _under(BACKBONE, weights)
    return Retrofitted(_network(contents, asked, backbone), front, backbone)


def fill(path: Path, retrofitted: Retrofitted, backbone: nn.Module) -> None:
    """Put the trained weights into the backbone, once it is as it was trained.

    Raises:
        ModelError: they do not fit.
    """
    put_into(path, backbone, retrofitted.weights, retrofitted.network.arch)


def _network(contents: Contents, asked: Asked, backbone: Mapping[str, Tensor]) -> Network:
    config, path = contents.metadata, contents.path
    if "program" in config:
        name = str(config["program"])
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ModelError(f"{path}: its program lies elsewhere ({name}); assimilate again")
        assert contents.weights is not None
        folder = contents.weights.parent
        if altered := altered_program(folder, config):
            raise ModelError(
                f"{path}: its {altered} is not the file that was retrofitted, by the hash in config.json; put that "
                "file back, or assimilate again with --restart"
            )
        return read_network(read_contents(folder / name), replace(asked, arch=None, factory=None))
    if "factory" in config:
        if asked.factory is None or asked.factory != config["factory"]:
            raise ModelError(
                f"{path}: was made from the network of {config['factory']}, which is your own code; "
                f"pass {flag('--factory', str(config['factory']))}"
            )
        return factory_network(asked.factory)
    if "library" in config:
        kind = Kind(config["library"]["kind"])
        return library_network(replace(contents, kind=kind, metadata=config["library"]["config"]))
    return _by_name(path, asked.arch or contents.stated_arch or "", backbone, asked.size)


def _by_name(path: Path, arch: str, backbone: Mapping[str, Tensor], size: tuple[int, int] | None) -> Network:
    wrapped = all(name.startswith(WRAPPED) for name in backbone)
    shapes = {name.removeprefix(WRAPPED if wrapped else ""): tuple(t.shape) for name, t in backbone.items()}
    if not architecture.is_known(arch) or architecture.n_classes(arch, shapes) is None:
        problem = architecture.misfit(arch, shapes) if architecture.is_known(arch) else "unknown here"
        raise ModelError(f"{path}: does not fit {arch} ({problem}); assimilate again")
    return named_network(path, arch, shapes, size)


def _front(contents: Contents, weights: Mapping[str, Tensor]) -> Front:
    try:
        front = Front(**contents.metadata["front"])
        front.load_state_dict(dict(weights))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{contents.path}: its front does not fit its weights ({first_line(error)}); assimilate again"
        ) from None
    return front


def _under(prefix: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
