"""`robaudit compare`: one, two or many audits as a page to read."""

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli import options
from robaudit.cli.console import to_stderr


def compare(
    audits: Annotated[
        list[Path],
        typer.Argument(
            metavar="BEFORE.json AFTER.json...",
            help="Audit records. One gets its own page; two are compared; more are each compared with the first.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for index.html, checks.html, report.css and the pictures.")
    ],
    without_glcm: Annotated[
        Path | None,
        typer.Option(
            "--without-glcm",
            metavar="AUDIT.json",
            help="Audit record of a retrofit trained without GLCM loss: its pictures join the gallery.",
        ),
    ] = None,
    single_file: Annotated[
        bool, typer.Option("--single-file", help="Put style and pictures into index.html itself, to mail it.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Compare audits of the same images: verdict, curves, paired test, gallery.

    Writes a folder that any browser shows, without scripts. Prints the path of its index.html to stdout.
    """
    from robaudit.report.document import document
    from robaudit.report.html import read_page, write_report
    from robaudit.report.terminal import page_summary

    page = read_page(audits, without_glcm=without_glcm)
    written = write_report(page, out, single_file=single_file)
    if as_json:
        typer.echo(document(page, written), nl=False)
        return
    for line in page_summary(page, written):
        to_stderr(line)
    typer.echo(written)
