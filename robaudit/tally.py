"""Per-image rows -> counts and curves. Pure and exact: every number of a record is a sum over its rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from robaudit.records import ClassTallies, ImageRow, Point, Tally

NEVER = 10**9
"""Sorts after every eps: the image was not fooled."""


def clean_tallies(rows: Sequence[ImageRow], classes: Sequence[str]) -> ClassTallies:
    """Count the images answered correctly without any attack."""
    return ClassTallies(**_counts(rows, classes, lambda row: row.prediction == row.label))


def curve(rows: Sequence[ImageRow], classes: Sequence[str], attack: str, grid: Iterable[int]) -> tuple[Point, ...]:
    """Nested curve of one attack: once fooled, fooled at every larger eps."""
    return _points(rows, classes, grid, lambda row, eps: fooling_eps(row, attack) > eps)


def joint_curve(
    rows: Sequence[ImageRow], classes: Sequence[str], attacks: Sequence[str], grid: Iterable[int]
) -> tuple[Point, ...]:
    """Nested curve of the per-image worst over some of the attacks."""
    return _points(rows, classes, grid, lambda row, eps: min(fooling_eps(row, attack) for attack in attacks) > eps)


def raw_curve(rows: Sequence[ImageRow], classes: Sequence[str], attack: str, grid: Iterable[int]) -> tuple[Point, ...]:
    """Curve of one attack with each eps judged on its own; a clean error counts at every eps."""
    return _points(
        rows,
        classes,
        grid,
        lambda row, eps: row.prediction == row.label and eps not in row.raw_fooled_at[attack],
    )


def worst_case(rows: Sequence[ImageRow], classes: Sequence[str], grid: Iterable[int]) -> tuple[Point, ...]:
    """Nested curve of the per-image worst over all attacks."""
    return _points(rows, classes, grid, lambda row, eps: worst_eps(row) > eps)


def fooling_eps(row: ImageRow, attack: str) -> int:
    """Smallest eps_255 found by `attack`; `NEVER` where it did not fool."""
    found = row.fooled_at.get(attack)
    return NEVER if found is None else found


def worst_eps(row: ImageRow) -> int:
    """Smallest eps_255 found by any attack (0: wrong without attack); `NEVER` where none fooled."""
    if row.prediction != row.label:
        return 0
    return min((fooling_eps(row, attack) for attack in row.fooled_at), default=NEVER)


def headline_eps(grid: Sequence[int]) -> int:
    """The eps_255 that headlines: the one of the grid nearest to 4, whatever the result there."""
    return min(grid, key=lambda eps: (abs(eps - 4), eps))


def sketch(fallen: Counter[int], grid: Sequence[int]) -> dict[int, int]:
    """How many images stand at the first, the middle and the last eps_255 of the grid.

    Args:
        fallen: how many fell at each eps, as `worst_eps` tells.
        grid: ascending.
    """
    shown = dict.fromkeys((grid[0], grid[len(grid) // 2], grid[-1]))
    return {eps: sum(count for at, count in fallen.items() if at > eps) for eps in shown}


def _points(
    rows: Sequence[ImageRow],
    classes: Sequence[str],
    grid: Iterable[int],
    stays: Callable[[ImageRow, int], bool],
) -> tuple[Point, ...]:
    return tuple(
        Point(eps_255=eps, **_counts(rows, classes, lambda row, eps=eps: stays(row, eps)))  # type: ignore[misc]
        for eps in grid
    )


def _counts(rows: Sequence[ImageRow], classes: Sequence[str], correct: Callable[[ImageRow], bool]) -> dict[str, object]:
    per_class = {name: _tally([row for row in rows if row.label == name], correct) for name in classes}
    return {**_tally(rows, correct).model_dump(), "per_class": per_class}


def _tally(rows: Sequence[ImageRow], correct: Callable[[ImageRow], bool]) -> Tally:
    return Tally(
        n_correct=sum(row.error is None and correct(row) for row in rows),
        n_images=len(rows),
        n_errors=sum(row.error is not None for row in rows),
    )
