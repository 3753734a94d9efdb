"""Per-image rows -> counts and curves. Pure and exact: every number of a record is a sum over its rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Literal, Protocol, TypeVar

from robaudit.records import ClassTallies, ImageRow, Point, Tally

S = TypeVar("S", bound="Standing")
NEVER = 10**9
"""Sorts after every eps: the image was not fooled."""


class Listed(Protocol):
    """An attack as it is listed, in a plan or in a record."""

    @property
    def name(self) -> str:
        """Of the attack."""

    @property
    def scope(self) -> Literal["all", "survivors"]:
        """Which images it is run on."""


class Standing:
    """How many images stay correct at each of some eps, counted as their rows pass by: none is kept.

    Args:
        classes: names, in the order of the model's outputs.
        grid: of eps_255.
        stays: whether an image that could be answered is correct at an eps_255.
    """

    def __init__(self, classes: Sequence[str], grid: Iterable[int], stays: Callable[[ImageRow, int], bool]) -> None:
        self._classes, self._grid, self._stays = classes, tuple(grid), stays
        self._n_images: Counter[str] = Counter()
        self._n_errors: Counter[str] = Counter()
        self._n_correct = {eps: Counter[str]() for eps in self._grid}

    def add(self, row: ImageRow) -> None:
        """Count one image."""
        self._n_images[row.label] += 1
        if row.error is not None:
            self._n_errors[row.label] += 1
            return
        for eps, n_correct in self._n_correct.items():
            n_correct[row.label] += self._stays(row, eps)

    def points(self) -> tuple[Point, ...]:
        """The curve of what was counted so far."""
        return tuple(Point(eps_255=eps, **self._counts(eps)) for eps in self._grid)

    def _counts(self, eps: int) -> dict[str, Any]:
        per_class = {name: self._tally(eps, itemgetter(name)) for name in self._classes}
        return {**self._tally(eps, Counter.total).model_dump(), "per_class": per_class}

    def _tally(self, eps: int, of: Callable[[Counter[str]], int]) -> Tally:
        return Tally(n_correct=of(self._n_correct[eps]), n_images=of(self._n_images), n_errors=of(self._n_errors))


class Clean(Standing):
    """How many images are answered correctly without any attack."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(classes, (0,), lambda row, _: row.prediction == row.label)

    def tallies(self) -> ClassTallies:
        """What was counted so far."""
        return ClassTallies(**self._counts(0))


def joint(classes: Sequence[str], attacks: Sequence[str], grid: Iterable[int]) -> Standing:
    """Nested curve of the per-image worst over some of the attacks: once fooled, fooled at every larger eps."""
    return Standing(classes, grid, lambda row, eps: min(fooling_eps(row, attack) for attack in attacks) > eps)


def raw(classes: Sequence[str], attack: str, grid: Iterable[int]) -> Standing:
    """Curve of one attack with each eps judged on its own; a clean error counts at every eps."""
    return Standing(
        classes, grid, lambda row, eps: row.prediction == row.label and eps not in row.raw_fooled_at.get(attack, ())
    )


def counted_together(attacks: Sequence[Listed], index: int) -> list[str]:
    """Names of the attacks that the nested curve of one counts.

    What is left by an attack on survivors is what those before it left as well: alone, its curve would say nothing.
    """
    first = 0 if attacks[index].scope == "survivors" else index
    return [attack.name for attack in attacks[first : index + 1]]


def worst(classes: Sequence[str], grid: Iterable[int]) -> Standing:
    """Nested curve of the per-image worst over all attacks."""
    return Standing(classes, grid, lambda row, eps: worst_eps(row) > eps)


def clean_tallies(rows: Iterable[ImageRow], classes: Sequence[str]) -> ClassTallies:
    """Count the images answered correctly without any attack."""
    return _counted(Clean(classes), rows).tallies()


def joint_curve(
    rows: Iterable[ImageRow], classes: Sequence[str], attacks: Sequence[str], grid: Iterable[int]
) -> tuple[Point, ...]:
    """Nested curve of the per-image worst over some of the attacks."""
    return _counted(joint(classes, attacks, grid), rows).points()


def raw_curve(rows: Iterable[ImageRow], classes: Sequence[str], attack: str, grid: Iterable[int]) -> tuple[Point, ...]:
    """Curve of one attack with each eps judged on its own."""
    return _counted(raw(classes, attack, grid), rows).points()


def worst_case(rows: Iterable[ImageRow], classes: Sequence[str], grid: Iterable[int]) -> tuple[Point, ...]:
    """Nested curve of the per-image worst over all attacks."""
    return _counted(worst(classes, grid), rows).points()


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


def _counted(standing: S, rows: Iterable[ImageRow]) -> S:
    for row in rows:
        standing.add(row)
    return standing
