"""What a classifier is trained for."""

from dataclasses import dataclass

import torch

from robaudit.data.images import Images
from robaudit.progress import Progress
from robaudit.retrofit.samples import Samples
from robaudit.retrofit.settings import TrainConfig


@dataclass(frozen=True)
class Task:
    """Images to learn from, images to select by, and everything that decides what training does."""

    training: Images
    """In the order of the model's classes, as are those for validation."""
    validation: Images
    size: tuple[int, int]
    """(height, width) of the model's input grid."""
    config: TrainConfig

    def samples(self, device: torch.device, progress: Progress) -> tuple[Samples, Samples]:
        """Training and validation images, ready to be asked for in batches on this device."""
        training, validation = (
            Samples(images, self.size, self.config.texture_kept, device, progress)
            for images in (self.training, self.validation)
        )
        return training, validation
