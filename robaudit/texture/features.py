"""Four of the five texture features, straight from pixel pairs, without building a co-occurrence matrix.

A mean over the pairs of a patch equals a sum over its normalised co-occurrence matrix P wherever the grey
levels are integers: sum_ij g(i, j) P_ij = mean of g(first, second). Between integer levels the mean over pairs
is the definition here. It needs no bins, so these four do not depend on where the bin edges lie (two-bin
weights would add f(1-f) of contrast that is not in the image).

Shapes: first, second are (rows, columns, M), in grey levels, as `patches.pairs` gives them; results are (M,).
L is the number of grey levels.
"""

import torch
from torch import Tensor

FLAT_STD = 4 / 255
"""Standard deviation, as a fraction of the grey range, at and below which a patch counts as having hardly any
texture: a few levels of an 8-bit image, what noise and compression leave in plain background. Ours."""

PAIR = (0, 1)


def contrast(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference, in [0, (L-1)^2]."""
    return (first - second).square().mean(PAIR)


def dissimilarity(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference, in [0, L-1]."""
    return (first - second).abs().mean(PAIR)


def homogeneity(first: Tensor, second: Tensor) -> Tensor:
    """Mean of 1 / (1 + |difference|), in (0, 1]; scikit-image's `homogeneity` squares the difference."""
    return (1 + (first - second).abs()).reciprocal().mean(PAIR)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of the two pixels of a pair, in [-1, 1]; 1 where either has zero variance, as scikit-image has it.

    Exact, for measuring. It jumps where a patch becomes constant, and its gradient grows without bound nearby;
    training uses (cov + k) / sqrt(var_first * var_second + k^2) with k of `regulariser`, which is 1 on constant patches
    and smooth from there: without k an edit of one grey level in plain background would swing the value by up to 2. It
    exceeds 1, up to sqrt(2), where a patch is strongly correlated with a variance near k.
    """
    covariance, variance_first, variance_second = _moments(first, second)
    defined = (variance_first > 0) & (variance_second > 0)
    return torch.where(defined, covariance / (variance_first.sqrt() * variance_second.sqrt()), 1)


def regulariser(levels: int) -> float:
    """k: the variance, in squared grey levels, at and below which a patch counts as flat."""
    return (FLAT_STD * (levels - 1)) ** 2


def _moments(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance and the two variances."""
    first, second = centred(first), centred(second)
    return (first * second).mean(PAIR), first.square().mean(PAIR), second.square().mean(PAIR)


def centred(pixels: Tensor) -> Tensor:
    """Minus the mean of each patch; exactly zero on a constant patch."""
    # The mean of equal numbers can differ from them in the last bit; of zeros it cannot. Starting from one pixel
    # makes the variance of a constant patch exactly zero.
    pixels = pixels - pixels[:1, :1]
    return pixels - pixels.mean(PAIR, keepdim=True)
