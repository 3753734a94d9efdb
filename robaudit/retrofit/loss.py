"""The loss of domain assimilation: the diagnosis must stay right, and the texture must stay what it was.

    alpha * (cross-entropy + beta * divergence) + (1 - alpha) * texture
    texture = max over rows of sum over columns | SOT(grey(A)) - SOT(grey(X)) |, per image, mean over the batch

Chen & Luo 2024. A is what the backbone sees, C(T(X)); the source writes C(X). Rows are patches, so the term bounds
the worst-distorted patch; the source does not say which axis the row is. The divergence is there under TRADES alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from robaudit.front.front import Front
from robaudit.texture.patches import PATCH
from robaudit.texture.sot import LEVELS, loss_features

Rows = Literal["patches", "features"]
GlcmOn = Literal["front", "color"]


class NotFiniteError(Exception):
    """The loss became NaN or infinite."""


@dataclass(frozen=True)
class TextureTerm:
    """How texture is compared."""

    levels: int = LEVELS
    patch: int = PATCH
    rows: Rows = "patches"
    scaled: bool = True
    """Each feature brought to a range of one; otherwise raw, in grey levels."""
    glcm_on: GlcmOn = "front"
    """`front` compares C(T(X)); `color` compares C(X), the source's letter."""

    def features(self, image: Tensor) -> Tensor:
        """SOT matrix (B, N, 40) of images (B, 1 or 3, H, W) in [0, 1]."""
        return loss_features(grayscale(image), levels=self.levels, patch=self.patch, scaled=self.scaled)

    def picture(self, front: Front, image: Tensor, seen: Tensor) -> Tensor:
        """A: the picture whose texture must stay that of `image`; `seen` is `front(image)`.

        A front without C has only T to look at, whatever `glcm_on` says.
        """
        if self.glcm_on == "color" and front.colour is not None:
            coloured: Tensor = front.colour(image)
            return coloured
        return seen


@dataclass(frozen=True)
class TextureDistance:
    """How far the texture of each image of a batch moved, and where most."""

    per_image: Tensor
    """(B,), differentiable."""
    patch: Tensor
    """(B,), the patch that set the maximum, or that added most to it."""
    column: Tensor
    """(B,), the column (orientation and feature) that added most to the maximum, or set it."""

    @property
    def mean(self) -> Tensor:
        """The texture term of the loss, a scalar."""
        return self.per_image.mean()


def texture_distance(matrix: Tensor, target: Tensor, rows: Rows) -> TextureDistance:
    """Largest row sum of the absolute difference of two SOT matrices (B, N, 40)."""
    difference = (matrix - target).abs()
    if rows == "features":
        difference = difference.mT
    per_image, row = difference.sum(2).max(1)
    member = difference.detach().take_along_dim(row[:, None, None], 1).squeeze(1).argmax(1)
    patch, column = (row, member) if rows == "patches" else (member, row)
    return TextureDistance(per_image, patch, column)


@dataclass(frozen=True)
class LossParts:
    """The loss by its parts, scalars."""

    total: Tensor
    cross_entropy: Tensor
    texture: Tensor
    """Zero where alpha is 1: then it is not computed."""
    divergence: Tensor
    """Weighted by beta; zero but under TRADES."""
    where: TextureDistance | None


def assimilation_loss(
    cross_entropy: Tensor,
    alpha: float,
    distance: Callable[[], TextureDistance],
    divergence: Tensor | None = None,
) -> LossParts:
    """Weigh the terms.

    Args:
        cross_entropy: mean over the batch, a scalar.
        alpha: share of what concerns the diagnosis, in [0, 1].
        distance: computes the texture distance; not called at alpha 1.
        divergence: of the perturbed from the clean answers, weighted by beta, a scalar; None for none.
    """
    nothing = cross_entropy.new_zeros(())
    divergence = nothing if divergence is None else divergence
    diagnosis = cross_entropy + divergence
    if alpha == 1:
        return LossParts(diagnosis, cross_entropy, nothing, divergence, None)
    where = distance()
    total = alpha * diagnosis + (1 - alpha) * where.mean
    return LossParts(total, cross_entropy, where.mean, divergence, where)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Cross-entropy, each image weighed by its class; the mean over images, so that batches add up.

    Args:
        logits: (B, K).
        labels: (B,), class indices.
        class_weights: (K,), or None for ones.
    """
    return weighted_mean(F.cross_entropy(logits, labels, reduction="none"), labels, class_weights)


def weighted_mean(losses: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Mean over images of losses (B,), each weighed by its class."""
    return losses.mean() if class_weights is None else (class_weights[labels] * losses).mean()


def grayscale(image: Tensor) -> Tensor:
    """Luma (ITU-R BT.601) of (B, 1 or 3, H, W) images, (B, 1, H, W).

    Written as green plus differences, so that three equal channels give exactly that channel: a front that
    changes nothing has a texture distance of zero, not of rounding noise.
    """
    if image.shape[1] == 1:
        return image
    red, green, blue = torch.split(image, 1, dim=1)
    return green + 0.299 * (red - green) + 0.114 * (blue - green)
