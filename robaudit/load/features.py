"""What a network hands to its last layer, features of an image; and what that layer returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robaudit.load.outputs import LAYERS, two_columns, version


def penultimate(network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor] | None:
    """The input of the last linear layer, as a function of the network's input; differentiable.

    Args:
        network: in eval mode; left as it is.
        example: a few pictures (B, C, H, W), as the network takes them.

    Returns:
        (B, C, H, W) -> (B, D), or None where no linear layer takes one vector per picture.
    """
    called: list[nn.Module] = []

    def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 2 and len(output) == len(example):
            called.append(module)

    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_hook(note) for module in linear]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return None if not called else _input_of(network, called[-1])


def _input_of(network: nn.Module, layer: nn.Module) -> Callable[[Tensor], Tensor]:
    def features(x: Tensor) -> Tensor:
        caught: list[Tensor] = []
        handle = layer.register_forward_pre_hook(lambda _module, args: caught.append(args[0]))
        try:
            network(x)
        finally:
            handle.remove()
        return caught[-1]

    return features


def last_layer(network: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor] | None:
    """What the last linear layer returns, where the network does something to it before it answers; differentiable.

    Args:
        network: (B, C, H, W) -> logits (B, K).
        example: a few pictures, as the network takes them.

    Returns:
        (B, C, H, W) -> (B, K), or None where no linear layer has a number for each class, or the answers are its own.
    """

    def returned(x: Tensor) -> Tensor:
        with _LastLayer() as seen:
            network(x)
        assert seen.returned is not None
        return _as_logits(seen.returned)

    with torch.no_grad(), _LastLayer() as seen:
        answers = network(example)
    if seen.returned is None or _as_logits(seen.returned).shape != answers.shape or _is(seen.returned, answers):
        return None
    return returned


class _LastLayer(TorchFunctionMode):
    """Keeps what the last linear layer returned that gave one row per picture."""

    def __init__(self) -> None:
        super().__init__()
        self.returned: Tensor | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in LAYERS and result.ndim == 2:
            self.returned = result
        return result


def _as_logits(rows: Tensor) -> Tensor:
    """One number z as [-z/2, z/2]; more as they are."""
    return two_columns(rows) if rows.shape[1] == 1 else rows


def _is(rows: Tensor, answers: Tensor) -> bool:
    """Whether the answers are these very numbers: with one column of them, or the same memory that nothing wrote to."""
    same_memory = rows.untyped_storage().data_ptr() == answers.untyped_storage().data_ptr()
    return same_memory and version(rows) == version(answers)
