"""`robaudit gate`: judge an audit by a policy."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from robaudit.cli import options
from robaudit.cli.console import to_stderr

if TYPE_CHECKING:
    from robaudit.gates.verdicts import Verdicts

FILES = "Files for CI servers"


def gate(
    audit: options.AuditArgument,
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The rules; examples/robaudit.toml shows them all.")],
    baseline: Annotated[
        Path | None, typer.Option(metavar="BEFORE.json", help="An earlier audit, for rules that limit a drop.")
    ] = None,
    as_json: options.AsJson = False,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JUnit XML, for Jenkins and GitLab.", rich_help_panel=FILES)
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option(metavar="FILE", help="SARIF 2.1.0, for code scanning.", rich_help_panel=FILES)
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Markdown, for a comment; where GITHUB_STEP_SUMMARY is set, it is added there too.",
            rich_help_panel=FILES,
        ),
    ] = None,
    code_quality: Annotated[
        Path | None, typer.Option(metavar="FILE", help="GitLab Code Quality report.", rich_help_panel=FILES)
    ] = None,
    openmetrics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="OpenMetrics text.", rich_help_panel=FILES)
    ] = None,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 whatever the verdict; an error is still an error.")
    ] = False,
) -> None:
    """Judge an audit by a policy: exit 0 passed, 1 failed, 3 cannot tell.

    Under GitHub Actions, rules that did not pass become annotations at their line of the policy.
    """
    from robaudit.files import require_apart, require_distinct
    from robaudit.gates import code_quality as quality
    from robaudit.gates.document import document
    from robaudit.gates.gate import gate as judge
    from robaudit.gates.junit import junit as as_junit
    from robaudit.gates.markdown import markdown as as_markdown
    from robaudit.gates.openmetrics import openmetrics as as_openmetrics
    from robaudit.gates.policy import read_policy
    from robaudit.gates.sarif import sarif as as_sarif
    from robaudit.records import read_audit

    outs = [out for out in (junit, sarif, markdown, code_quality, openmetrics) if out is not None]
    require_distinct(outs)
    for out in outs:
        require_apart(out, (audit, policy, baseline))
    verdicts = judge(
        read_audit(audit),
        policy=read_policy(_as_seen_from_here(policy)),
        baseline=None if baseline is None else read_audit(baseline),
    )
    _write(
        verdicts,
        (junit, as_junit),
        (sarif, as_sarif),
        (markdown, as_markdown),
        (code_quality, quality.code_quality),
        (openmetrics, as_openmetrics),
    )
    _tell_github(verdicts)
    if as_json:
        typer.echo(document(verdicts), nl=False)
    else:
        _print(verdicts)
    raise typer.Exit(0 if exit_zero else verdicts.exit_code)


def _as_seen_from_here(policy: Path) -> Path:
    """A path inside the working folder relative to it: CI servers name files from the repository's root."""
    try:
        return policy.resolve().relative_to(Path.cwd())
    except ValueError:
        return policy


def _write(verdicts: "Verdicts", *outputs: "tuple[Path | None, Callable[[Verdicts], str]]") -> None:
    """Write the files that were asked for; all are rendered before the first is written."""
    from robaudit.files import write_text

    for path, text in [(path, render(verdicts)) for path, render in outputs if path is not None]:
        write_text(path, text)


def _tell_github(verdicts: "Verdicts") -> None:
    """Annotate the run and fill its summary, where GitHub Actions runs us."""
    from robaudit.errors import OutputError
    from robaudit.gates.github import annotations
    from robaudit.gates.markdown import markdown

    if os.environ.get("GITHUB_ACTIONS") == "true":
        # The runner reads commands on stderr too, and stdout stays what it is elsewhere.
        typer.echo(annotations(verdicts), err=True, nl=False)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown(verdicts))
        except OSError as error:
            raise OutputError(
                f"GITHUB_STEP_SUMMARY={summary}: cannot be written ({error.strerror}); unset it"
            ) from None


def _print(verdicts: "Verdicts") -> None:
    from rich.console import Console

    from robaudit.gates.terminal import print_verdicts

    print_verdicts(verdicts, Console(highlight=False))
    for doubt in verdicts.doubts:
        to_stderr(f"robaudit: {doubt}")
    to_stderr(f"robaudit: gate {verdicts.outcome}")
