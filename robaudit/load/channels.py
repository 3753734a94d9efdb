"""How many channels of a picture a network takes, where nothing says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.load.bounded import MAX_ELEMENTS
from robaudit.memory import ran_out

_COMMON = (3, 1)
"""In this order: what turns colour into grey, or repeats grey, may take either."""


def channels_taken(
    ask: Callable[[Tensor], Any], size: tuple[int, int], *, likely: int = 3, device: torch.device | None = None
) -> int:
    """The likely number, or 3, or 1: the first that a network answers with a row for each picture.

    Args:
        ask: pictures (2, C, H, W) -> its answer; raises whatever it will where it takes no such picture.
        size: (height, width) of the pictures.
        likely: to try before the others.
        device: where to ask.

    Raises:
        Exception: what the last asking raised, where it takes none of them.
    """
    for channels in (tried := [*dict.fromkeys((likely, *_COMMON))]):
        if 2 * channels * size[0] * size[1] > MAX_ELEMENTS:  # a file may state any
            continue
        try:
            answer = ask(torch.zeros(2, channels, *size, device=device))
        except Exception as error:
            if ran_out(error) or channels == tried[-1]:
                raise
            continue
        # `view(-1, 1, ...)` takes the channels of a picture for as many pictures.
        if not isinstance(answer, Tensor) or answer.dim() != 2 or len(answer) == 2:
            return channels
    raise ValueError("answers other than a row for each picture")


def first_channels(network: nn.Module) -> int:
    """Channels of the input, as the first convolution has them; 3 where there is none.

    A frozen program keeps its kernels among the constants. What has one filter only is rather a table of positions, or
    a mean: taken where there is nothing else.
    """
    tensors = (*network.parameters(), *network.buffers())
    kernels = [tensor for tensor in tensors if tensor.dim() == 4 and tensor.is_floating_point()]
    first = next((kernel for kernel in kernels if len(kernel) > 1), kernels[0] if kernels else None)
    return 3 if first is None else int(first.shape[1])
