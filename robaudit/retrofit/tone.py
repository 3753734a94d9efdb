"""What T and C make of plain grey. Where that curve is flat, every change arrives smaller, whoever made it."""

import torch

from robaudit.front.front import Front
from robaudit.retrofit_records import ToneCurve

GREYS = tuple(range(0, 256, 15))


@torch.no_grad()
def tone_curve(front: Front, size: tuple[int, int]) -> ToneCurve:
    """Show the front pictures of one grey each.

    Args:
        front: T and C, or one of them, in evaluation mode.
        size: (height, width) of the model's input grid.
    """
    levels = torch.tensor(GREYS, device=next(front.parameters()).device)
    plain = (levels / 255)[:, None, None, None].expand(-1, front.in_channels, *size)
    # The median: at the borders, where convolutions see padding, a picture is not plain.
    seen = front(plain).mean(1).flatten(1).median(1).values
    return ToneCurve(grey=GREYS, seen=tuple((255 * seen).tolist()))
