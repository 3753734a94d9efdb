"""Random numbers for a batch that may be shared out: an image gets the same ones whoever has it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Random numbers for a batch of images, or for a part of it."""

    generator: torch.Generator
    """Of the CPU: the same numbers whatever the device."""
    first: int = 0
    """Where the part begins in the batch."""
    whole: int | None = None
    """Images of the batch; None: there is nothing but the part."""

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Numbers in [0, 1), a row per image of the part; the generator moves on as for the whole batch."""
        n_images, *rest = shape
        numbers = torch.rand(self.whole or n_images, *rest, generator=self.generator)
        return numbers[self.first : self.first + n_images]
