"""Training images ready for use: decoded once, with the texture they must keep, as long as memory allows."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.data.images import Images
from robaudit.progress import Progress, Silent

_KEPT_BYTES = 2**31
"""Pixels and textures held in memory (2 GiB: 10,000 grey images of 224x224); beyond it, they are made anew."""


@dataclass(frozen=True)
class Batch:
    """Images of a training step."""

    pixels: Tensor
    """(B, C, H, W) in [0, 1]."""
    labels: Tensor
    """(B,), class indices."""
    texture: Tensor
    """(B, N, 40): SOT matrix of the images as they are, the target of the texture term; (B, 0) where there is none."""

    def __len__(self) -> int:
        return len(self.labels)


class Samples:
    """Images of a split, by index. The texture of an image as it is on disk is computed once."""

    def __init__(
        self,
        images: Images,
        size: tuple[int, int],
        texture: Callable[[Tensor], Tensor] | None,
        device: torch.device,
        progress: Progress | None = None,
    ) -> None:
        """Prepare nothing yet: images are decoded when first asked for.

        Args:
            images: labelled images, in the order of the model's classes.
            size: (height, width) of the model's input grid.
            texture: (B, C, H, W) -> SOT matrix (B, N, 40); None where the loss has no texture term.
            device: where batches are wanted.
            progress: told of the images that the model is about to be shown.
        """
        self._images, self._size, self._texture, self._device = images, size, texture, device
        self._progress = progress or Silent()
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._images)

    @property
    def per_class(self) -> dict[str, int]:
        """Number of images of each class, in class order."""
        return self._images.per_class

    def batch(self, indices: list[int]) -> Batch:
        """The images at `indices`."""
        pixels, textures = zip(*(self._sample(index) for index in indices), strict=True)
        refs = [self._images.refs[index] for index in indices]
        self._progress.asking([ref.id for ref in refs])
        return Batch(
            torch.stack(pixels).to(self._device),
            torch.tensor([self._images.label_index(ref) for ref in refs], device=self._device),
            torch.stack(textures).to(self._device),
        )

    def _sample(self, index: int) -> tuple[Tensor, Tensor]:
        if index in self._kept:
            return self._kept[index]
        pixels = self._images.load(self._images.refs[index], self._size)
        texture = torch.empty(0) if self._texture is None else self._texture(pixels[None].to(self._device))[0].cpu()
        n_bytes = pixels.nbytes + texture.nbytes
        if self._kept_bytes + n_bytes <= _KEPT_BYTES:
            self._kept[index] = pixels, texture
            self._kept_bytes += n_bytes
        return pixels, texture
