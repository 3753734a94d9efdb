"""`robaudit badge`: worst-case accuracy as a badge for a README."""

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli import options


def badge(
    audit: options.AuditArgument,
    eps: Annotated[
        int | None,
        typer.Option(metavar="K", help="In 255ths; one that was audited [dim](default: the nearest to 4)[/dim]."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the SVG [dim](default: stdout)[/dim].")
    ] = None,
) -> None:
    """Draw worst-case accuracy at one eps as a badge (SVG) for a README."""
    from robaudit.files import require_apart, write_text
    from robaudit.records import read_audit
    from robaudit.report.badge import badge as draw

    drawn = draw(read_audit(audit), eps)
    if out is None:
        typer.echo(drawn, nl=False)
    else:
        require_apart(out, (audit,))
        write_text(out, drawn)
        typer.echo(out)
