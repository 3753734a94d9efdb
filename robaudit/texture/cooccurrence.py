"""The soft grey-level co-occurrence matrix, and its angular second moment.

A pixel between two grey levels belongs to both, with weights linear in its distance (one weight 1 and one 0
exactly at an integer level). A pair of pixels so falls into 2x2 bins, and P depends on the pixels bilinearly.

Shapes: patches are (S, S, M), patches last, in grey levels [0, L-1]; N pairs per patch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from robaudit.texture.patches import Offset, pairs

_TABLE_ELEMENTS, _TABLE_ELEMENTS_ON_GPU = 2**19, 2**25
"""Co-occurrence counts held at a time: a processor's should stay in its cache (measured best at 2 to 4 MB); a GPU has
the memory, and gains by every kernel that it need not start."""

_UNIT = 2.0**-40
"""Of the integers that a GPU counts in."""


def second_moment_and_slope(
    patches: Tensor, offset: Offset, levels: int, *, slope_wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Sum of P^2 (M,), and its gradient with respect to the patches (S, S, M), while the table is at hand.

    The sum lies in [1/N, 1] on integer levels; its gradient has kinks where a pixel crosses one, and is always finite.

    Autograd would keep a table of L x L per patch until the backward pass (0.5 GB per 224x224 image at 256
    levels and four orientations); the gradient is no larger than the patches.
    """
    low, fraction = _split(patches, levels)
    values, slopes = [], []
    n_elements = _TABLE_ELEMENTS if patches.device.type == "cpu" else _TABLE_ELEMENTS_ON_GPU
    step = max(1, n_elements // levels**2)
    for chunk_low, chunk_fraction in zip(torch.split(low, step, 2), torch.split(fraction, step, 2), strict=True):
        pair = _Pair(chunk_low, chunk_fraction, offset, levels)
        table = pair.table()
        values.append(table.square().sum(1) / pair.n_pairs**2)
        if slope_wanted:
            slopes.append(pair.slope(table))
    return torch.cat(values), torch.cat(slopes, 2) if slope_wanted else None


class _Pair:
    """The pairs of some patches at one offset, as bins and weights."""

    def __init__(self, low: Tensor, fraction: Tensor, offset: Offset, levels: int) -> None:
        self.offset, self.levels, self.shape = offset, levels, low.shape
        low_first, low_second = pairs(low, offset)
        self.n_pairs = low_first.shape[0] * low_first.shape[1]
        start = torch.arange(self.shape[2], device=low.device) * levels**2
        # The lower of the 2x2 bins, in one row of tables; (N * M).
        self.bins = (low_first * levels + low_second + start).flatten()
        self.first, self.second = (side.flatten() for side in pairs(fraction, offset))

    def table(self) -> Tensor:
        """Counts, (M, L*L)."""
        both = self.first * self.second
        weights = (1 - self.first - self.second + both, self.second - both, self.first - both, both)
        if both.is_cuda:
            return self._sums([(weight / _UNIT).round().long() for weight in weights]).to(both.dtype) * _UNIT
        return self._sums(weights)

    def _sums(self, weights: Sequence[Tensor]) -> Tensor:
        """Weights of the four corners, added up bin by bin, (M, L*L).

        A GPU adds in any order: floats would not come out the same every time, integers do.
        """
        flat = weights[0].new_zeros(self.shape[2] * self.levels**2)
        for corner, weight in zip(self._corners(flat), weights, strict=True):
            corner.scatter_add_(0, self.bins, weight)
        return flat.view(self.shape[2], -1)

    def slope(self, table: Tensor) -> Tensor:
        """Gradient of sum(table^2) / N^2 with respect to the patches, (S, S, M)."""
        neither, only_second, only_first, both = (
            corner.index_select(0, self.bins) for corner in self._corners(table.view(-1))
        )
        twist = both - only_first - only_second + neither
        slope = table.new_zeros(self.shape)
        to_first, to_second = pairs(slope, self.offset)
        to_first += (only_first - neither + self.second * twist).view(to_first.shape)
        to_second += (only_second - neither + self.first * twist).view(to_second.shape)
        return slope * (2 / self.n_pairs**2)

    def _corners(self, flat: Tensor) -> tuple[Tensor, ...]:
        """Four views of the tables, so that one index reaches the bins (i, j), (i, j+1), (i+1, j), (i+1, j+1)."""
        return tuple(flat[shift:] for shift in (0, 1, self.levels, self.levels + 1))


def _split(patches: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Lower grey level (integer, at most L-2, so that the upper one exists) and the fraction above it."""
    low = patches.floor().clamp(0, levels - 2)
    return low.long(), patches - low
