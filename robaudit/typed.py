"""What a person types on a command line, as they have to type it: quoted for a shell, lists of names as CSV. A leaf."""

import csv
import io
import shlex
from collections.abc import Iterable


def flag(name: str, value: str) -> str:
    """An option and its value, ready to be pasted."""
    return f"{name} {shlex.quote(value)}"


def listed(names: Iterable[str]) -> str:
    """Names as one list, those with a comma in quotes: what `names_in` reads."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def names_in(text: str) -> list[str]:
    """The names of a comma-separated list, one of which may hold a comma where it stands in double quotes.

    Raises:
        ValueError: it is more than one line, or too long.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if len(rows) > 1:
        raise ValueError("more than one line")
    return [name.strip() for row in rows for name in row if name.strip()]
