"""The `robaudit` command: its sub-commands, and the one place that turns errors into exit codes."""

import errno
import os
import signal
import sys
import tempfile
import traceback
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from robaudit import __version__
from robaudit.cli.assimilate import assimilate
from robaudit.cli.badge import badge
from robaudit.cli.compare import compare
from robaudit.cli.console import tell_end, to_stderr
from robaudit.cli.demo import demo
from robaudit.cli.export import export
from robaudit.cli.gate import gate
from robaudit.cli.inspect import inspect
from robaudit.cli.run import run
from robaudit.cli.scan import scan
from robaudit.cli.schema import schema
from robaudit.cli.status import status
from robaudit.cli.streams import drop_stdout, require_text, settle_streams
from robaudit.errors import ExitCode, RobauditError
from robaudit.memory import OUT_OF_MEMORY, ran_out

app = typer.Typer(
    name="robaudit",
    help="Audit a medical image classifier under attack, retrofit it with domain assimilation, and compare.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done or passed · 1 a gate failed · 2 unusable input · 3 inconclusive · 4 internal error · "
    "130 interrupted.",
)

for command in (demo, scan, assimilate, compare, run, gate, status, inspect, export, badge, schema):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"robaudit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line and exit with a code of `ExitCode`."""
    # A CI server ends a job with SIGTERM: what is under way is kept as for Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settle_streams()
    try:
        require_text(sys.argv[1:])
        code = app(standalone_mode=False)
        if code == ExitCode.INTERRUPTED:  # typer takes Ctrl-C for itself, and returns its code
            raise KeyboardInterrupt
        sys.stdout.flush()
    except RobauditError as error:
        _fail(" ".join(str(error).splitlines()))
        code = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        for further in (signal.SIGINT, signal.SIGTERM):  # who sends one again gets the same exit code
            signal.signal(further, signal.SIG_IGN)
        _fail("interrupted; the same command continues")
        code = ExitCode.INTERRUPTED
    except TyperException as error:
        _fail(_with_help(error))
        code = ExitCode.UNUSABLE_INPUT
    except Exception as error:
        code = _unforeseen(error)
    tell_end(int(code or ExitCode.OK))
    sys.exit(code or ExitCode.OK)


def _fail(line: str) -> None:
    to_stderr(f"robaudit: {line}", "error")


def _with_help(error: TyperException) -> str:
    """What typer says of the arguments, and the command whose help has more."""
    message = error.format_message().strip() or "Missing command"
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "robaudit"
    return f"{message}{'' if message.endswith(('.', '?')) else '.'} See `{command} --help`."


def _unforeseen(error: Exception) -> ExitCode:
    """Tell of what no stage foresaw: the machine has run out of something, or robaudit is wrong."""
    if ran_out(error):
        _fail(f"{OUT_OF_MEMORY}; pass a smaller --batch-size, or free memory")
        return ExitCode.UNUSABLE_INPUT
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        _fail(f"{error.filename or 'a file'}: cannot be opened ({error.strerror}); allow more, as with ulimit -n")
        return ExitCode.UNUSABLE_INPUT
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        _fail(f"{error.filename or 'stdout'}: cannot be written ({error.strerror}); free space")
        drop_stdout()
        return ExitCode.UNUSABLE_INPUT
    if isinstance(error, PermissionError) and error.filename is not None:
        _fail(f"{error.filename}: may not be read or written ({error.strerror}); ask for the right to, or pass another")
        return ExitCode.UNUSABLE_INPUT
    _fail(f"internal error: {_one_line(error)}; please report it{_with_traceback()}")
    return ExitCode.INTERNAL_ERROR


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _with_traceback() -> str:
    """Save the traceback; says where, or nothing where it cannot be saved."""
    try:
        handle, name = tempfile.mkstemp(prefix="robaudit-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(traceback.format_exc())
    except OSError:
        return ""
    return f" with {name}"
