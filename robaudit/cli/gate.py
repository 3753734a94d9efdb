"""`robaudit gate`: judge an audit by a policy."""

from pathlib import Path
from typing import Annotated

import typer

from robaudit.cli.console import to_stderr
from robaudit.inert import inert


def gate(
    audit: Annotated[Path, typer.Argument(metavar="AUDIT.json", help="The audit record that scan wrote.")],
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The rules; examples/robaudit.toml shows them all.")],
    baseline: Annotated[
        Path | None, typer.Option(metavar="BEFORE.json", help="An earlier audit, for rules that limit a drop.")
    ] = None,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 whatever the verdict; an error is still an error.")
    ] = False,
) -> None:
    """Judge an audit by a policy: exit 0 passed, 1 failed, 3 cannot tell."""
    from robaudit.gates.gate import gate as judge
    from robaudit.gates.policy import read_policy
    from robaudit.records import read_audit

    verdicts = judge(
        read_audit(audit), policy=read_policy(policy), baseline=None if baseline is None else read_audit(baseline)
    )
    for verdict in verdicts.rules:
        typer.echo(inert(str(verdict)))
    for doubt in verdicts.doubts:
        to_stderr(f"robaudit: {doubt}")
    to_stderr(f"robaudit: gate {verdicts.outcome}")
    raise typer.Exit(0 if exit_zero else verdicts.exit_code)
