"""`robaudit export`: write a classifier as one file that runs without robaudit."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli import options
from robaudit.cli.groups import ModelOptions, with_groups

CHECK = "The check"


@with_groups
def export(
    model: options.ModelArgument,
    form: Annotated[str, typer.Option("--format", metavar="torchscript|onnx|pt2", help="Format of the file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")],
    *,
    loading: ModelOptions,
    images: Annotated[
        str | None,  # not Path, which would make s3:/ of s3://
        typer.Option(metavar="DATA", help="Also compare on these images.", rich_help_panel=CHECK),
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(
            metavar="AUDIT.json",
            help="Also compare on the adversarials stored with an audit of this model.",
            rich_help_panel=CHECK,
        ),
    ] = None,
    limit: options.Limit = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a classifier as one file that runs without robaudit: T, C and normalisation inside.

    The file takes pixels in 0..1 and gives logits. It appears only once it has answered generated pictures, and those
    you name, as the model does.
    """
    from robaudit.cli.console import to_stderr
    from robaudit.deploy.export import export as write

    checked = write(
        model,
        out,
        form=form,
        data=images,
        audit=audit,
        limit=limit,
        **loading.given(),
    )
    if as_json:
        typer.echo(json.dumps({"file": str(out), **asdict(checked)}, indent=2))
        return
    to_stderr(checked.sentence())
    typer.echo(out)
