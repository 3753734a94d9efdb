"""A decoded image at its own size and depth: what every reader gives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STRIP = 64
"""Rows hashed at a time."""
READ_CHANNELS = (1, 3)
"""That a picture can have."""


def other_channels(wanted: int) -> str | None:
    """Why a model of so many channels cannot be audited; None where it can."""
    if wanted in READ_CHANNELS:
        return None
    # Nor with a grey image repeated, which would be none of what its channels are, such as the sequences of a scan.
    return f"takes {wanted} channels; robaudit reads pictures of 1 or 3 channels alone: pass a model of these"


@dataclass(frozen=True)
class Picture:
    """Pixels as a person sees them, and how finely the file can tell them apart."""

    pixels: NDArray[np.float32]
    """(H, W, C) in [0, 1], C 1 or 3."""
    levels: int = 255
    """Steps from black to white that the file can hold: 255 for 8 bits, 65535 for 16."""

    @property
    def is_grey(self) -> bool:
        """Whether all channels agree."""
        return self.pixels.shape[2] == 1 or bool((self.pixels[..., :1] == self.pixels).all())

    @property
    def sha256(self) -> str:
        """Hash of size and 16-bit pixels, grey as one channel: the same picture in any file or format."""
        pixels = self.pixels[..., :1] if self.is_grey else self.pixels
        found = hashlib.sha256(f"{pixels.shape}\0".encode())
        for start in range(0, len(pixels), _STRIP):
            found.update(np.rint(pixels[start : start + _STRIP] * 65535).astype("<u2").tobytes())
        return found.hexdigest()
