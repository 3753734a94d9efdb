"""Where words go: people read stderr, the artefact goes to stdout or its file.

With `--log-json` every line on stderr is a JSON object instead, for programs (docs/faults.md).
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from datetime import UTC, datetime

from robaudit.inert import inert

_started = time.monotonic()
_as_json = False


def log_as_json(wanted: bool) -> bool:
    """Tell programs instead of people from now on."""
    global _as_json
    _as_json = wanted
    if wanted:
        warnings.showwarning = lambda message, *_, **__: event("warning", text=str(message))
    return wanted


def logs_json() -> bool:
    """Whether stderr is for programs."""
    return _as_json


def to_stderr(line: str, kind: str = "message") -> None:
    """Tell the person one line; whatever it quotes from a file comes out inert."""
    if _as_json:
        event(kind, text=line)
    else:
        _write(inert(line))


def event(kind: str, **fields: object) -> None:
    """Tell a program one thing, as a line of JSON in ASCII. `seconds` come from a clock that never jumps."""
    when = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "seconds": _elapsed()}
    _write(json.dumps({"event": kind, **when, **fields}))


def tell_end(code: int) -> None:
    """Tell a program, last of all, how the command ends."""
    if _as_json:
        event("end", exit_code=code)


def _write(line: str) -> None:
    """In one piece, newline and all: a signal between two writes would let the next line run into this one."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _elapsed() -> float:
    return round(time.monotonic() - _started, 3)
