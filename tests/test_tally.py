"""Counting, checked against plain loops over made-up rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robaudit import tally
from robaudit.records import AttackCurve, ImageRow

CLASSES = ("a", "b", "c")
ATTACKS = ("fgsm", "pgd")
GRID = (1, 3, 8)


@st.composite
def image_rows(draw: st.DrawFn) -> ImageRow:
    """A row as the engine could have written it."""
    label = draw(st.sampled_from(CLASSES))
    prediction = draw(st.sampled_from([*CLASSES, None]))
    wrong = prediction != label
    at = st.just(0) if wrong else st.sampled_from([None, *GRID])
    raw = GRID if wrong else tuple(sorted(draw(st.sets(st.sampled_from(GRID)))))
    return ImageRow(
        id=str(draw(st.integers())),
        sha256="",
        label=label,
        prediction=prediction,
        fooled_at={attack: draw(at) for attack in ATTACKS},
        raw_fooled_at={"fgsm": raw},
        error="no finite answer" if prediction is None else None,
    )


SETS = st.lists(image_rows(), max_size=12)


def sums_of(*rows: ImageRow, classes: tuple[str, ...] = CLASSES) -> tally.Sums:
    attacks = [AttackCurve(name=name, params={}, points=()) for name in ATTACKS]
    sums = tally.Sums(attacks, ["fgsm"], classes, GRID)
    sums.add(*rows)
    return sums


@given(SETS)
def test_clean_counts_what_is_predicted_right(rows: list[ImageRow]) -> None:
    found = sums_of(*rows).clean
    for name, counts in [(None, found), *found.per_class.items()]:
        mine = [row for row in rows if name in (None, row.label)]
        assert counts.n_correct == len([row for row in mine if row.prediction == row.label])
        assert counts.n_images == len(mine)
        assert counts.n_errors == len([row for row in mine if row.prediction is None])


@given(SETS)
def test_classes_add_up(rows: list[ImageRow]) -> None:
    sums = sums_of(*rows)
    (_, raw), (nested, _) = sums.curves
    assert raw is not None
    for counts in (sums.clean, *sums.worst, *nested, *raw):
        assert list(counts.per_class) == list(CLASSES)
        for field in ("n_correct", "n_images", "n_errors"):
            assert getattr(counts, field) == sum(getattr(part, field) for part in counts.per_class.values())


@given(SETS)
def test_a_nested_curve_never_rises_and_the_worst_case_lies_below_all(rows: list[ImageRow]) -> None:
    sums = sums_of(*rows)
    curves, worst, start = [nested for nested, _ in sums.curves], sums.worst, sums.clean.n_correct
    for curve in (*curves, worst):
        n_correct = [start, *(point.n_correct for point in curve)]
        assert n_correct == sorted(n_correct, reverse=True)
        assert [point.eps_255 for point in curve] == list(GRID)
    for index, point in enumerate(worst):
        assert point.n_correct <= min(curve[index].n_correct for curve in curves)


def row(prediction: str | None, fgsm: int | None, pgd: int | None, raw: tuple[int, ...] = ()) -> ImageRow:
    return ImageRow(
        id="x", sha256="", label="a", prediction=prediction, fooled_at={"fgsm": fgsm, "pgd": pgd},
        raw_fooled_at={"fgsm": raw}, error=None if prediction else "no finite answer",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("image", "fgsm", "raw", "worst"),
    [
        (row("a", None, None), [1, 1, 1], [1, 1, 1], [1, 1, 1]),
        (row("a", 3, 8, raw=(3,)), [1, 0, 0], [1, 0, 1], [1, 0, 0]),
        (row("a", None, 8), [1, 1, 1], [1, 1, 1], [1, 1, 0]),
        (row("b", 0, 0, raw=GRID), [0, 0, 0], [0, 0, 0], [0, 0, 0]),
        (row(None, 0, 0, raw=GRID), [0, 0, 0], [0, 0, 0], [0, 0, 0]),
    ],
    ids=["never fooled", "fgsm rises again", "pgd alone fools", "wrong without attack", "no answer"],
)
def test_one_image_along_the_grid(image: ImageRow, fgsm: list[int], raw: list[int], worst: list[int]) -> None:
    def along(points: tuple[tally.Point, ...]) -> list[int]:
        return [point.n_correct for point in points]

    sums = sums_of(image)
    assert tuple(map(along, sums.curves[0])) == (fgsm, raw)
    assert along(sums.worst) == worst


def test_no_answer_is_never_correct_even_where_the_label_would_be_nothing() -> None:
    image = row(None, None, None).model_copy(update={"label": ""})
    assert sums_of(image.model_copy(update={"prediction": ""}), classes=("",)).clean.n_correct == 0
    assert sums_of(image, classes=("",)).worst[0].n_correct == 0


def test_what_fooled_first() -> None:
    assert tally.worst_eps(row("a", 8, 3)) == 3
    assert tally.worst_eps(row("a", None, None)) == tally.NEVER
    assert tally.worst_eps(row("b", 0, 0)) == 0
    assert tally.fooling_eps(row("a", 8, None), "pgd") == tally.NEVER
    assert tally.fooling_eps(row("a", 8, None), "not run") == tally.NEVER
