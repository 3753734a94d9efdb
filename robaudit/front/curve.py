"""How T and C change a pixel: along a curve that stays in [0, 1], bent by an amount a small network chooses.

    x + x (1 - x) tanh(f(x))

is the light-enhancement curve of Zero-DCE (Guo et al., CVPR 2020) with a learned amount per pixel. It needs no clamp,
so it has no region with zero gradient by construction; but pure black (0) and pure white (1) cannot move. `dye`
moves them too.
"""

import torch
from torch import Tensor, nn

SATURATED = 0.99
"""|tanh| above which under 2% of the gradient gets through to the network that chose the amount."""


class Amount(nn.Sequential):
    """f: how far to bend each pixel, from its neighbourhood of 7x7 pixels.

    Three 3x3 convolutions; the last starts at zero, so nothing bends until it is trained. No normalisation
    layers: an image's result depends on that image alone, and training and evaluation agree.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        last = nn.Conv2d(width, out_channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        super().__init__(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            last,
            nn.Tanh(),
        )

    @property
    def last(self) -> nn.Conv2d:
        """The layer that starts at zero."""
        layer = self[-2]
        assert isinstance(layer, nn.Conv2d)
        return layer


def bend(image: Tensor, amount: Tensor) -> Tensor:
    """Move each pixel along its curve: `image` in [0, 1], `amount` in [-1, 1], same shape; 0 changes no bit."""
    return image + image * (1 - image) * amount


def dye(image: Tensor, amount: Tensor) -> Tensor:
    """Blend each pixel with a flat tone, black to white as `amount` goes from -1 to 1, opacity amount^2 / 2.

    At 0 it changes no bit. No smooth form can both do that and move black at first order: 0 would have to be passed.
    At most half opaque, so at least half of what the image says comes through. Both arguments have the same shape.
    """
    opacity = amount.square() / 2
    return image + opacity * ((1 + amount) / 2 - image)


def saturated_fraction(amount: Tensor) -> Tensor:
    """Share of amounts so close to their bound that training can hardly move them, a scalar in [0, 1]."""
    return (amount.abs() > SATURATED).to(torch.float32).mean()
