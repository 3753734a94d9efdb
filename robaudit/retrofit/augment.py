"""Random changes of training images that leave the diagnosis alone. Off unless asked for.

Which of them a diagnosis survives is for the person to say: a left-right flip moves the heart to the other side.
"""

from collections.abc import Collection
from math import radians

import torch
from torch import Tensor
from torch.nn import functional as F

from robaudit.retrofit.draws import Draws

AUGMENTATIONS = ("flip", "flip-vertical", "shift", "rotate", "intensity")

MAX_SHIFT = 0.05
"""Of height and width."""
MAX_DEGREES = 10.0
MAX_GAIN = 0.1
"""Contrast from 0.9 to 1.1 around mid-grey, brightness up to 0.1 either way."""


def augmented(pixels: Tensor, kinds: Collection[str], random: Draws) -> Tensor:
    """Change each image by its own draw.

    Args:
        pixels: (B, C, H, W) in [0, 1].
        kinds: out of `AUGMENTATIONS`.
        random: the same draws whatever the device.

    Returns:
        The same shape, in [0, 1]. What a shift or rotation uncovers repeats the border.
    """
    batch = len(pixels)

    def draw(bound: float) -> Tensor:
        """A number in [-bound, bound] per image; drawn for every kind, so that one does not move another's draws."""
        return ((2 * random.uniform([batch]) - 1) * bound).to(pixels.device)

    across, down, turn = draw(1), draw(1), draw(radians(MAX_DEGREES))
    right, below, gain, bias = draw(2 * MAX_SHIFT), draw(2 * MAX_SHIFT), draw(MAX_GAIN), draw(MAX_GAIN)
    if "flip" in kinds:
        pixels = torch.where(_column(across) > 0, pixels.flip(3), pixels)
    if "flip-vertical" in kinds:
        pixels = torch.where(_column(down) > 0, pixels.flip(2), pixels)
    if {"shift", "rotate"} & set(kinds):
        still = torch.zeros_like(turn)
        turn = turn if "rotate" in kinds else still
        right, below = (right, below) if "shift" in kinds else (still, still)
        pixels = _moved(pixels, turn, right, below)
    if "intensity" in kinds:
        pixels = (0.5 + (1 + _column(gain)) * (pixels - 0.5) + _column(bias)).clamp(0, 1)
    return pixels


def _moved(pixels: Tensor, turn: Tensor, right: Tensor, below: Tensor) -> Tensor:
    """Rotate by `turn` radians and shift, in units where the image spans [-1, 1]."""
    height, width = pixels.shape[2:]
    aspect = height / width  # a rotation of pixels, not of the unit square
    rows = [turn.cos(), -turn.sin() * aspect, right, turn.sin() / aspect, turn.cos(), below]
    theta = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False).clamp(0, 1)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
