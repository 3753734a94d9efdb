"""How sharp a model's loss is around an image: along two directions, and in the steepest of all.

The source explains weakness by a sharp loss landscape (Ma et al. 2021). All of it is the cross-entropy as a function of
the image, in the units of the threat model: eps in 255ths.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ITERATIONS = 10
"""Of the power iteration, unless told otherwise."""


@dataclass(frozen=True)
class Directions:
    """Sign patterns to walk along, as attacks and noise do."""

    adversarial: Tensor
    """(B, C, H, W): signs of the loss gradient."""
    random: Tensor
    """(B, C, H, W): random signs."""


def directions(classifier: nn.Module, pixels: Tensor, labels: Tensor, seed: int) -> Directions:
    """The two directions of each image."""
    (gradient,) = torch.autograd.grad(*_loss_at(classifier, pixels, labels))
    random = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, pixels.shape, generator=random).to(pixels) * 2 - 1
    return Directions(gradient.sign(), signs)


@torch.no_grad()
def loss_surface(classifier: nn.Module, pixels: Tensor, labels: Tensor, along: Directions, steps_255: Tensor) -> Tensor:
    """Cross-entropy on the plane the two directions span, mean over images.

    Args:
        classifier: (B, C, H, W) in [0, 1] -> (B, K), in evaluation mode.
        pixels: (B, C, H, W) in [0, 1].
        labels: (B,).
        along: the directions.
        steps_255: (S,), how far to walk along each, in 255ths; negative is backwards.

    Returns:
        (S, S), adversarial direction down, random direction across. The images are clipped to [0, 1].
    """
    rows = []
    for down in steps_255:
        points = [pixels + (down * along.adversarial + across * along.random) / 255 for across in steps_255]
        losses = [F.cross_entropy(classifier(point.clamp(0, 1)), labels) for point in points]
        rows.append(torch.stack(losses))
    return torch.stack(rows)


def largest_curvature(
    classifier: nn.Module, pixels: Tensor, labels: Tensor, *, iterations: int = ITERATIONS, seed: int = 0
) -> Tensor:
    """Eigenvalue of largest size of the Hessian of each image's loss, by power iteration.

    Hessian-vector products are central differences of gradients: second derivatives of a network of ReLUs are zero
    almost everywhere, while its gradient still turns over the distance that a perturbation covers. The step is one
    255th per pixel in the mean square.

    Returns:
        (B,), in loss per squared unit of L2 distance in [0, 1] pixels; negative where the loss bends downwards most.
    """
    random = torch.Generator().manual_seed(seed)
    vector = _unit(torch.randn(pixels.shape, generator=random).to(pixels))
    step = (pixels[0].numel() ** 0.5) / 255
    for _ in range(iterations):
        product = _hessian_times(classifier, pixels, labels, vector, step)
        value = (product * vector).flatten(1).sum(1)
        vector = _unit(product)
    return value


def _hessian_times(classifier: nn.Module, pixels: Tensor, labels: Tensor, vector: Tensor, step: float) -> Tensor:
    """Hessian of each image's loss times a unit vector."""
    ahead, behind = (
        torch.autograd.grad(*_loss_at(classifier, pixels + way * step * vector, labels))[0] for way in (1, -1)
    )
    return (ahead - behind) / (2 * step)


def _loss_at(classifier: nn.Module, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The summed loss, so that each image's gradient is its own, and the image it is a function of."""
    x = pixels.detach().requires_grad_()
    return F.cross_entropy(classifier(x), labels, reduction="sum"), x


def _unit(vectors: Tensor) -> Tensor:
    """Each image's vector at L2 length one; a zero vector stays zero."""
    lengths = torch.linalg.vector_norm(vectors.flatten(1), dim=1).clamp_min(torch.finfo(vectors.dtype).tiny)
    unit: Tensor = vectors / lengths.view(-1, 1, 1, 1)
    return unit
