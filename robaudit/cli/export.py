"""`robaudit export`: write a classifier as one file that runs without robaudit."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli import options

CHECK = "The check"


def export(
    model: options.ModelArgument,
    form: Annotated[str, typer.Option("--format", metavar="torchscript|onnx|pt2", help="Format of the file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")],
    arch: options.Arch = None,
    factory: options.Factory = None,
    trust: options.Trust = None,
    weights: options.Weights = None,
    output: options.Output = None,
    label_index: options.LabelIndex = None,
    threshold: options.Threshold = None,
    classes: options.Classes = None,
    mean: options.Mean = None,
    std: options.Std = None,
    normalization: options.NormalizationPreset = None,
    input_size: options.InputSize = None,
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
        **options.model_options(
            arch,
            classes,
            mean,
            std,
            input_size,
            factory=factory,
            trust=trust,
            weights=weights,
            output=output,
            label_index=label_index,
            threshold=threshold,
            normalization=normalization,
        ),
    )
    if as_json:
        typer.echo(json.dumps({"file": str(out), **asdict(checked)}, indent=2))
        return
    to_stderr(checked.sentence())
    typer.echo(out)
