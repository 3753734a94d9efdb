"""Per-image rows -> counts and curves. Pure and exact: every number of a record is a sum over its rows."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Literal, Protocol

from robaudit.records import ClassTallies, ImageRow, Point, Points, Tally

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


class _Standing:
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
        return tuple(Point(eps_255=eps, **self.counts(eps)) for eps in self._grid)

    def counts(self, eps: int) -> dict[str, Any]:
        """What was counted at one of the eps, as fields of a `ClassTallies`."""
        per_class = {name: self._tally(eps, itemgetter(name)) for name in self._classes}
        return {**self._tally(eps, Counter.total).model_dump(), "per_class": per_class}

    def _tally(self, eps: int, of: Callable[[Counter[str]], int]) -> Tally:
        return Tally(n_correct=of(self._n_correct[eps]), n_images=of(self._n_images), n_errors=of(self._n_errors))


class Sums:
    """What a record tells of all images together.

    Args:
        attacks: in the order of the record.
        at_every_eps: names of those that were run at every eps, and have a curve of each on its own.
        classes: names, in the order of the model's outputs.
        grid: of eps_255.
        protocol: `paper` has these curves in the place of the nested ones.
    """

    def __init__(
        self,
        attacks: Sequence[Listed],
        at_every_eps: Collection[str],
        classes: Sequence[str],
        grid: Iterable[int],
        protocol: Literal["nested", "paper"] = "nested",
    ) -> None:
        standing = partial(_Standing, classes, tuple(grid))
        self._is_paper = protocol == "paper"
        self._clean = _Standing(classes, (0,), lambda row, _: row.prediction == row.label)
        self._worst = standing(lambda row, eps: worst_eps(row) > eps)
        self._nested = [standing(partial(_withstands, _counted_together(attacks, i))) for i in range(len(attacks))]
        self._raw = [
            standing(partial(_withstands_alone, attack.name)) if attack.name in at_every_eps else None
            for attack in attacks
        ]

    def add(self, *rows: ImageRow) -> None:
        """Count images."""
        for row in rows:
            for standing in (self._clean, self._worst, *self._nested, *filter(None, self._raw)):
                standing.add(row)

    @property
    def clean(self) -> ClassTallies:
        """Images answered correctly without any attack."""
        return ClassTallies(**self._clean.counts(0))

    @property
    def worst(self) -> Points:
        """Nested curve of the per-image worst over all attacks."""
        return self._worst.points()

    @property
    def curves(self) -> list[tuple[Points, Points | None]]:
        """Of each attack: its curve, and where there is one, that of each eps on its own."""
        nested = [standing.points() for standing in self._nested]
        raw = [None if standing is None else standing.points() for standing in self._raw]
        return [(each if self._is_paper and each else own, each) for own, each in zip(nested, raw, strict=True)]


def _withstands(attacks: Sequence[str], row: ImageRow, eps: int) -> bool:
    """Nested: once fooled, fooled at every larger eps."""
    return min(fooling_eps(row, attack) for attack in attacks) > eps


def _withstands_alone(attack: str, row: ImageRow, eps: int) -> bool:
    """Each eps judged on its own; a clean error counts at every eps."""
    return row.prediction == row.label and eps not in row.raw_fooled_at.get(attack, ())


def _counted_together(attacks: Sequence[Listed], index: int) -> list[str]:
    """Names of the attacks that the nested curve of one counts.

    What is left by an attack on survivors is what those before it left as well: alone, its curve would say nothing.
    """
    first = 0 if attacks[index].scope == "survivors" else index
    return [attack.name for attack in attacks[first : index + 1]]


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
