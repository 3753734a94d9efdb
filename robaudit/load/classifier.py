"""The one shape every audited model takes: pixels in [0, 1] in, logits out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robaudit.errors import ModelError
from robaudit.front.front import Front
from robaudit.load.recipe import Recipe
from robaudit.records import ModelInfo, Normalization


class Classifier(nn.Module):
    """front (T and C, if any) -> normalisation -> backbone, so that eps is always in display units.

    A grey image stays one channel up to here: its repeat to RGB, T and C and the normalisation are part of the
    attacked function.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, normalization: Normalization, *, in_chans: int, front: Front | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.front = front
        self.in_chans = in_chans
        """Channels the backbone sees."""
        self.normalization = normalization
        self.register_buffer("mean", torch.tensor(normalization.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalization.std).view(1, -1, 1, 1), persistent=False)

    @property
    def takes_channels(self) -> int:
        """Channels of the images it takes; a grey image is repeated to them."""
        return self.in_chans if self.front is None else self.front.in_channels

    def features_in(self, x: Tensor) -> Tensor:
        """What the backbone sees before normalisation.

        Args:
            x: (B, C, H, W) in [0, 1], C 1 (grey) or 3.

        Returns:
            (B, in_chans, H, W) in [0, 1].
        """
        seen = x.expand(-1, self.takes_channels, -1, -1) if x.shape[1] == 1 else x
        if self.front is None:
            return seen
        coloured: Tensor = self.front(seen)
        return coloured

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> logits (B, K)."""
        logits: Tensor = self.backbone((self.features_in(x) - self.mean) / self.std)
        return logits


@dataclass(frozen=True)
class LoadedModel:
    """A classifier with what its record needs: where it came from and how it expects its input."""

    classifier: Classifier
    info: ModelInfo
    recipe: Recipe = field(default_factory=Recipe)
    """What builds the network again, where the name of its architecture does not."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input grid."""
        return self.info.input.height, self.info.input.width

    def require_channels(self, image_channels: int) -> None:
        """Refuse images whose channels the model cannot take.

        Raises:
            ModelError: coloured images for a model of grey ones.
        """
        accepted = self.classifier.takes_channels
        if image_channels not in (1, accepted):
            raise ModelError(
                f"{self.info.path}: takes images of {accepted} channel(s), the data has {image_channels}; "
                "convert the images, or assimilate again with images like these"
            )
