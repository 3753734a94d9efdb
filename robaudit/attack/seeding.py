"""Random numbers that belong to one image: independent of batch, order, worker and shard."""

import hashlib

import torch
from torch import Tensor


def derived_seed(seed: int, *parts: object) -> int:
    """A 63-bit seed from the run's seed and what the numbers are for."""
    text = "/".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def uniform(shape: torch.Size, radius: float, seed: int) -> Tensor:
    """Uniform numbers in [-radius, radius], drawn on the CPU so that every device sees the same ones."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) * 2 - 1) * radius
