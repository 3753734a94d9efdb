"""C: colours an image for a backbone that learnt on natural ones (Chen & Luo 2024; ancestor Morra et al. 2020)."""

from torch import Tensor, nn

from robaudit.front.curve import Amount, bend, dye

RGB = 3


class Colour(nn.Module):
    """(B, 1 or 3, H, W) in [0, 1] -> (B, 3, H, W) in [0, 1]; before training, grey repeated or RGB unchanged."""

    def __init__(self, in_channels: int, width: int, tint: bool) -> None:
        super().__init__()
        self.amount = Amount(in_channels, RGB, width)
        self.tint = tint

    def forward(self, image: Tensor) -> Tensor:
        """Colour the image; each of the three channels is moved by its own amount."""
        amount = self.amount(image)
        bent = bend(image.expand(-1, RGB, -1, -1), amount)
        return dye(bent, amount) if self.tint else bent
