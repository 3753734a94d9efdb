"""`robaudit compare`: two audits side by side, as a page to read."""

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.console import to_stderr


def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE.json", help="Audit record of the first model.")],
    after: Annotated[
        Path, typer.Argument(metavar="AFTER.json", help="Audit record of the second model, on the same images.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for index.html, report.css and the pictures.")],
    without_glcm: Annotated[
        Path | None,
        typer.Option(
            "--without-glcm",
            metavar="AUDIT.json",
            help="Audit record of a retrofit trained without GLCM loss: its pictures join the gallery.",
        ),
    ] = None,
) -> None:
    """Compare two audits of the same images: verdict, curves, paired test, gallery.

    Writes a folder that any browser shows, without scripts. Prints the path of its index.html to stdout.
    """
    from robaudit.report.comparison import read_comparison
    from robaudit.report.html import write_report
    from robaudit.report.terminal import comparison_summary

    comparison = read_comparison(before, after, without_glcm=without_glcm)
    page = write_report(comparison, out)
    for line in comparison_summary(comparison, page):
        to_stderr(line)
    typer.echo(page)
