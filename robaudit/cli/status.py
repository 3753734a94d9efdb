"""`robaudit status`: what a run has done so far."""

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli import options


def status(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder that scan, assimilate, run, demo or compare was given as --out."),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Say what a run has done, running or dead, from its files alone.

    How many images or epochs are done, the curve so far, which process is at it, and when it last wrote. Disturbs no
    run, and loads no model.
    """
    from robaudit.inert import inert
    from robaudit.report.status import lines, read_status

    found = read_status(folder)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    for line in lines(found):
        typer.echo(inert(line))
