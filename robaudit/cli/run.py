"""`robaudit run`: the whole job on a model and images."""

from typing import Annotated

import typer

from robaudit.cli import options
from robaudit.cli.assimilate import (
    Alpha,
    Epochs,
    LearningRate,
    Robust,
    RobustBy,
    RobustEps,
    Trains,
    attack_of_training,
)
from robaudit.cli.groups import ModelOptions, ViewOptions, with_groups
from robaudit.cli.hang_guard import DEFAULT_SECONDS, guarded
from robaudit.cli.scan import Attacks, Eps
from robaudit.errors import ExitCode

Preset = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="quick, default or thorough choose the attacks; paper measures and trains as the source (300 epochs).",
        rich_help_panel=options.RUN,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Images per step of training, and padded batch shape of the scans [dim](default: 32, and chosen)[/dim].",
        rich_help_panel=options.RUN,
    ),
]
WithoutGlcm = Annotated[
    bool,
    typer.Option(
        "--without-glcm",
        help="Also retrofit with cross-entropy alone, to show what the GLCM loss changes.",
        rich_help_panel=options.RUN,
    ),
]


@with_groups
def run(
    model: options.ModelArgument,
    data: options.DataArgument,
    out: options.Out,
    *,
    preset: Preset = "default",
    epochs: Epochs = None,
    lr: LearningRate = None,
    trains: Trains = None,
    alpha: Alpha = None,
    robust: Robust = False,
    robust_by: RobustBy = None,
    robust_eps: RobustEps = None,
    without_glcm: WithoutGlcm = False,
    attacks: Attacks = None,
    eps: Eps = "1-8",
    loading: ModelOptions,
    accept_preprocessing: options.AcceptPreprocessing = False,
    expect_clean_accuracy: options.ExpectCleanAccuracy = None,
    limit: options.Limit = None,
    positive: options.Positive = None,
    merge: options.Merge = None,
    note: options.Note = None,
    shown: ViewOptions,
    on_bad_image: options.OnBadImage = "fail",
    on_learnt_image: options.OnLearntImage = "keep",
    seed: options.Seed = 0,
    batch_size: BatchSize = None,
    device: options.Device = "auto",
    restart: options.Restart = False,
    hang_after: options.HangAfter = DEFAULT_SECONDS,
    log_json: options.LogJson = False,
    as_json: options.AsJson = False,
) -> None:
    """Scan, assimilate, scan again and compare, in one go.

    Prints an estimate of the time first. DATA has train, val and test parts, or is split 60/20/20 and the split
    written out. Interrupted? The same command continues; finished stages are reused.
    """
    # Told of what is mistyped first: what computes takes seconds to import.
    said, reading = loading.given(), options.data_options(limit, merge, on_bad_image)
    learnt = options.choice("--on-learnt-image", on_learnt_image, "keep", "skip")
    asked, budgets = options.names(attacks), options.whole_numbers("--eps", eps)

    from robaudit.cli.progress import terminal_progress
    from robaudit.job.run import Stages
    from robaudit.job.run import run as whole_job

    page = whole_job(
        model,
        data,
        out=out,
        preset=options.choice("--preset", preset, "quick", "default", "thorough", "paper"),
        without_glcm=without_glcm,
        loading={
            **said,
            "device": device,
        },
        reading={
            **reading,
            "view": shown.view(),
        },
        scanning={
            "attacks": asked,
            "eps": budgets,
            "on_learnt_image": learnt,
            "positive": positive,
            "accept_preprocessing": accept_preprocessing,
            "expect_clean_accuracy": expect_clean_accuracy,
            "note": note,
            "batch_size": batch_size,
        },
        training={
            "epochs": epochs,
            "learning_rate": lr,
            "trains": trains,
            "alpha": alpha,
            "robust": attack_of_training(robust, robust_by),
            "robust_eps_255": robust_eps,
            "batch_size": batch_size,
        },
        seed=seed,
        restart=restart,
        command=options.command_line(),
        progress=guarded(terminal_progress(), hang_after),
    )
    typer.echo(Stages(out).document() if as_json else page, nl=not as_json)
    if Stages(out).inconclusive:
        raise typer.Exit(ExitCode.INCONCLUSIVE)
