"""Asking a network once, before hours are spent: does it take this grid, and what does it answer?"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.errors import ModelError, first_line
from robaudit.load.bounded import MAX_ELEMENTS, Bounded
from robaudit.load.channels import channels_taken
from robaudit.load.head import Head, as_row, choose_output, named_outputs
from robaudit.load.kinds import ProgramError
from robaudit.load.network import Network

SAME = 1e-3
"""Largest difference between answers for a picture alone and beside another, relative to the largest of them."""


class FixedBatch(nn.Module):
    """A network that was traced for one size of batch, asked in batches of that size."""

    def __init__(self, network: nn.Module, batch: int) -> None:
        super().__init__()
        self.network = network
        self.batch = batch

    def forward(self, x: Tensor) -> Any:
        """(B, C, H, W) -> the answers of the network, joined."""
        filled = torch.cat([x, x[-1:].expand(-len(x) % self.batch, -1, -1, -1)])
        answers = [self.network(part) for part in torch.split(filled, self.batch)]
        return _joined(answers, len(x), self.batch)


@dataclass(frozen=True)
class Tried:
    """A network that answers a row of numbers per image."""

    backbone: nn.Module
    n_outputs: int
    output: str | None
    """Which part of a structured answer the row is."""


def with_channels(path: Path, network: Network, size: tuple[int, int], likely: int) -> Network:
    """The same network with as many channels as it takes, where its first convolution alone has told so far."""
    if not network.asks_channels:
        return network
    module = network.module.eval()
    whole = module if network.batch is None else FixedBatch(module, network.batch)
    try:
        return replace(network, in_chans=channels_taken(partial(_ask, path, network, whole), size, likely=likely))
    except (ModelError, ValueError):  # of 4 or more, or of another size or precision: asked again, and told then
        return network


def tried(path: Path, network: Network, size: tuple[int, int], output: str | None, label_index: int | None) -> Tried:
    """Ask for two pictures, and return the network as it then has to be used.

    Raises:
        ModelError: it takes no such pictures, computes something absurd, or answers no row of numbers per image.
    """
    shape = 2, network.in_chans, *size
    if prod(shape) > MAX_ELEMENTS:  # a file may state any
        raise ModelError(
            f"{path}: would take {size[0]}x{size[1]} images of {network.in_chans} channel(s), more than any model's; "
            "pass the grid it was trained on with --input-size"
        )
    pictures = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    module = network.module.eval()
    if network.is_program:
        module = _for_any_batch(path, network, _in_float32(path, network, module, pictures), pictures)
    answer = _ask(path, network, module, pictures)
    output = choose_output(path, answer, output)
    row = as_row(answer if output is None else named_outputs(answer)[output])
    assert row is not None
    if len(row) != len(pictures):
        raise ModelError(f"{path}: answers {len(row)} rows for {len(pictures)} images, wanted one per image")
    plain = output is None and label_index is None and answer is row
    n_outputs = row.shape[1]
    return Tried(module if plain else Head(module, n_outputs, output, label_index), n_outputs, output)


def _in_float32(path: Path, network: Network, module: nn.Module, pictures: Tensor) -> nn.Module:
    """A network that takes pictures in no precision but its own, widened; any other as it is."""
    if all(held is torch.float32 for held in _precisions(module)):
        return module
    try:
        _ask(path, network, FixedBatch(module, network.batch or 1), pictures)
    except ModelError:
        return module.float()  # half or double precision; float32 holds every number of half, and small gradients
    return module


def _precisions(module: nn.Module) -> set[torch.dtype]:
    return {held.dtype for held in (*module.parameters(), *module.buffers()) if held.is_floating_point()}


def _for_any_batch(path: Path, network: Network, module: nn.Module, pictures: Tensor) -> nn.Module:
    """The network, or a wrapper where it was traced for one size of batch, or answers one image without a batch.

    Raises:
        ModelError: what it answers for a picture depends on the pictures beside it.
    """
    batch = network.batch or 1
    alone = FixedBatch(module, batch)
    by_itself = _ask(path, network, alone, pictures)
    if batch > 1:
        return alone
    try:
        together = _ask(path, network, module, pictures)
    except ModelError:
        return alone
    if all(_same(one, other) for one, other in zip(_tensors(by_itself), _tensors(together), strict=False)):
        if _n_dimensions(together) == 2 and _n_dimensions(_ask(path, network, module, pictures[:1])) == 1:
            return Head(module, together.shape[1], None, None)  # `.squeeze()` drops the batch of one image
        return module
    if _answers_differ(path, network, alone, pictures):
        raise ModelError(f"{path}: answers differently when asked twice; save it in evaluation mode (model.eval())")
    if network.batch == 1:
        return alone
    raise ModelError(
        f"{path}: its answer for an image depends on the other images of the batch; save it in evaluation mode "
        "(model.eval())"
    )


def _n_dimensions(answer: Any) -> int | None:
    return answer.dim() if isinstance(answer, Tensor) else None


def _answers_differ(path: Path, network: Network, module: nn.Module, pictures: Tensor) -> bool:
    first, second = (_tensors(_ask(path, network, module, pictures)) for _ in range(2))
    return not all(_same(one, other) for one, other in zip(first, second, strict=True))


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    finite = one.isfinite() & other.isfinite()
    difference, size = (one - other)[finite].abs(), one[finite].abs()
    return not finite.any() or bool(difference.max() <= SAME * size.max().clamp(min=1e-6))


def _tensors(answer: Any) -> list[Tensor]:
    parts = [answer] if isinstance(answer, Tensor) else list(named_outputs(answer).values())
    return [part for part in parts if isinstance(part, Tensor) and part.is_floating_point()]


def _joined(answers: list[Any], n: int, batch: int) -> Any:
    """Answers of several batches as one."""
    first = answers[0]
    if isinstance(first, Tensor):
        return torch.cat([_with_its_batch(answer) if batch == 1 else answer for answer in answers])[:n]
    outputs = [named_outputs(answer) for answer in answers]
    return {
        name: torch.cat([output[name] for output in outputs])[:n]
        for name, value in outputs[0].items()
        if isinstance(value, Tensor) and value.dim()
    }


def _with_its_batch(answer: Tensor) -> Tensor:
    """The answer for one image, from which `.squeeze()` drops the batch: one number, or a row of several."""
    if answer.dim() == 0:
        return answer.reshape(1)
    return answer.unsqueeze(0) if answer.dim() == 1 and len(answer) > 1 else answer


def _ask(path: Path, network: Network, module: nn.Module, pictures: Tensor) -> Any:
    height, width = pictures.shape[-2:]
    bounds: AbstractContextManager[Any] = Bounded() if network.is_program and not network.runs_code else nullcontext()
    try:
        with torch.no_grad(), bounds:
            return module(pictures)
    except ProgramError as error:
        raise ModelError(f"{path}: is not computed ({first_line(error)}); pass the weights it was saved from") from None
    except Exception as error:
        # A program of the file, or code of the user's own: it can fail in any way.
        raise ModelError(
            f"{path}: takes no {height}x{width} images of {pictures.shape[1]} channel(s) ({first_line(error)}); "
            "pass the grid it was trained on with --input-size"
        ) from None
