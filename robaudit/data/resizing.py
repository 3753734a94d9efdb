"""How images of another shape come to the input grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Resize = Literal["stretch", "cover", "crop", "pad"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
CROP_SHARE = 7 / 8
"""Of the shorter side that `crop` keeps: 224 of 256, as ImageNet networks are evaluated (He et al. 2016)."""
BILINEAR = "bilinear"


@dataclass(frozen=True)
class Resizing:
    """One way to the grid."""

    how: Resize
    """Nearest of robaudit's own."""
    share: float = 1.0
    """Of the side that is kept, in (0, 1]."""
    interpolation: str = BILINEAR

    @property
    def words(self) -> str:
        """What it does, for a person."""
        kept = f"{100 * self.share:.4g}%"
        match self.how:
            case "stretch":
                done = "stretches both sides" + (f" and cuts the centre, {kept} of each" if self.share < 1 else "")
            case "pad":
                done = "fits the longer side, with borders"
            case _:
                done = f"cuts the centre, {kept} of the shorter side"
        return f"{done}, {self.interpolation}"


def own_resizing(how: Resize) -> Resizing:
    """What robaudit does when asked for `--resize`."""
    return Resizing(how, CROP_SHARE if how == "crop" else 1.0)
