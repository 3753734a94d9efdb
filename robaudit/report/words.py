"""How names and numbers are worded, in the page and in the terminal alike."""

from collections.abc import Sequence
from fractions import Fraction

from robaudit.intervals import at_most, outwards, wilson
from robaudit.records import Tally

UPPER_BOUND = (
    "Robust accuracy is an upper bound: it is what the listed attacks left standing, "
    "and a stronger attack can only lower it."
)

CLEAN = "clean"
NOT_MEASURED = "–"

_ATTACK_NAMES = {
    "fgsm": "FGSM", "bim": "BIM", "mifgsm": "MI-FGSM", "pgd": "PGD", "apgd": "APGD", "square": "Square",
}  # fmt: skip


def attack_name(name: str) -> str:
    """Spell an attack as its paper does, and what was changed about it as `--attacks` does: `PGD-margin`."""
    base, dash, changed = name.partition("-")
    return f"{_ATTACK_NAMES.get(base, base)}{dash}{changed}"


def eps(eps_255: int) -> str:
    """Word an L-inf budget; 0 is no attack."""
    return f"{eps_255}/255" if eps_255 else CLEAN


def eps_ranges(chosen: Sequence[int]) -> str:
    """Word some eps, ascending, as runs without a gap: `1–3/255 and 6/255`."""
    runs: list[list[int]] = []
    for eps_255 in chosen:
        if runs and runs[-1][-1] == eps_255 - 1:
            runs[-1].append(eps_255)
        else:
            runs.append([eps_255])
    return listed([eps(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}/255" for run in runs])


def listed(items: Sequence[str]) -> str:
    """Join items as prose: `a, b and c`."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def capital(text: str) -> str:
    """Begin a text with a capital, and leave the rest as it is."""
    return text[:1].upper() + text[1:]


def number(value: float) -> str:
    """Group the thousands of a count."""
    return f"{value:,}"


def images(n: int) -> str:
    """Word a number of images."""
    return f"{number(n)} image{'s' * (n != 1)}"


def of(tally: Tally) -> str:
    """Word a tally as counts."""
    return f"{number(tally.n_correct)} of {number(tally.n_images)}"


def share(tally: Tally) -> float:
    """Share of correct answers; 0 where nothing was asked."""
    return tally.n_correct / tally.n_images if tally.n_images else 0.0


def percent(tally: Tally) -> str:
    """Word the share of correct answers."""
    return f"{share(tally):.1%}" if tally.n_images else NOT_MEASURED


def percent_at_most(tally: Tally) -> str:
    """Word the share of correct answers where it is said to be a bound."""
    return at_most(Fraction(tally.n_correct, tally.n_images)) if tally.n_images else NOT_MEASURED


def interval(tally: Tally) -> str:
    """Word the Wilson 95% interval of the share of correct answers."""
    if not tally.n_images:
        return NOT_MEASURED
    low, high = outwards(*wilson(tally.n_correct, tally.n_images))
    return f"{low}–{high}%"


def duration(seconds: float) -> str:
    """Word a wall time."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
