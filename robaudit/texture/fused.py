"""The five features of training, with a gradient written by hand: one pass each way instead of some thirty.

The same numbers as `features` and a matrix written out give one by one, which the tests hold it to.

Shapes: patches are (S, S, M), patches last, in grey levels [0, L-1]; N pairs per patch.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from robaudit.texture.cooccurrence import second_moment_and_slope
from robaudit.texture.features import PAIR, centred, regulariser
from robaudit.texture.patches import Offset, pairs


def loss_features_of(patches: Tensor, offset: Offset, levels: int) -> Tensor:
    """ASM, contrast, homogeneity, regularised correlation and dissimilarity of each patch, (5, M); unscaled.

    Differentiable once; the gradient is finite everywhere.
    """
    result: Tensor = _LossFeatures.apply(patches, offset, levels)
    return result


class _LossFeatures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, offset: Offset, levels: int) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        moment, slope = second_moment_and_slope(patches, offset, levels, slope_wanted=wanted)
        first, second = pairs(patches, offset)
        difference = second - first
        distance = difference.abs()
        closeness = (1 + distance).reciprocal()
        first, second = centred(first), centred(second)
        variance_first, variance_second = first.square().mean(PAIR), second.square().mean(PAIR)
        k = regulariser(levels)
        covariance = (first * second).mean(PAIR) + k
        spread = (variance_first * variance_second + k * k).sqrt()
        if wanted:
            ctx.offset = offset
            ctx.save_for_backward(
                slope, difference, closeness, first, second, variance_first, variance_second, covariance, spread
            )
        return torch.stack(
            [
                moment,
                difference.square().mean(PAIR),
                closeness.mean(PAIR),
                covariance / spread,
                distance.mean(PAIR),
            ]
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        slope, difference, closeness, first, second, *moments = ctx.saved_tensors
        variance_first, variance_second, covariance, spread = moments
        n_pairs = difference.shape[0] * difference.shape[1]
        of_moment, of_contrast, of_homogeneity, of_correlation, of_dissimilarity = gradient / n_pairs
        of_covariance = of_correlation / spread
        of_variances = -of_correlation * covariance / spread**3
        # Contrast, homogeneity and dissimilarity see the difference alone: what pulls one pixel pushes the other.
        pull = 2 * of_contrast * difference
        pull += (of_dissimilarity - of_homogeneity * closeness.square()) * difference.sign()
        result = slope * (of_moment * n_pairs)
        to_first, to_second = pairs(result, ctx.offset)
        to_first += of_covariance * second + of_variances * variance_second * first - pull
        to_second += of_covariance * first + of_variances * variance_first * second + pull
        return result, None, None
