"""Confidence intervals and bounds of a share of images. A leaf; scipy is loaded only when an interval is asked for."""

from fractions import Fraction
from itertools import count
from math import ceil, floor

CONFIDENCE = 0.95


def wilson(n_correct: int, n_images: int) -> tuple[float, float]:
    """Wilson 95% interval of `n_correct` of `n_images`, as shares in [0, 1].

    No images say nothing: the interval is then all of [0, 1].
    """
    if n_images == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest

    interval = binomtest(n_correct, n_images).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def outwards(low: float | Fraction, high: float | Fraction) -> tuple[str, str]:
    """Ends of an interval in percent, rounded outwards: one that is below a bound never reads as at it."""
    return f"{floor(Fraction(low) * 1000) / 10:.1f}", f"{ceil(Fraction(high) * 1000) / 10:.1f}"


def at_most(share: Fraction, threshold: Fraction | None = None) -> str:
    """A share that is said to be a bound, in percent: rounded up, for what was counted is no lower.

    Args:
        share: in [0, 1].
        threshold: below which it must not read as met: a share that misses it gets as many decimals as that takes.
    """
    for n_decimals in count(1):
        scale = 10**n_decimals
        units = ceil(share * 100 * scale)
        if threshold is None or not share < threshold <= Fraction(units, 100 * scale):
            return f"{units // scale}.{units % scale:0{n_decimals}d}%"
    raise AssertionError("more decimals bring it below any threshold that it misses")
