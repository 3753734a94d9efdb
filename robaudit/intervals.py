"""Confidence intervals of a share of images. A leaf; scipy is loaded only when an interval is asked for."""

from fractions import Fraction
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
