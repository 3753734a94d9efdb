"""What a network hands to its last layer: features of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


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
