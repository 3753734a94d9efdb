"""Curves as SVG geometry: numbers in, ready coordinates out; a template places them.

Nothing is told by colour alone: before is dashed with hollow markers, after is solid with filled ones, each attack and
each of many audits has its own marker, so a chart survives a black-and-white print. Colours are classes of report.css.
"""

from collections.abc import Callable, Sequence
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
HALF = Frame("half", 360, 220, 54, 12, 12, 30, radius=4, grid=(0, 0.5, 1), tick_gap=24)
SMALL = Frame("small", 250, 190, 54, 12, 10, 28, radius=4, grid=(0, 0.5, 1), tick_gap=20)

MARKERS = (
    "square", "triangle", "diamond", "pentagon", "wedge", "star",
    "plus", "bow tie", "hexagon", "cross", "arrow", "hourglass",
)  # fmt: skip
"""One per attack, in the order of the record; the worst case has the circle."""

HUES = 6
"""Colours of report.css, `hue-1` and on. With twelve markers no two of twelve attacks look alike."""

DASHED = "7 5"
_DASHES = ("", DASHED, "2 4", "12 4 2 4")


@dataclass(frozen=True)
class Look:
    """What tells one line from another."""

    css: str
    """Class of report.css: `before`, `after` or a hue."""
    dashes: str = ""
    """As `stroke-dasharray` takes it; empty is solid."""
    hollow: bool = False
    marker: str = ""
    """A marker of its own; empty where the lines of a chart share the chart's."""

    @property
    def glyph(self) -> str:
        """The marker for a legend; empty where it has none of its own."""
        return legend_marker(self.marker) if self.marker else ""


BEFORE, AFTER = Look("before", DASHED, hollow=True), Look("after")


def look_among_many(position: int) -> Look:
    """Return the look of one of many lines, by colour, marker and dashes alike."""
    return Look(
        css=hue(position),
        dashes=_DASHES[position % len(_DASHES)],
        hollow=position % 2 == 1,
        marker=MARKERS[position % len(MARKERS)],
    )


def hue(position: int) -> str:
    """Return the colour of the n-th of many, as a class of report.css."""
    return f"hue-{position % HUES + 1}"


@dataclass(frozen=True)
class Value:
    """One point of a curve, with its interval where it has one, and the words shown on hover."""

    at: int
    """Along the axis: eps in 255ths, or an epoch."""
    height: float
    """A share of 1, or of the top of the axis."""
    words: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Curve:
    """One line of a chart."""

    look: Look
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
    """Empty where it would cover the marker before it."""
    x: str
    y: str
    words: str


@dataclass(frozen=True)
class Line:
    """A drawn curve."""

    look: Look
    path: str
    band: str
    """Empty where there are no intervals."""
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
    curves: Sequence[Curve],
    frame: Frame,
    *,
    key: str,
    hue: str,
    marker: str,
    title: str,
    description: str,
    height_label: Callable[[float], str] = "{:.0%}".format,
) -> Chart:
    """Lay curves out on a frame: along it from 0 to the largest place, upwards from 0 to 1.

    Args:
        curves: the lines, in the order in which they cover each other.
        frame: size and margins.
        key: unique in the page.
        hue: class of report.css, for lines without a colour of their own.
        marker: likewise.
        title: read aloud first.
        description: read aloud next.
        height_label: what stands at a height; shares in per cent, unless told otherwise.
    """
    places = sorted({value.at for curve in curves for value in curve.values})
    scale = _Scale(frame, places[-1] or 1)
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
        x_ticks=tuple(Tick(scale.x(place), str(place)) for place in _spaced(places, scale, frame.tick_gap)),
        y_ticks=tuple(Tick(scale.y(height), height_label(height)) for height in frame.grid),
        lines=tuple(_line(curve, scale, marker) for curve in curves),
    )


def legend_marker(marker: str) -> str:
    """A marker for a legend, centred in a box of 16 by 16."""
    return _shape(marker, 8, 8, 5)


@dataclass(frozen=True)
class _Scale:
    frame: Frame
    farthest: int

    def x(self, place: int) -> str:
        return _text(self.x_at(place))

    def y(self, height: float) -> str:
        return _text(self.y_at(height))

    def x_at(self, place: int) -> float:
        return self.frame.left + (self.frame.width - self.frame.left - self.frame.right) * place / self.farthest

    def y_at(self, height: float) -> float:
        return self.frame.top + (self.frame.height - self.frame.top - self.frame.bottom) * (1 - height)


def _line(curve: Curve, scale: _Scale, marker: str) -> Line:
    radius = scale.frame.radius
    marked = _spaced([value.at for value in curve.values], scale, 2 * radius)
    return Line(
        look=curve.look,
        path="M" + " L".join(f"{scale.x(value.at)},{scale.y(value.height)}" for value in curve.values),
        band=_band(curve, scale),
        marks=tuple(
            Mark(
                shape=_shape(curve.look.marker or marker, scale.x_at(value.at), scale.y_at(value.height), radius)
                if value.at in marked
                else "",
                x=scale.x(value.at),
                y=scale.y(value.height),
                words=value.words,
            )
            for value in curve.values
        ),
    )


def _band(curve: Curve, scale: _Scale) -> str:
    """Out along the upper ends of the intervals, back along the lower ones."""
    ends = [(scale.x(value.at), *value.interval) for value in curve.values if value.interval]
    upper = [f"{x},{scale.y(high)}" for x, _, high in ends]
    lower = [f"{x},{scale.y(low)}" for x, low, _ in ends]
    return "M" + " L".join([*upper, *reversed(lower)]) + " Z" if ends else ""


def _spaced(places: Sequence[int], scale: _Scale, gap: float) -> list[int]:
    """Leave out what would touch its neighbour."""
    kept: list[int] = []
    for place in places:
        if not kept or scale.x_at(place) - scale.x_at(kept[-1]) >= gap:
            kept.append(place)
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


def _plus(turn: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Corners of a thick plus sign; turned by an eighth it is a cross."""
    arm, thick = 1.3, 0.45
    quarter = ((thick, -arm), (thick, -thick), (arm, -thick))
    corners = [_turned(corner, side / 4 + turn) for side in range(4) for corner in quarter]
    return tuple(corners)


def _turned(corner: tuple[float, float], turn: float) -> tuple[float, float]:
    x, y = corner
    angle = 2 * pi * turn
    return x * cos(angle) - y * sin(angle), x * sin(angle) + y * cos(angle)


_CORNERS = {
    "square": _regular(4, 1.25, turn=1 / 8),
    "triangle": _regular(3, 1.3),
    "diamond": _regular(4, 1.3),
    "pentagon": _regular(5, 1.15),
    "wedge": _regular(3, 1.3, turn=1 / 2),
    "star": _star(),
    "plus": _plus(),
    "bow tie": ((-1.2, -1), (0, -0.25), (1.2, -1), (1.2, 1), (0, 0.25), (-1.2, 1)),
    "hexagon": _regular(6, 1.15, turn=1 / 12),
    "cross": _plus(turn=1 / 8),
    "arrow": _regular(3, 1.3, turn=1 / 4),
    "hourglass": ((-1, -1.2), (1, -1.2), (0.25, 0), (1, 1.2), (-1, 1.2), (-0.25, 0)),
}


def _text(coordinate: float) -> str:
    return f"{coordinate:.2f}".rstrip("0").rstrip(".")
