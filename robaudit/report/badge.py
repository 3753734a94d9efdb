"""A badge for a README: worst-case accuracy at one eps, as a small SVG that needs nothing beside it."""

from dataclasses import dataclass

from robaudit.errors import SettingsError
from robaudit.records import AuditRecord, by_eps
from robaudit.report.html import render_template
from robaudit.report.words import eps, of, percent_at_most
from robaudit.tally import headline_eps

_COLOURS = {"measured": "#1d4f91", "inconclusive": "#7a4a00", "unfinished": "#52606d"}
_WIDTH_OF_A_LETTER = 6.1
_PADDING = 10
# The text is set to these widths exactly, whatever font the reader has.


@dataclass(frozen=True)
class Half:
    """One of the two fields of a badge."""

    text: str
    x: str
    width: str
    text_x: str
    text_width: str


@dataclass(frozen=True)
class Badge:
    """A badge, ready to be placed."""

    title: str
    width: str
    colour: str
    left: Half
    right: Half


def badge(record: AuditRecord, eps_255: int | None = None) -> str:
    """Draw the badge of an audit. It says "at most": robust accuracy is an upper bound.

    Args:
        record: the audit.
        eps_255: one of the eps it tested; None takes the one that headlines.

    Raises:
        SettingsError: the audit did not test that eps.
    """
    grid = record.threat_model.eps_255
    chosen = headline_eps(grid) if eps_255 is None else eps_255
    point = by_eps(record.worst_case.points).get(chosen)
    if point is None:
        tested = ", ".join(map(str, grid))
        raise SettingsError(f"--eps {chosen}: the audit tested {tested}; choose one of them")
    state = "unfinished" if record.status == "partial" else "inconclusive" if record.doubts else "measured"
    said = f"≤ {percent_at_most(point)}" if state == "measured" else state
    name = f"robust accuracy at {eps(chosen)}"
    detail = f"{name}: {said} ({of(point)} images)" if state == "measured" else f"{name}: {said}"
    return render_template("badge.svg.j2", badge=_laid_out(detail, name, said, _COLOURS[state]))


def _laid_out(title: str, left: str, right: str, colour: str) -> Badge:
    first = _half(left, 0)
    second = _half(right, float(first.width))
    return Badge(title, _number(float(first.width) + float(second.width)), colour, first, second)


def _half(text: str, x: float) -> Half:
    text_width = len(text) * _WIDTH_OF_A_LETTER
    width = text_width + 2 * _PADDING
    return Half(text, *map(_number, (x, width, x + width / 2, text_width)))


def _number(value: float) -> str:
    return f"{value:.1f}"
