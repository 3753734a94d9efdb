"""`robaudit scan`: measure accuracy under attack."""

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli import options
from robaudit.cli.console import event, logs_json
from robaudit.cli.groups import ModelOptions, ViewOptions, with_groups
from robaudit.cli.hang_guard import DEFAULT_SECONDS, MEND, guarded
from robaudit.errors import ExitCode

Attacks = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,..",
        help="fgsm, bim, mifgsm, pgd, apgd, transfer, bpda or head, each with [bold]-margin[/bold] or "
        "[bold]-targeted[/bold] for another loss and [bold]-100x5[/bold] for 100 steps and 5 restarts behind it; "
        "square and corners, with queries or draws behind them; foolbox:CLASS. [bold]+[/bold] before a name: only on "
        "images that those before it left standing [dim](default: the preset's)[/dim].",
        rich_help_panel=options.ATTACK,
    ),
]
Eps = Annotated[
    str, typer.Option(metavar="K,..", help="L-inf budgets in 255ths: 1,2,4 or 1-8.", rich_help_panel=options.ATTACK)
]
Restarts = Annotated[
    int, typer.Option(min=1, metavar="N", help="Random starts of pgd and apgd.", rich_help_panel=options.ATTACK)
]
Preset = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="quick: fgsm and bim · default: fgsm, bim, mifgsm and pgd, then on the survivors apgd on the margin, with "
        "three classes and more apgd towards the others, and Square Attack · thorough: longer, with restarts, "
        "transfer and bpda · paper: the four as the literature measures. A model of two classes that withstands costs "
        "about 13, 113, 393 and 466 gradients an image, the checks a few hundred for each of --check-sample; one that "
        "falls early costs less.",
        rich_help_panel=options.ATTACK,
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        metavar="nested|paper",
        help="nested searches the smallest fooling eps per image; paper runs every eps on its own and judges the last "
        "iterate, as the literature does [dim](default: the preset's)[/dim].",
        rich_help_panel=options.ATTACK,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Padded batch shape [dim](default: chosen)[/dim].", rich_help_panel=options.RUN
    ),
]
Search = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How an image's smallest fooling eps is looked for: descend, bisect or ascend.",
        rich_help_panel=options.ENGINE,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Number format of the gradients: float32, bfloat16, or auto for bfloat16 where the hardware has it. "
        "Success is always judged in float32.",
        rich_help_panel=options.ENGINE,
    ),
]
Without = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,..",
        help="Switch off: rescale, shared-gradient, fold, channels-last.",
        rich_help_panel=options.ENGINE,
    ),
]
Surrogate = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL",
        help="Another model of the same classes, to make pictures on that may transfer [dim](default: the model before "
        "the retrofit, where MODEL is one)[/dim].",
        rich_help_panel=options.ATTACK,
    ),
]
CheckSample = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Images that are asked more, to see whether the number can be believed; 0 leaves that out, and says so "
        "[dim](default: 24; 8 of --preset quick)[/dim].",
        rich_help_panel=options.ATTACK,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        help="Who measures: this machine, or a Ray cluster. Rows and counts are the same.",
        rich_help_panel=options.SCALE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes that measure, one per device [dim](default: this one; with Ray, as many as there is room "
        "for)[/dim].",
        rich_help_panel=options.SCALE,
    ),
]
WarmStart = Annotated[
    bool,
    typer.Option(
        "--warm-start",
        help="Begin below a found eps at the found perturbation instead of the attack's own start.",
        rich_help_panel=options.ENGINE,
    ),
]

SKIP = (
    "Continue with --workers 2, which finds out which image it is and counts that as an error; or mend the model or "
    "leave these images out"
)


@with_groups
def scan(
    model: options.ModelArgument,
    data: options.DataArgument,
    out: options.Out,
    *,
    loading: ModelOptions,
    accept_preprocessing: options.AcceptPreprocessing = False,
    expect_clean_accuracy: options.ExpectCleanAccuracy = None,
    attacks: Attacks = None,
    eps: Eps = "1-8",
    restarts: Restarts = 1,
    preset: Preset = "default",
    protocol: Protocol = None,
    surrogate: Surrogate = None,
    check_sample: CheckSample = None,
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
    engine: Engine = "local",
    workers: Workers = None,
    ray_address: options.RayAddress = None,
    gpus_per_worker: options.GpusPerWorker = None,
    search: Search = "descend",
    precision: Precision = "auto",
    without: Without = None,
    warm_start: WarmStart = False,
    hang_after: options.HangAfter = DEFAULT_SECONDS,
    log_json: options.LogJson = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure a classifier's accuracy under attack; write audit.json.

    Takes the test part of DATA where it has parts. Robust accuracy is an upper bound: a stronger attack can only
    lower it. Interrupted? The same command continues.
    """
    # Told of what is mistyped first: what computes takes seconds to import.
    given = {
        **loading.given(),
        **options.data_options(limit, merge, on_bad_image),
        "on_learnt_image": options.choice("--on-learnt-image", on_learnt_image, "keep", "skip"),
        "attacks": options.names(attacks),
        "eps": options.whole_numbers("--eps", eps),
        "protocol": None if protocol is None else options.choice("--protocol", protocol, "nested", "paper"),
        "engine": options.choice("--engine", engine, "local", "ray"),
        "precision": options.choice("--precision", precision, "float32", "bfloat16", "auto"),
        "without": options.names(without) or (),
    }

    from rich.console import Console

    from robaudit.audit.scan import scan as measure
    from robaudit.cli.progress import terminal_progress
    from robaudit.records import AUDIT_FILE
    from robaudit.report.html import write_beside
    from robaudit.report.terminal import print_audit

    record = measure(
        model,
        data,
        out=out,
        **given,
        view=shown.view(),
        restarts=restarts,
        preset=preset,
        accept_preprocessing=accept_preprocessing,
        expect_clean_accuracy=expect_clean_accuracy,
        positive=positive,
        note=note,
        seed=seed,
        batch_size=batch_size,
        device=device,
        restart=restart,
        workers=workers,
        ray_address=ray_address,
        gpus_per_worker=gpus_per_worker,
        hang_after=hang_after,
        search=search,
        warm_start=warm_start,
        surrogate=surrogate,
        check_sample=check_sample,
        command=options.command_line(),
        progress=guarded(terminal_progress(), hang_after, SKIP if workers in (None, 1) and engine == "local" else MEND),
    )
    page = write_beside(out / AUDIT_FILE)
    if logs_json():
        event("result", path=str(out / AUDIT_FILE), verdict=record.verdict.kind, sentence=record.verdict.sentence)
    if as_json:
        typer.echo((out / AUDIT_FILE).read_text(encoding="utf-8"), nl=False)
    else:
        if not logs_json():
            print_audit(record, Console(stderr=True), page)
        typer.echo(out / AUDIT_FILE)
    if record.verdict.kind == "inconclusive":
        raise typer.Exit(ExitCode.INCONCLUSIVE)
