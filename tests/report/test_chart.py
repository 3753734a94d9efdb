import re

import pytest

from robaudit.report.chart import (
    AFTER,
    BEFORE,
    LARGE,
    MARKERS,
    SMALL,
    Curve,
    Frame,
    Value,
    draw,
    hue,
    look_among_many,
)


def curve(side: str, *shares: float, step: int = 1) -> Curve:
    values = (Value(step * i, share, f"{share}", (share / 2, share)) for i, share in enumerate(shares))
    return Curve({"before": BEFORE, "after": AFTER}[side], tuple(values))


def chart_of(*curves: Curve, frame: Frame = LARGE):
    return draw(curves, frame, key="k", hue="worst", marker="circle", title="t", description="d")


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)]


def test_shares_are_drawn_to_scale():
    """Everything right is the top of the plot, nothing the bottom, clean the left edge, the largest eps the right."""
    first, middle, last = points(chart_of(curve("before", 1.0, 0.25, 0.0)).lines[0].path)
    top, bottom = LARGE.top, LARGE.height - LARGE.bottom
    assert first == (LARGE.left, top)
    assert middle == pytest.approx(((LARGE.left + LARGE.width - LARGE.right) / 2, top + 0.75 * (bottom - top)))
    assert last == (LARGE.width - LARGE.right, bottom)


def test_a_band_goes_out_along_its_top_and_back_along_its_bottom():
    band = points(chart_of(curve("before", 1.0, 0.5)).lines[0].band)
    assert [x for x, _ in band] == [LARGE.left, LARGE.width - LARGE.right, LARGE.width - LARGE.right, LARGE.left]
    assert band[0][1] < band[3][1]


def test_every_mark_says_its_value():
    marks = chart_of(curve("after", 0.9, 0.4)).lines[0].marks
    assert [mark.words for mark in marks] == ["0.9", "0.4"]


@pytest.mark.parametrize("marker", ["circle", *MARKERS])
def test_markers_stay_around_their_point(marker: str):
    drawn = draw([curve("after", 0.5)], SMALL, key="k", hue="h", marker=marker, title="t", description="d")
    mark = drawn.lines[0].marks[0]
    if marker != "circle":
        for x, y in points(mark.shape):
            assert abs(x - float(mark.x)) <= 1.5 * SMALL.radius
            assert abs(y - float(mark.y)) <= 1.5 * SMALL.radius


def test_markers_are_all_different():
    shapes = {
        draw([curve("after", 0.5)], SMALL, key="k", hue="h", marker=marker, title="", description="").lines[0].marks
        for marker in ("circle", *MARKERS)
    }
    assert len(shapes) == 1 + len(MARKERS)


def test_crowded_labels_of_the_eps_axis_are_left_out():
    labels = [int(tick.label) for tick in chart_of(curve("before", *[0.5] * 65), frame=SMALL).x_ticks]
    assert labels[0] == 0
    assert len(labels) < 12


def test_a_crowd_of_points_keeps_its_words_and_loses_markers():
    """A training of 300 epochs is a line, not a smear."""
    marks = chart_of(curve("after", *[0.5] * 300)).lines[0].marks
    assert len(marks) == 300
    assert all(mark.words for mark in marks)
    assert 20 < sum(bool(mark.shape) for mark in marks) < 80


def test_no_two_of_twelve_attacks_or_audits_look_alike():
    assert len({(hue(position), MARKERS[position % len(MARKERS)]) for position in range(12)}) == 12
    looks = [look_among_many(position) for position in range(12)]
    assert len(set(looks)) == 12
    assert len({look.marker for look in looks}) == 12, "not even in black and white"


def test_lines_without_intervals_have_no_band():
    line = chart_of(Curve(AFTER, (Value(0, 1.0, "a"), Value(1, 0.5, "b")))).lines[0]
    assert line.band == ""
