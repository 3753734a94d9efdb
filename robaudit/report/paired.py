"""Did the second model do better on the same images? Exact McNemar tests, corrected for asking at every eps.

Two models are compared image by image: an image both withstand, or neither, says nothing about which is better.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from robaudit.errors import RecordError
from robaudit.records import ImageRow
from robaudit.significance import SIGNIFICANCE, holm, mcnemar
from robaudit.tally import worst_eps

Answer = Literal["improved", "worse", "no evidence"]
_Pairs = Sequence[tuple[ImageRow, ImageRow]]


@dataclass(frozen=True)
class PairedTest:
    """One exact McNemar test on worst-case correctness; eps 0 is clean."""

    eps_255: int
    n_images: int
    only_before: int
    """Images only the model before answers correctly."""
    only_after: int
    """Images only the model after answers correctly."""
    tested: tuple[int, int] | None
    """The same two counts under those attacks alone that both models faced, where the test is of these and they differ;
    None where it is of the two above."""
    p: float
    """Two-sided; over the eps of the grid adjusted by Holm, clean is tested alone."""

    @property
    def answer(self) -> Answer:
        """What the test allows to say."""
        if self.p >= SIGNIFICANCE:
            return "no evidence"
        return "improved" if self.only_after > self.only_before else "worse"


Paired = tuple[PairedTest, tuple[PairedTest, ...]]
"""The test of clean correctness, and those under attack, one for each eps."""


def paired_tests(
    before: Sequence[ImageRow], after: Sequence[ImageRow], grid: Sequence[int], *, further: Collection[str] = ()
) -> Paired:
    """Test clean correctness, and worst-case correctness at every eps, on the same images.

    Args:
        before: rows of the first model.
        after: rows of the second.
        grid: eps in 255ths.
        further: attacks that the second model alone was put through.

    Raises:
        RecordError: the rows are not of the same images.
    """
    clean, attacked = uncorrected(before, after, grid, further=further)
    return clean, corrected(attacked)


def uncorrected(
    before: Sequence[ImageRow], after: Sequence[ImageRow], grid: Sequence[int], *, further: Collection[str] = ()
) -> Paired:
    """Make the same tests, each as if it were the only one.

    Raises:
        RecordError: the rows are not of the same images.
    """
    pairs = same_images(before, after)
    alike = [(first, _without(further, second)) for first, second in pairs] if further else pairs
    clean, *attacked = [_test(pairs, alike, eps) for eps in (0, *grid)]
    return clean, tuple(attacked)


def corrected(tests: Sequence[PairedTest]) -> tuple[PairedTest, ...]:
    """Correct the p of uncorrected tests for making all of them (Holm)."""
    adjusted = holm([test.p for test in tests])
    return tuple(replace(test, p=p) for test, p in zip(tests, adjusted, strict=True))


def same_images(before: Sequence[ImageRow], after: Sequence[ImageRow]) -> list[tuple[ImageRow, ImageRow]]:
    """Pair the rows of two audits by image id and content, whatever their order.

    Raises:
        RecordError: an image is in one audit only, or twice.
    """
    first, second = _by_image(before), _by_image(after)
    if unpaired := sorted(first.keys() ^ second.keys()):
        raise RecordError(
            f"images.jsonl: the two audits are not of the same images (first difference: {unpaired[0][0]!r}); "
            "scan both models on the same data"
        )
    return [(row, second[image]) for image, row in first.items()]


def withstands(row: ImageRow, eps_255: int) -> bool:
    """Whether the model is right about this image under every attack up to `eps_255` (0: without attack)."""
    return row.error is None and worst_eps(row) > eps_255


def _test(pairs: _Pairs, alike: _Pairs, eps_255: int) -> PairedTest:
    """Is the second model better under all its attacks, or worse under those alone that both were put through?

    No image is withstood by it under more attacks that is not withstood under fewer: one answer rules out the other,
    and both together are no likelier by chance than those of one test. Where neither is so, nothing is left to test.
    """
    counted, counted_alike = _discordant(pairs, eps_255), _discordant(alike, eps_255)
    if counted[1] > counted[0]:
        return PairedTest(eps_255, len(pairs), *counted, tested=None, p=mcnemar(*counted))
    if counted_alike[0] >= counted_alike[1]:
        tested = None if counted_alike == counted else counted_alike
        return PairedTest(eps_255, len(pairs), *counted, tested=tested, p=mcnemar(*counted_alike))
    return PairedTest(eps_255, len(pairs), *counted, tested=None, p=1.0)


def _without(attacks: Collection[str], row: ImageRow) -> ImageRow:
    left = {name: eps_255 for name, eps_255 in row.fooled_at.items() if name not in attacks}
    return row.model_copy(update={"fooled_at": left})


def _discordant(pairs: _Pairs, eps_255: int) -> tuple[int, int]:
    outcomes = [(withstands(before, eps_255), withstands(after, eps_255)) for before, after in pairs]
    return outcomes.count((True, False)), outcomes.count((False, True))


def _by_image(rows: Sequence[ImageRow]) -> dict[tuple[str, str], ImageRow]:
    images = {(row.id, row.sha256): row for row in rows}
    if len(images) != len(rows):
        raise RecordError("images.jsonl: names the same image twice; scan again")
    return images
