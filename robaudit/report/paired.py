"""Did the second model do better on the same images? Exact McNemar tests, corrected for asking at every eps.

Two models are compared image by image: an image both withstand, or neither, says nothing about which is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from robaudit.errors import RecordError
from robaudit.records import ImageRow
from robaudit.significance import SIGNIFICANCE, holm, mcnemar
from robaudit.tally import worst_eps

Answer = Literal["improved", "worse", "no evidence"]


@dataclass(frozen=True)
class PairedTest:
    """One exact McNemar test on worst-case correctness; eps 0 is clean."""

    eps_255: int
    n_images: int
    only_before: int
    """Images only the model before answers correctly."""
    only_after: int
    """Images only the model after answers correctly."""
    p: float
    """Two-sided; over the eps of the grid adjusted by Holm, clean is tested alone."""

    @property
    def answer(self) -> Answer:
        """What the test allows to say."""
        if self.p >= SIGNIFICANCE:
            return "no evidence"
        return "improved" if self.only_after > self.only_before else "worse"


def paired_tests(
    before: Sequence[ImageRow], after: Sequence[ImageRow], grid: Sequence[int]
) -> tuple[PairedTest, tuple[PairedTest, ...]]:
    """Test clean correctness, and worst-case correctness at every eps, on the same images.

    Raises:
        RecordError: the rows are not of the same images.
    """
    pairs = same_images(before, after)
    clean, *attacked = [_discordant(pairs, eps) for eps in (0, *grid)]
    adjusted = holm([mcnemar(*counts) for counts in attacked])
    return (
        PairedTest(0, len(pairs), *clean, p=mcnemar(*clean)),
        tuple(
            PairedTest(eps, len(pairs), *counts, p=p) for eps, counts, p in zip(grid, attacked, adjusted, strict=True)
        ),
    )


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


def _discordant(pairs: Sequence[tuple[ImageRow, ImageRow]], eps_255: int) -> tuple[int, int]:
    outcomes = [(withstands(before, eps_255), withstands(after, eps_255)) for before, after in pairs]
    return outcomes.count((True, False)), outcomes.count((False, True))


def _by_image(rows: Sequence[ImageRow]) -> dict[tuple[str, str], ImageRow]:
    images = {(row.id, row.sha256): row for row in rows}
    if len(images) != len(rows):
        raise RecordError("images.jsonl: names the same image twice; scan again")
    return images
