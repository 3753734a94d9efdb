"""Pictures for a network to answer where there are no images at hand."""

import torch
from torch import Tensor
from torch.nn import functional as F


def generated(channels: int, size: tuple[int, int]) -> Tensor:
    """Black, white, noise, smooth and striped pictures, (7, C, H, W) in [0, 1]: an odd batch, and always the same."""
    height, width = size
    noise = torch.rand(3, channels, height, width, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise[:1], 9, stride=1, padding=4)
    stripes = (torch.arange(width) % 8 < 4).float().expand(1, channels, height, width)
    flat = torch.zeros(1, channels, height, width)
    return torch.cat([flat, flat + 1, noise, smooth, stripes])
