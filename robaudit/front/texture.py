"""T: adapts the texture of an image, keeping its channels (Chen & Luo 2024)."""

from torch import Tensor, nn

from robaudit.front.curve import Amount, bend


class Texture(nn.Module):
    """(B, channels, H, W) in [0, 1] -> the same shape and range; changes no bit before training."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.amount = Amount(channels, channels, width)

    def forward(self, image: Tensor) -> Tensor:
        """Adapt the texture."""
        return bend(image, self.amount(image))
