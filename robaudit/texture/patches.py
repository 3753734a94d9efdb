"""Images cut into square patches, and patches into pixel pairs at an offset.

Inside this package a stack of patches is laid out *patches last*, (size, size, M): every step is then one
sweep over many patches side by side, which is several times faster than many sweeps over rows of 20.
"""

from torch import Tensor

PATCH = 20
"""Side of a patch in pixels (Chen & Luo 2024); also the stride, so patches do not overlap."""

Offset = tuple[int, int]


def grid(height: int, width: int, patch: int = PATCH) -> tuple[int, int]:
    """Rows and columns of whole patches in an image; the remainder at the bottom and right is left out.

    A 224x224 image holds 11x11 patches of 20 pixels; its last 4 rows and columns are not looked at.

    Raises:
        ValueError: the image is smaller than one patch.
    """
    rows, columns = height // patch, width // patch
    if rows == 0 or columns == 0:
        raise ValueError(f"an image of {height}x{width} pixels holds no patch of {patch}x{patch}")
    return rows, columns


def cut(images: Tensor, patch: int = PATCH) -> Tensor:
    """Cut one-channel images into patches, row by row.

    Args:
        images: (B, 1, H, W).
        patch: side and stride in pixels.

    Returns:
        (B, N, patch, patch) with N = (H // patch) * (W // patch).

    Raises:
        ValueError: more than one channel, or smaller than one patch.
    """
    batch, channels, height, width = images.shape
    if channels != 1:
        raise ValueError(f"texture is measured on one channel, got {channels}; convert to grey first")
    rows, columns = grid(height, width, patch)
    whole = images[:, 0, : rows * patch, : columns * patch]
    tiles = whole.reshape(batch, rows, patch, columns, patch).transpose(2, 3)
    return tiles.reshape(batch, rows * columns, patch, patch)


def pairs(patches: Tensor, offset: Offset) -> tuple[Tensor, Tensor]:
    """All pixel pairs (first, second) of each patch in which `second` lies `offset` away from `first`.

    Args:
        patches: (S, S, M), patches last.
        offset: (rows down, columns right), each shorter than S.

    Returns:
        Two views of (S - |rows|, S - |columns|, M).
    """
    (top, bottom), (left, right) = (_overlap(length, step) for length, step in zip(patches.shape, offset, strict=False))
    return patches[top, left], patches[bottom, right]


def _overlap(length: int, step: int) -> tuple[slice, slice]:
    """Where a line of `length` pixels overlaps itself moved by `step`: the firsts, the seconds."""
    return slice(max(0, -step), length - max(0, step)), slice(max(0, step), length - max(0, -step))
