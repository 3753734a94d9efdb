"""How images are shown to the model, where a person says that it is not simply as they are stored."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from robaudit.data.resizing import CROP_SHARE, Resize


@dataclass(frozen=True)
class View:
    """What is shown of a file, and how it comes to the model's input grid."""

    invert: bool = False
    """Show the negative: white becomes black."""
    bgr: bool = False
    """Give the colours in the order blue, green, red."""
    transpose: bool = False
    """Exchange rows and columns, as MONAI's readers of PNG, JPEG and DICOM do."""
    resize: Resize = "stretch"
    """stretch: both sides to the grid · cover: the shorter side, cut to the grid around the centre · crop: likewise,
    cut to 7/8 of the shorter side · pad: the longer side, black around."""

    slice: tuple[int, int | None] | None = None
    """(axis, index) of the slice of a volume that is the image; index None is the middle one."""
    window: tuple[float, float] | None = None
    """Stored values, after the file's own rescaling, that are black and white: of DICOM and NIfTI."""

    @property
    def flags(self) -> tuple[str, ...]:
        """What a person types for it; empty for images as they are."""
        resize = () if self.resize == "stretch" else (f"--resize {self.resize}",)
        plain = {"--invert": self.invert, "--bgr": self.bgr, "--transpose": self.transpose}
        return (*(flag for flag, asked in plain.items() if asked), *resize, *self._stored_flags)

    @property
    def _stored_flags(self) -> tuple[str, ...]:
        flags = []
        if self.slice:
            axis, index = self.slice
            flags.append(f"--slice {axis},{'middle' if index is None else index}")
        if self.window:
            flags.append(f"--window {self.window[0]:g},{self.window[1]:g}")
        return tuple(flags)

    def shown(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring a decoded image to the model's grid.

        Args:
            pixels: (C, H, W) in [0, 1].
            size: (height, width) of the grid.

        Returns:
            (C, *size) in [0, 1].
        """
        if self.transpose:
            pixels = pixels.transpose(1, 2)
        if self.bgr:
            pixels = pixels.flip(0)
        if self.invert:
            pixels = 1 - pixels
        return _resized(pixels, size, self.resize)


def _resized(pixels: Tensor, size: tuple[int, int], how: Resize) -> Tensor:
    height, width = pixels.shape[1:]
    if how == "stretch":
        return _stretched(pixels, size)
    across, down = size[1] / width, size[0] / height
    scale = {"cover": max(down, across), "crop": max(down, across) / CROP_SHARE, "pad": min(down, across)}[how]
    scaled = _stretched(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))
    return _centred(scaled, size)


def _stretched(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pixels.shape[1:]) == size:
        return pixels
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)


def _centred(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut off, or fill up with black, alike on opposite sides."""
    missing = [wanted - found for wanted, found in zip(size, pixels.shape[1:], strict=True)]
    (above, below), (left, right) = ((gap // 2, gap - gap // 2) for gap in missing)
    return F.pad(pixels, (left, right, above, below))
