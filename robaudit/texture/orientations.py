"""The eight orientations in which pixel pairs are counted, four of which suffice.

Turning an offset by 180 degrees swaps the pixels of every pair: the co-occurrence matrix is transposed, and
all five features are the same. So four orientations are computed and each is counted twice.
"""

from math import cos, radians, sin

from robaudit.texture.patches import Offset

DISTANCE = 3
"""Pixels between the two of a pair (Chen & Luo 2024)."""

COMPUTED = (0, 45, 90, 135)
"""Degrees; their opposites have the same features."""

ORIENTATIONS = (*COMPUTED, *(angle + 180 for angle in COMPUTED))
"""Degrees, in the order of the SOT matrix."""


def offset(degrees: int, distance: int = DISTANCE) -> Offset:
    """(rows down, columns right) of an orientation, rounded as scikit-image rounds it: 45 degrees at 3 is (2, 2)."""
    return round(distance * sin(radians(degrees))), round(distance * cos(radians(degrees)))
