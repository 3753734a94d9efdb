"""The second-order texture (SOT) matrix of an image: what each patch's texture is, in each orientation.

Chen & Luo, "Domain Assimilation", PAKDD 2024 (arXiv 2402.16005). Rows are patches; columns are the five features
of 0 degrees, then those of 45 degrees, and so on to 315.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from robaudit.texture.cooccurrence import second_moment_and_slope
from robaudit.texture.features import (
    contrast,
    correlation,
    dissimilarity,
    homogeneity,
)
from robaudit.texture.fused import loss_features_of
from robaudit.texture.orientations import COMPUTED, DISTANCE, ORIENTATIONS, offset
from robaudit.texture.patches import PATCH, Offset, cut, grid, pairs

FEATURES = ("asm", "contrast", "homogeneity", "correlation", "dissimilarity")
"""Columns of one orientation, in order."""

COLUMNS = tuple(f"{feature}@{angle}" for angle in ORIENTATIONS for feature in FEATURES)
"""Name of every column."""

_PATCHES_AT_A_TIME, _PATCHES_AT_A_TIME_ON_GPU = 400, 2**14
"""Patches worked on together: what a processor computes on the way should stay in its cache; a GPU is given much."""

LEVELS = 32
"""Grey levels of the co-occurrence matrix; docs/texture.md says why."""


@torch.no_grad()
def second_order_texture(grey: Tensor, *, levels: int = LEVELS, patch: int = PATCH, distance: int = DISTANCE) -> Tensor:
    """Measure the texture of grey images: the features as they are defined. Carries no gradient.

    Args:
        grey: (B, 1, H, W), in [0, 1]; a pixel's grey level is grey * (levels - 1).
        levels: L, at least 2.
        patch: side and stride of the patches in pixels.
        distance: between the pixels of a pair.

    Returns:
        (B, N, 40), N patches row by row; columns as `COLUMNS`, in units of grey levels.

    Raises:
        ValueError: fewer than 2 levels, more than one channel, an image smaller than a patch, or a patch not
            larger than the distance.
    """
    return _matrix(grey, levels, patch, distance, _exact_features)


def loss_features(
    grey: Tensor, *, levels: int = LEVELS, patch: int = PATCH, distance: int = DISTANCE, scaled: bool = True
) -> Tensor:
    """The SOT matrix as training uses it: correlation regularised, and each feature brought to a range of one.

    Scaled are contrast by 1/(L-1)^2, dissimilarity by 1/(L-1) and correlation to (1 + correlation) / 2, so that none
    drowns the rest. With `scaled=False` only the regularisation remains.

    Arguments, shape and errors are those of `second_order_texture`. Gradients are finite for every image.
    """
    matrix = _matrix(grey, levels, patch, distance, loss_features_of)
    if not scaled:
        return matrix
    top = levels - 1
    scale = matrix.new_tensor([1, 1 / top**2, 1, 1 / 2, 1 / top]).repeat(len(ORIENTATIONS))
    shift = matrix.new_tensor([0, 0, 0, 1 / 2, 0]).repeat(len(ORIENTATIONS))
    return matrix * scale + shift


def _exact_features(patches: Tensor, step: Offset, levels: int) -> Tensor:
    first, second = pairs(patches, step)
    return torch.stack(
        [
            second_moment_and_slope(patches, step, levels, slope_wanted=False)[0],
            contrast(first, second),
            homogeneity(first, second),
            correlation(first, second),
            dissimilarity(first, second),
        ]
    )


def _matrix(
    grey: Tensor, levels: int, patch: int, distance: int, features: Callable[[Tensor, Offset, int], Tensor]
) -> Tensor:
    if levels < 2:
        raise ValueError(f"co-occurrence needs at least 2 grey levels, got {levels}")
    if patch <= distance:
        raise ValueError(f"a patch of {patch} pixels has no pixel pairs {distance} apart")
    rows, columns = grid(grey.shape[2], grey.shape[3], patch)
    n_patches = _PATCHES_AT_A_TIME if grey.device.type == "cpu" else _PATCHES_AT_A_TIME_ON_GPU
    group = max(1, n_patches // (rows * columns))
    return torch.cat([_of_group(images, levels, patch, distance, features) for images in torch.split(grey, group)])


def _of_group(
    grey: Tensor, levels: int, patch: int, distance: int, features: Callable[[Tensor, Offset, int], Tensor]
) -> Tensor:
    tiles = cut(grey, patch) * (levels - 1)
    patches = tiles.flatten(0, 1).movedim(0, 2).contiguous()  # (patch, patch, B*N)
    of_orientations = [features(patches, offset(angle, distance), levels) for angle in COMPUTED]
    half = torch.cat(of_orientations).T.reshape(*tiles.shape[:2], -1)  # (B, N, 20)
    return torch.cat([half, half], 2)
