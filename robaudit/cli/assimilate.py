"""`robaudit assimilate`: retrofit a classifier with domain assimilation."""

from typing import Annotated

import typer

from robaudit.cli import options
from robaudit.cli.groups import ModelOptions, ViewOptions, with_groups
from robaudit.cli.hang_guard import DEFAULT_SECONDS, guarded

TRAINING, TEXTURE, ROBUST = "Training", "Texture term", "Adversarial training"

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
        help="Stop after N epochs without a lower validation loss [dim](default: 5)[/dim]; with --robust, without more "
        "validation images correct under attack [dim](default: 15)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
FrontModules = Annotated[
    str | None,
    typer.Option(
        "--front",
        metavar="T+C|T|C|none",
        help="Modules before the network; none fine-tunes the network alone, the rival to compare with; with --robust, "
        "on attacked images [dim](default: T+C)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        metavar="X",
        help="AdamW's learning rate of the network [dim](default: 1e-4)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
FrontLearningRate = Annotated[
    float | None,
    typer.Option(
        "--front-lr",
        metavar="X",
        help="Learning rate of T and C [dim](default: 1e-3)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        metavar="constant|cosine",
        help="Course of the learning rates; cosine ends at zero [dim](default: constant; with --robust, cosine)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
Augment = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,..",
        help="Random changes that leave the diagnosis alone: flip, flip-vertical, shift, rotate, intensity "
        "[dim](default: none)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
ClassWeights = Annotated[
    str | None,
    typer.Option(
        metavar="balanced|W,..",
        help="Weight of each class in the loss; balanced makes up for unequal numbers [dim](default: ones)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Number format of the network's training passes: float32 or bfloat16; validation is always float32 "
        "[dim](default: float32)[/dim].",
        rich_help_panel=TRAINING,
    ),
]
Tint = Annotated[
    bool,
    typer.Option(
        "--tint", help="Let C colour pure black and white, which it cannot move otherwise.", rich_help_panel=TRAINING
    ),
]
RandomFront = Annotated[
    bool,
    typer.Option(
        "--random-front",
        help="T and C start at random instead of changing nothing; with --trains network they stay so: an ablation.",
        rich_help_panel=TRAINING,
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
        "front+head: these and the last layer; network: all but T and C [dim](default: all)[/dim].",
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
Patch = Annotated[
    int | None,
    typer.Option(
        min=4, metavar="N", help="Side of the patches in pixels [dim](default: 20)[/dim].", rich_help_panel=TEXTURE
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
Robust = Annotated[
    bool,
    typer.Option(
        "--robust",
        help="Train T, C and the network on attacked images; an epoch takes about twice as long.",
        rich_help_panel=ROBUST,
    ),
]
RobustBy = Annotated[
    str | None,
    typer.Option(
        "--robust-by",
        metavar="NAME",
        help="fgsm: one step from a random start, guarded against going blind; pgd: a few steps; trades: a few steps "
        "and a clean term. Implies --robust [dim](default: fgsm)[/dim].",
        rich_help_panel=ROBUST,
    ),
]
RobustEps = Annotated[
    int | None,
    typer.Option(
        "--robust-eps",
        min=1,
        max=255,
        metavar="K",
        help="L-inf budget of training, in 255ths; a smaller one costs less clean accuracy and withstands less "
        "[dim](default: 4)[/dim].",
        rich_help_panel=ROBUST,
    ),
]
RobustSteps = Annotated[
    int | None,
    typer.Option(
        "--robust-steps",
        min=1,
        metavar="N",
        help="Steps of pgd and trades [dim](default: 3)[/dim].",
        rich_help_panel=ROBUST,
    ),
]
TradesBeta = Annotated[
    float | None,
    typer.Option(
        "--trades-beta",
        min=0,
        metavar="B",
        help="Weight of trades' divergence [dim](default: 6.0)[/dim].",
        rich_help_panel=ROBUST,
    ),
]
ValSteps = Annotated[
    int | None,
    typer.Option(
        "--val-steps",
        min=1,
        metavar="N",
        help="PGD steps of the validation that chooses the epoch [dim](default: 5)[/dim].",
        rich_help_panel=ROBUST,
    ),
]

Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        help="Who trains: this process, or workers of a Ray cluster that share every batch.",
        rich_help_panel=options.SCALE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Ray workers, one per device [dim](default: as many as there is room for)[/dim].",
        rich_help_panel=options.SCALE,
    ),
]


def attack_of_training(robust: bool, robust_by: str | None) -> str | None:
    """What --robust and --robust-by say together; None for training on the images as they are.

    Raises:
        SettingsError: there is no such attack.
    """
    if robust_by is not None:
        options.choice("--robust-by", robust_by, "fgsm", "pgd", "trades")
    return robust_by or ("fgsm" if robust else None)


@with_groups
def assimilate(
    model: options.ModelArgument,
    data: options.DataArgument,
    out: options.Out,
    *,
    preset: Preset = None,
    epochs: Epochs = None,
    patience: Patience = None,
    lr: LearningRate = None,
    front_lr: FrontLearningRate = None,
    schedule: Schedule = None,
    batch_size: BatchSize = None,
    front: FrontModules = None,
    tint: Tint = False,
    random_front: RandomFront = False,
    trains: Trains = None,
    alpha: Alpha = None,
    augment: Augment = None,
    class_weights: ClassWeights = None,
    precision: Precision = None,
    robust: Robust = False,
    robust_by: RobustBy = None,
    robust_eps: RobustEps = None,
    robust_steps: RobustSteps = None,
    trades_beta: TradesBeta = None,
    val_steps: ValSteps = None,
    glcm_on: GlcmOn = None,
    rows: Rows = None,
    patch: Patch = None,
    levels: Levels = None,
    raw_features: RawFeatures = False,
    loading: ModelOptions,
    limit: options.Limit = None,
    merge: options.Merge = None,
    shown: ViewOptions,
    on_bad_image: options.OnBadImage = "fail",
    accept_preprocessing: options.AcceptPreprocessing = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    restart: options.Restart = False,
    engine: Engine = "local",
    workers: Workers = None,
    ray_address: options.RayAddress = None,
    gpus_per_worker: options.GpusPerWorker = None,
    hang_after: options.HangAfter = DEFAULT_SECONDS,
    log_json: options.LogJson = False,
    as_json: options.AsJson = False,
) -> None:
    """Retrofit a classifier with domain assimilation; write a folder that scan accepts as MODEL.

    Puts a texture module T and a colour module C in front of the network, changing nothing at first, and trains on
    the train part of DATA with cross-entropy and GLCM loss, stopping early on the val part. Undivided DATA is split
    60/20/20, and the split written out. Interrupted? The same command continues after the last complete epoch.
    """
    # Told of what is mistyped first: what computes takes seconds to import.
    given = {
        **loading.given(),
        **options.data_options(limit, merge, on_bad_image),
        "augment": None if augment is None else ",".join(options.names(augment) or []),
        "engine": options.choice("--engine", engine, "local", "ray"),
    }

    from robaudit.cli.progress import terminal_progress
    from robaudit.records import TRAINING_FILE
    from robaudit.retrofit.assimilate import assimilate as retrofit

    retrofit(
        model,
        data,
        out=out,
        preset=preset,
        epochs=epochs,
        patience=patience,
        learning_rate=lr,
        front_learning_rate=front_lr,
        schedule=schedule,
        batch_size=batch_size,
        front=front,
        tint=tint or None,
        random_front=random_front or None,
        trains=trains,
        alpha=alpha,
        class_weights=class_weights,
        precision=precision,
        robust=attack_of_training(robust, robust_by),
        robust_eps_255=robust_eps,
        robust_steps=robust_steps,
        trades_beta=trades_beta,
        val_steps=val_steps,
        glcm_on=glcm_on,
        rows=rows,
        patch=patch,
        levels=levels,
        scaled=False if raw_features else None,
        **given,
        view=shown.view(),
        seed=seed,
        device=device,
        accept_preprocessing=accept_preprocessing,
        restart=restart,
        workers=workers,
        ray_address=ray_address,
        gpus_per_worker=gpus_per_worker,
        command=options.command_line(),
        progress=guarded(terminal_progress(), hang_after),
    )
    typer.echo((out / TRAINING_FILE).read_text(encoding="utf-8") if as_json else out, nl=not as_json)
