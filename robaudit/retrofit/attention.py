"""Where a model looks: how its input gradient spreads over the picture.

The source explains weakness by attention to large regions irrelevant to the diagnosis. Measured here: the share of
pixels that holds 90% of the input gradient's size. Small: the model looks at little; near 0.9: it looks everywhere.
"""

import torch
from torch import Tensor, nn

from robaudit.attack.losses import margin

HELD = 0.9
"""Share of the gradient's size that is to be held."""


def attention_map(classifier: nn.Module, pixels: Tensor) -> Tensor:
    """Size of the gradient of the decision at each pixel: largest logit minus the second.

    Unlike cross-entropy's, it does not fade with confidence.

    Args:
        classifier: (B, C, H, W) in [0, 1] -> (B, K), in evaluation mode.
        pixels: (B, C, H, W).

    Returns:
        (B, H, W), 0 or more, summed over channels.
    """
    x = pixels.detach().requires_grad_()
    logits = classifier(x)
    decision = -margin(logits, logits.argmax(1))
    (gradient,) = torch.autograd.grad(decision.sum(), x)
    return gradient.abs().sum(1)


def share_holding(maps: Tensor) -> Tensor:
    """Smallest share of pixels that together hold `HELD` of a map, (B, H, W) -> (B,), in (0, 1].

    A map that is zero everywhere has its mass nowhere: NaN.
    """
    sizes = maps.flatten(1).sort(1, descending=True).values.double()
    total = sizes.sum(1, keepdim=True)
    n_needed = (sizes.cumsum(1) < HELD * total).sum(1) + 1
    return torch.where(total[:, 0] > 0, n_needed / sizes.shape[1], torch.nan)
