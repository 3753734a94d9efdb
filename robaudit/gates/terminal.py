"""The gate's answer for people: a line per rule. Plain when piped."""

from typing import TYPE_CHECKING

from robaudit.gates.verdicts import Outcome, Verdicts
from robaudit.inert import inert

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.INCONCLUSIVE: "bold yellow"}


def print_verdicts(verdicts: Verdicts, console: "Console") -> None:
    """Print a line per rule; a line is never broken, so that a pipe can read it."""
    from rich.text import Text

    for verdict in verdicts.rules:
        line = Text(inert(str(verdict)))
        line.stylize(_STYLES[verdict.outcome], 0, len(verdict.outcome))
        console.print(line, soft_wrap=True)
