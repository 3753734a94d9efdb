"""Which eps to try next: pure functions of what is known about one image under one attack.

Trials are indices into the ascending eps grid. A fooled trial is cheap (the climb stops early) and a resisted one costs
every step, so the default walks down from a guess and pays for one resisted trial: the one just below its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum


class Search(StrEnum):
    """How the smallest fooling eps is looked for."""

    DESCEND = "descend"
    BISECT = "bisect"
    ASCEND = "ascend"


Outcomes = Mapping[int, bool]
"""Index tried -> whether it fooled."""


def next_trial(search: Search, outcomes: Outcomes, n_grid: int, guess: int | None) -> int | None:
    """The index to try next, or None once the smallest fooling one is bracketed.

    Args:
        search: the strategy.
        outcomes: what was tried so far.
        n_grid: length of the eps grid.
        guess: index where other attacks fooled this image, if they did.

    All strategies end bracketed: the index below the smallest fooled one resisted (or is below the grid). They find
    the true smallest index where fooling is monotone in eps.
    """
    fooled_from = min((index for index, fooled in outcomes.items() if fooled), default=n_grid)
    resisted_to = max((index for index, fooled in outcomes.items() if not fooled and index < fooled_from), default=-1)
    if fooled_from - resisted_to == 1:
        return None
    return _STRATEGIES[search](resisted_to, fooled_from, n_grid, guess)


def _descend(resisted_to: int, fooled_from: int, n_grid: int, guess: int | None) -> int:
    if fooled_from < n_grid:
        return fooled_from - 1
    start = n_grid - 1 if guess is None else guess
    # Above a guess that resisted, strides double: one resisted trial more than doubles what a fooled one costs.
    return start if resisted_to < start else min(resisted_to + (resisted_to - start + 1), n_grid - 1)


def _bisect(resisted_to: int, fooled_from: int, n_grid: int, guess: int | None) -> int:
    if guess is not None and resisted_to < guess < fooled_from:
        return guess
    return (resisted_to + fooled_from) // 2


def _ascend(resisted_to: int, fooled_from: int, n_grid: int, guess: int | None) -> int:
    return resisted_to + 1


_STRATEGIES: Mapping[Search, Callable[[int, int, int, int | None], int]] = {
    Search.DESCEND: _descend,
    Search.BISECT: _bisect,
    Search.ASCEND: _ascend,
}
