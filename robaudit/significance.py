"""Exact tests, corrected for asking several times. A leaf."""

from collections.abc import Sequence
from math import floor

SIGNIFICANCE = 0.05


def mcnemar(only_before: int, only_after: int) -> float:
    """Two-sided exact p-value: were the discordant images a fair coin?"""
    from scipy.stats import binomtest  # slow to import, and reading a record does not need it

    discordant = only_before + only_after
    return float(binomtest(only_after, discordant, 0.5).pvalue) if discordant else 1.0


def by_luck(n_found: int, n_images: int, share: float) -> bool:
    """Whether so many of the images would be no surprise if `share` of all images showed it (one-sided, exact).

    One of several never is a surprise: a single image near the boundary says nothing of a share.
    """
    from scipy.stats import binomtest

    if n_found == 1 < n_images:
        return True
    return bool(binomtest(n_found, n_images, share, alternative="greater").pvalue >= SIGNIFICANCE)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false claim among them keeps its bound (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = running
    return adjusted


def p_value(p: float) -> str:
    """Word a p-value; what is below the level of significance never reads as being at it."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {floor(p * 1e4) / 1e4:.4f}" if p < SIGNIFICANCE <= round(p, 3) else f"p = {p:.3f}"
