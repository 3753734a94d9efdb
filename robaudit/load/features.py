"""A network's last layer: what it is given, features of an image; what it returns; and its weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
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


def head_weights(network: nn.Module, example: Tensor) -> list[Tensor]:
    """Weights of the layer that a network answers with; of both, where its answer is made of two such layers' answers.

    Args:
        network: (B, C, H, W) -> (B, K), in evaluation mode; its weights take gradients.
        example: a picture or more, as the network takes them.

    Returns:
        Weights and biases; empty where the last layer's are not the network's own, or it has no number for each class.
    """
    found: dict[int, list[Tensor]] = {}
    while True:
        with torch.enable_grad(), _Layers(found) as seen:
            answers = network(example)
        weights = _last_that_decides(answers, seen)
        if weights is None:
            return [weight for weights in found.values() for weight in weights]
        found |= weights


def _last_that_decides(answers: Tensor, seen: _Layers) -> dict[int, list[Tensor]] | None:
    """The last layer that the answers depend on, by its place in the pass; None where none has a number per class."""
    for place in reversed(range(len(seen.weights))):
        weights, shape = seen.weights[place], seen.shapes[place]
        if answers.requires_grad and weights:
            gradients = torch.autograd.grad(answers.sum(), weights, allow_unused=True, retain_graph=True)
            if any(gradient is not None for gradient in gradients):
                return {place: weights} if answers.shape[1] in shape[1:] else None
    return None


class _Layers(TorchFunctionMode):
    """Keeps which weights each linear or convolutional layer was given; cuts gradients behind some of them."""

    def __init__(self, cut: Collection[int]) -> None:
        super().__init__()
        self.weights: list[list[Tensor]] = []
        self.shapes: list[torch.Size] = []
        """Of what they returned."""
        self._cut = cut

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func not in _APPLY_WEIGHTS:
            return result
        given = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
        # A weight may come transposed, as a view of the network's own.
        bases = [value if value._base is None else value._base for value in given]
        own: list[Tensor] = [base for base in bases if isinstance(base, nn.Parameter)]
        self.weights.append(own if any(weight.dim() > 1 for weight in own) else [])
        self.shapes.append(result.shape)
        return result.detach() if len(self.weights) - 1 in self._cut else result


_APPLY_WEIGHTS: frozenset[Any] = LAYERS | {
    *(F.conv2d, torch.convolution, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm),
    *(torch.ops.aten.conv2d, torch.ops.aten.conv2d.default, torch.ops.aten._convolution, torch.ops.aten.convolution),
    *(torch.ops.aten.convolution.default, torch.ops.aten.matmul, torch.ops.aten.matmul.default),
    *(torch.ops.aten.mm, torch.ops.aten.mm.default),
}
"""Linear and convolutional layers, as networks and programs name them."""


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
