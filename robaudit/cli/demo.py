"""`robaudit demo`: the whole job without any input."""

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli import options


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for images, models, audits and the report.")],
    seed: options.Seed = 0,
    restart: options.Restart = False,
    log_json: options.LogJson = False,
    as_json: options.AsJson = False,
) -> None:
    """Show the whole job on generated phantoms; takes minutes and no input.

    Draws grey phantoms of two classes, trains a small classifier on them from scratch, then scans, assimilates, scans
    again and writes the comparison report. The images are synthetic, and the report says so.
    """
    from robaudit.cli.progress import terminal_progress
    from robaudit.job.demo import demo as whole_job
    from robaudit.job.run import Stages

    # Never 3, as `run` ends where an audit is inconclusive: nothing is decided by phantoms, and the report says it.
    page = whole_job(out=out, seed=seed, restart=restart, command=options.command_line(), progress=terminal_progress())
    typer.echo(Stages(out).document() if as_json else page, nl=not as_json)
