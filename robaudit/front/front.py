"""The front of a retrofitted classifier: T, then C, before the backbone."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from robaudit.front.colour import RGB, Colour
from robaudit.front.curve import Amount, saturated_fraction
from robaudit.front.texture import Texture

Modules = Literal["T+C", "T", "C"]

WIDTH = 8
"""Channels inside T and C: together under 2,000 weights for grey images, and a quarter of a ResNet18's time. Ours."""


class Front(nn.Module):
    """T and C, or one of them; T alone where the backbone takes one channel and colour would have nowhere to go."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = WIDTH,
        modules: Modules = "T+C",
        tint: bool = False,
    ) -> None:
        """Build the modules.

        Args:
            in_channels: of the images, 1 or 3.
            out_channels: of the backbone, 3, or 1 for grey images.
            width: channels inside T and C.
            modules: which of the two.
            tint: whether C can colour pure black and white.

        Raises:
            ValueError: the channels are not among these, or C is wanted alone for a backbone of one channel.
        """
        super().__init__()
        if (in_channels, out_channels) not in {(1, 1), (1, RGB), (RGB, RGB)}:
            raise ValueError(f"a front goes from 1 or 3 channels to 3, or 1 to 1, not {in_channels} to {out_channels}")
        if modules == "C" and out_channels != RGB:
            raise ValueError("C gives three channels, the backbone takes one")
        self.in_channels, self.out_channels, self.width, self.tint = in_channels, out_channels, width, tint
        self.texture = Texture(in_channels, width) if "T" in modules else None
        self.colour = Colour(in_channels, width, tint) if "C" in modules and out_channels == RGB else None

    def forward(self, image: Tensor) -> Tensor:
        """(B, in_channels or 1, H, W) in [0, 1] -> (B, out_channels, H, W) in [0, 1], what the backbone sees."""
        return self._coloured(self._adapted(image)).expand(-1, self.out_channels, -1, -1)

    def stages(self, image: Tensor) -> dict[str, Tensor]:
        """The picture after each module there is, by its name: `texture`, `colour`."""
        adapted = self._adapted(image)
        pictures = {} if self.texture is None else {"texture": adapted}
        return pictures if self.colour is None else pictures | {"colour": self.colour(adapted)}

    @torch.no_grad()
    def saturated(self, image: Tensor) -> float:
        """Share of T's and C's amounts at their bound, over all pixels; 0.0 before training."""
        amounts = [] if self.texture is None else [self.texture.amount(image).flatten()]
        if self.colour is not None:
            amounts.append(self.colour.amount(self._adapted(image)).flatten())
        return float(saturated_fraction(torch.cat(amounts)))

    def start_at_random(self) -> None:
        """Draw the layers that start at zero, so that T and C change the image from the start: an ablation."""
        for module in self.modules():
            if isinstance(module, Amount):
                module.last.reset_parameters()

    @property
    def modules_name(self) -> Modules:
        """`T+C`, `T` or `C`; the name `modules` is torch's, which walks the module tree with it."""
        if self.texture is None:
            return "C"
        return "T" if self.colour is None else "T+C"

    def config(self) -> dict[str, Any]:
        """What `Front(**config)` needs to build the same modules; JSON scalars."""
        return {
            "in_channels": self.in_channels, "out_channels": self.out_channels, "width": self.width,
            "modules": self.modules_name, "tint": self.tint,
        }  # fmt: skip

    def _adapted(self, image: Tensor) -> Tensor:
        image = image.expand(-1, self.in_channels, -1, -1)  # a grey one where colour was learnt
        return image if self.texture is None else self.texture(image)

    def _coloured(self, adapted: Tensor) -> Tensor:
        return adapted if self.colour is None else self.colour(adapted)
