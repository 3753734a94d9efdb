"""The front of a retrofitted classifier: T, then C, before the backbone."""

import torch
from torch import Tensor, nn

from robaudit.front.colour import RGB, Colour
from robaudit.front.curve import saturated_fraction
from robaudit.front.texture import Texture

WIDTH = 16
"""Channels inside T and C: together under 6,000 weights for grey images. Ours."""


class Front(nn.Module):
    """T and C, or T alone where the backbone takes one channel and colour would have nowhere to go."""

    def __init__(self, in_channels: int, out_channels: int, width: int = WIDTH) -> None:
        """Build the modules.

        Args:
            in_channels: of the images, 1 or 3.
            out_channels: of the backbone, 3, or 1 for grey images.
            width: channels inside T and C.

        Raises:
            ValueError: the channels are not among these.
        """
        super().__init__()
        if (in_channels, out_channels) not in {(1, 1), (1, RGB), (RGB, RGB)}:
            raise ValueError(f"a front goes from 1 or 3 channels to 3, or 1 to 1, not {in_channels} to {out_channels}")
        self.in_channels, self.out_channels, self.width = in_channels, out_channels, width
        self.texture = Texture(in_channels, width)
        self.colour = Colour(in_channels, width) if out_channels == RGB else None

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels, H, W) in [0, 1] -> (B, out_channels, H, W) in [0, 1], what the backbone sees."""
        adapted: Tensor = self.texture(image)
        return adapted if self.colour is None else self.colour(adapted)

    def stages(self, image: Tensor) -> dict[str, Tensor]:
        """The picture after each module, by its name: `texture`, and `colour` where there is C."""
        adapted = self.texture(image)
        pictures = {"texture": adapted}
        if self.colour is not None:
            pictures["colour"] = self.colour(adapted)
        return pictures

    @torch.no_grad()
    def saturated(self, image: Tensor) -> float:
        """Share of T's and C's amounts at their bound, over all pixels; 0.0 before training."""
        amounts = [self.texture.amount(image).flatten()]
        if self.colour is not None:
            amounts.append(self.colour.amount(self.texture(image)).flatten())
        return float(saturated_fraction(torch.cat(amounts)))

    @property
    def modules_name(self) -> str:
        """`T+C`, or `T`; the name `modules` is torch's, which walks the module tree with it."""
        return "T" if self.colour is None else "T+C"

    def config(self) -> dict[str, int]:
        """What `Front(**config)` needs to build the same modules; JSON scalars."""
        return {"in_channels": self.in_channels, "out_channels": self.out_channels, "width": self.width}
