"""What T and C make of plain grey: the picture and the sentence, from what the retrofit measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from robaudit.report.chart import DASHED, HALF, Chart, Curve, Look, Value, draw
from robaudit.retrofit_records import ToneCurve

UNCHANGED = 1.0
"""Grey levels by which plain grey may change and still count as left alone."""

_IMAGE = Look("before", DASHED, hollow=True, marker="circle")
_SEEN = Look("after", marker="circle")
_MEANING = (
    "Where the curve rises by less than one level per level, a change of the image reaches the network smaller: an "
    "attacker's, and faint structure as well. A gain in robustness that comes from there has its price there."
)


@dataclass(frozen=True)
class Tone:
    """Plain grey, before and after T and C."""

    sentence: str
    meaning: str
    chart: Chart
    rows: tuple[tuple[str, str], ...]
    """The numbers of the chart: grey of the image, grey that the network sees."""
    legend: tuple[tuple[str, Look], ...] = (("image", _IMAGE), ("network sees", _SEEN))


def tone(found: ToneCurve, modules: str) -> Tone:
    """Draw what the network sees of a picture of one grey against that grey. `modules` is `T and C`, `T` or `C`."""
    sentence = _sentence(found, modules)
    return Tone(
        sentence=sentence,
        meaning=_MEANING,
        chart=draw(
            [Curve(_IMAGE, _values(found.grey, found.grey)), Curve(_SEEN, _values(found.grey, found.seen))],
            HALF,
            key="tone",
            hue="",
            marker="circle",
            title="Grey that the network sees against grey of the image",
            description=sentence,
            height_label=lambda height: f"{255 * height:.0f}",
        ),
        rows=tuple((str(grey), f"{seen:.1f}") for grey, seen in zip(found.grey, found.seen, strict=True)),
    )


def _values(grey: Sequence[int], seen: Sequence[float]) -> tuple[Value, ...]:
    return tuple(Value(at, level / 255, f"grey {at}: {level:.0f}") for at, level in zip(grey, seen, strict=True))


def _sentence(found: ToneCurve, modules: str) -> str:
    s = "" if "and" in modules else "s"
    points = list(zip(found.grey, found.seen, strict=True))
    if max(abs(seen - grey) for grey, seen in points) <= UNCHANGED:
        return f"{modules} leave{s} plain grey as it is, to one level of 255."
    slopes = [((b[1] - a[1]) / (b[0] - a[0]), a[0], b[0]) for a, b in pairwise(points)]
    (flat, *flat_at), (steep, *steep_at) = min(slopes), max(slopes)
    return (
        f"Shown pictures of one grey, {modules} act{s} as a contrast curve: it rises least between grey "
        f"{flat_at[0]} and {flat_at[1]} of 255, by {flat:.2f} of a level per level, and most between {steep_at[0]} and "
        f"{steep_at[1]}, by {steep:.2f}."
    )
