"""Accuracy against eps as SVG geometry: numbers in, ready coordinates out; a template places them.

Before is dashed with hollow markers, after is solid with filled ones, and each attack has its own marker
besides its colour, so a chart survives a black-and-white print. Colours are classes of report.css.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin


@dataclass(frozen=True)
class Frame:
    """Size of a chart and of the margins around its plot, in SVG units."""

    name: str
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    radius: float
    """Of a marker."""
    grid: tuple[float, ...]
    """Shares at which a horizontal line is drawn."""
    tick_gap: int
    """Least distance between two labels of the eps axis."""


LARGE = Frame("large", 720, 400, 72, 18, 16, 36, radius=5.5, grid=(0, 0.25, 0.5, 0.75, 1), tick_gap=36)
SMALL = Frame("small", 250, 190, 54, 12, 10, 28, radius=4, grid=(0, 0.5, 1), tick_gap=20)

MARKERS = ("square", "triangle", "diamond", "pentagon", "wedge", "star")
"""One per attack, in the order of the record; the worst case has the circle."""


@dataclass(frozen=True)
class Value:
    """One point of a curve, with its interval and the words shown on hover."""

    eps_255: int
    share: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class Curve:
    """One line of a chart; `side` is `before` or `after`."""

    side: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: str
    label: str


@dataclass(frozen=True)
class Mark:
    """A marker, where it is, and the words shown on hover."""

    shape: str
    x: str
    y: str
    words: str


@dataclass(frozen=True)
class Line:
    """A drawn curve."""

    side: str
    path: str
    band: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Chart:
    """A chart, ready to be placed: every coordinate is text."""

    key: str
    size: str
    hue: str
    title: str
    description: str
    width: str
    height: str
    view_box: str
    left: str
    right: str
    bottom: str
    y_label: str
    hit_radius: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def draw(
    curves: Sequence[Curve], frame: Frame, *, key: str, hue: str, marker: str, title: str, description: str
) -> Chart:
    """Lay curves out on a frame; eps runs from 0 (clean) to the largest tested."""
    tested = sorted({value.eps_255 for curve in curves for value in curve.values})
    scale = _Scale(frame, tested[-1] or 1)
    baseline = frame.height - frame.bottom
    return Chart(
        key=key,
        size=frame.name,
        hue=hue,
        title=title,
        description=description,
        width=str(frame.width),
        height=str(frame.height),
        view_box=f"0 0 {frame.width} {frame.height}",
        left=str(frame.left),
        right=str(frame.width - frame.right),
        bottom=str(baseline),
        y_label=str(frame.left - 8),
        hit_radius=_text(2 * frame.radius),
        x_ticks=tuple(Tick(scale.x(eps), str(eps)) for eps in _spaced(tested, frame)),
        y_ticks=tuple(Tick(scale.y(share), f"{share:.0%}") for share in frame.grid),
        lines=tuple(_line(curve, scale, marker) for curve in curves),
    )


def legend_marker(marker: str) -> str:
    """A marker for a legend, centred in a box of 16 by 16."""
    return _shape(marker, 8, 8, 5)


@dataclass(frozen=True)
class _Scale:
    frame: Frame
    largest_eps: int

    def x(self, eps_255: int) -> str:
        return _text(self.x_at(eps_255))

    def y(self, share: float) -> str:
        return _text(self.y_at(share))

    def x_at(self, eps_255: int) -> float:
        return self.frame.left + (self.frame.width - self.frame.left - self.frame.right) * eps_255 / self.largest_eps

    def y_at(self, share: float) -> float:
        return self.frame.top + (self.frame.height - self.frame.top - self.frame.bottom) * (1 - share)


def _line(curve: Curve, scale: _Scale, marker: str) -> Line:
    upper = [f"{scale.x(value.eps_255)},{scale.y(value.high)}" for value in curve.values]
    lower = [f"{scale.x(value.eps_255)},{scale.y(value.low)}" for value in curve.values]
    return Line(
        side=curve.side,
        path="M" + " L".join(f"{scale.x(value.eps_255)},{scale.y(value.share)}" for value in curve.values),
        band="M" + " L".join([*upper, *reversed(lower)]) + " Z",
        marks=tuple(
            Mark(
                shape=_shape(marker, scale.x_at(value.eps_255), scale.y_at(value.share), scale.frame.radius),
                x=scale.x(value.eps_255),
                y=scale.y(value.share),
                words=value.words,
            )
            for value in curve.values
        ),
    )


def _spaced(tested: Sequence[int], frame: Frame) -> list[int]:
    """Leave out labels that would touch their neighbour."""
    scale = _Scale(frame, tested[-1] or 1)
    kept: list[int] = []
    for eps in tested:
        if not kept or scale.x_at(eps) - scale.x_at(kept[-1]) >= frame.tick_gap:
            kept.append(eps)
    return kept


def _shape(marker: str, x: float, y: float, radius: float) -> str:
    if marker == "circle":
        return f"M{_text(x - radius)},{_text(y)} " + " ".join(
            f"a{_text(radius)},{_text(radius)} 0 1 0 {_text(step)},0" for step in (2 * radius, -2 * radius)
        )
    corners = (f"{_text(x + radius * across)},{_text(y + radius * down)}" for across, down in _CORNERS[marker])
    return "M" + " L".join(corners) + " Z"


def _regular(n_corners: int, size: float, turn: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Corners of a regular polygon, the first one up; sizes chosen so that markers look equally heavy."""
    angles = [2 * pi * (corner / n_corners + turn) for corner in range(n_corners)]
    return tuple((size * sin(angle), -size * cos(angle)) for angle in angles)


def _star() -> tuple[tuple[float, float], ...]:
    tips, notches = _regular(5, 1.35), _regular(5, 0.6, turn=0.1)
    return tuple(corner for pair in zip(tips, notches, strict=True) for corner in pair)


_CORNERS = {
    "square": _regular(4, 1.25, turn=1 / 8),
    "triangle": _regular(3, 1.3),
    "diamond": _regular(4, 1.3),
    "pentagon": _regular(5, 1.15),
    "wedge": _regular(3, 1.3, turn=1 / 2),
    "star": _star(),
}


def _text(coordinate: float) -> str:
    return f"{coordinate:.2f}".rstrip("0").rstrip(".")
