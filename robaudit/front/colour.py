"""C: colours an image for a backbone that learnt on natural ones (Chen & Luo 2024; ancestor Morra et al. 2020)."""

from torch import Tensor, nn

from robaudit.front.curve import Amount, bend

RGB = 3


class Colour(nn.Module):
    """(B, 1 or 3, H, W) in [0, 1] -> (B, 3, H, W) in [0, 1]; before training, grey repeated or RGB unchanged."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.amount = Amount(in_channels, RGB, width)

    def forward(self, image: Tensor) -> Tensor:
        """Colour the image; each of the three channels is bent by its own amount."""
        return bend(image.expand(-1, RGB, -1, -1), self.amount(image))
