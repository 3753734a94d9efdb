"""`robaudit assimilate`: retrofit a classifier with domain assimilation."""

from typing import Annotated

import typer

from robaudit.cli import options

TRAINING, TEXTURE = "Training", "Texture term"

Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="paper: 300 epochs, learning rate 1e-4, batch 32, patience 30, GLCM on C(X), as the source states; "
        "options given beside it take precedence.",
        rich_help_panel=TRAINING,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="At most N epochs [dim](default: 15)[/dim].", rich_help_panel=TRAINING),
]
Patience = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Stop after N epochs without a lower validation loss [dim](default: 5)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr", metavar="X", help="Learning rate of AdamW [dim](default: 1e-4)[/dim].", rich_help_panel=TRAINING
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Images per step [dim](default: 32)[/dim].", rich_help_panel=TRAINING),
]
Trains = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="all, the source's objective; front: T and C alone, the network frozen with its batch-norm statistics; "
        "front+head: these and the last layer [dim](default: all)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="A",
        help="Share of the cross-entropy in the loss, the rest is texture; 1 trains without GLCM loss "
        "[dim](default: 0.9)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
GlcmOn = Annotated[
    str | None,
    typer.Option(
        "--glcm-on",
        metavar="front|color",
        help="Whose texture must stay the image's: C(T(X)), which the backbone sees, or C(X), the source's letter "
        "[dim](default: front)[/dim].",
        rich_help_panel=TEXTURE,
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(
        metavar="patches|features",
        help="What the largest row sum is taken over: the worst patch, or the worst orientation and feature "
        "[dim](default: patches)[/dim].",
        rich_help_panel=TEXTURE,
    ),
]
Levels = Annotated[
    int | None,
    typer.Option(
        min=2,
        max=256,
        metavar="L",
        help="Grey levels of the co-occurrence matrix [dim](default: 32)[/dim].",
        rich_help_panel=TEXTURE,
    ),
]
RawFeatures = Annotated[
    bool,
    typer.Option(
        "--raw-features",
        help="Compare features in grey levels instead of bringing each to [0, 1].",
        rich_help_panel=TEXTURE,
    ),
]


def assimilate(
    model: options.ModelArgument,
    data: options.DataArgument,
    out: options.Out,
    preset: Preset = None,
    epochs: Epochs = None,
    patience: Patience = None,
    lr: LearningRate = None,
    batch_size: BatchSize = None,
    trains: Trains = None,
    alpha: Alpha = None,
    glcm_on: GlcmOn = None,
    rows: Rows = None,
    levels: Levels = None,
    raw_features: RawFeatures = False,
    arch: options.Arch = None,
    factory: options.Factory = None,
    trust: options.Trust = None,
    weights: options.Weights = None,
    output: options.Output = None,
    label_index: options.LabelIndex = None,
    classes: options.Classes = None,
    mean: options.Mean = None,
    std: options.Std = None,
    normalization: options.NormalizationPreset = None,
    input_size: options.InputSize = None,
    limit: options.Limit = None,
    merge: options.Merge = None,
    on_bad_image: options.OnBadImage = "fail",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    restart: options.Restart = False,
) -> None:
    """Retrofit a classifier with domain assimilation; write a folder that scan accepts as MODEL.

    Puts a texture module T and a colour module C in front of the network, changing nothing at first, and trains on
    the train part of DATA with cross-entropy and GLCM loss, stopping early on the val part. Undivided DATA is split
    60/20/20, and the split written out.
    """
    from robaudit.cli.progress import terminal_progress
    from robaudit.retrofit.assimilate import assimilate as retrofit

    retrofit(
        model,
        data,
        out=out,
        preset=preset,
        epochs=epochs,
        patience=patience,
        learning_rate=lr,
        batch_size=batch_size,
        trains=trains,
        alpha=alpha,
        glcm_on=glcm_on,
        rows=rows,
        levels=levels,
        scaled=False if raw_features else None,
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
            normalization=normalization,
        ),
        **options.data_options(limit, merge, on_bad_image),
        seed=seed,
        device=device,
        restart=restart,
        command=options.command_line(),
        progress=terminal_progress(),
    )
    typer.echo(out)
