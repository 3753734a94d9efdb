"""What a network hands to its last layer, features of an image; and what that layer returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robaudit.load.outputs import LAYERS, are_still, two_columns, version


class NotAskedError(Exception):
    """A network did not ask its last layer about every picture: which layers it asks depends on the pictures."""


def penultimate(network: nn.Module, example: Tensor) -> Callable[[Tensor], Tensor] | None:
    """The input of the last linear layer, as a function of the network's input; differentiable.

    Args:
        network: in eval mode; left as it is.
        example: a few pictures (B, C, H, W), as the network takes them.

    Returns:
        (B, C, H, W) -> (B, D), or None where no linear layer takes one vector per picture. It raises `NotAskedError`
        where the network goes another way for some pictures, and not through that layer.
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
        if not caught or len(caught[-1]) != len(x):
            raise NotAskedError
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
            answers = network(x)
        # A network may leave pictures out of its last layer: then its answers are all there is to follow.
        rows = seen.returned
        return answers if rows is None or len(rows) != len(x) else _as_logits(rows)

    with torch.no_grad(), _LastLayer() as seen:
        answers = network(example)
    if seen.returned is None or _as_logits(seen.returned).shape != answers.shape or seen.is_answer(answers):
        return None
    return returned


class _LastLayer(TorchFunctionMode):
    """Keeps what the last linear layer returned that gave one row per picture, and one output before it became two."""

    def __init__(self) -> None:
        super().__init__()
        self.returned: Tensor | None = None
        """As it was returned, whatever is written over it."""
        self._last: tuple[Tensor, int] | None = None
        self._one_column: Tensor | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in LAYERS and result.ndim == 2:
            # Held on to: its memory could be given to another tensor, which would then pass for it.
            self.returned, self._last = result.clone(), (result, version(result))
        if func is two_columns:
            self._one_column = args[0]
        return result

    def is_answer(self, answers: Tensor) -> bool:
        """Whether the answers, one column of them if they were one, are these numbers, which nothing wrote to."""
        given = answers if self._one_column is None else self._one_column
        return self._last is not None and are_still(given, *self._last)


def _as_logits(rows: Tensor) -> Tensor:
    """One number z as [-z/2, z/2]; more as they are."""
    return two_columns(rows) if rows.shape[1] == 1 else rows
