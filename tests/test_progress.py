"""Progress: a bar for a person who watches, lines for a log."""

import io
import sys

import pytest
from rich.console import Console

from robaudit.cli import progress
from robaudit.cli.progress import terminal_progress


@pytest.mark.parametrize(
    ("isatty", "environment", "kind"),
    [
        (True, {"TERM": "xterm-256color"}, "_Bar"),
        (True, {"TERM": "xterm-256color", "CI": "true"}, "_Lines"),
        (True, {"TERM": "dumb"}, "_Lines"),
        (False, {"TERM": "xterm-256color"}, "_Lines"),
    ],
)
def test_a_bar_only_where_somebody_watches(
    monkeypatch: pytest.MonkeyPatch, isatty: bool, environment: dict[str, str], kind: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: isatty, raising=False)
    assert type(terminal_progress()).__name__ == kind


def test_a_log_gets_whole_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hundred images at a second each: a line every quarter of a minute, none with a carriage return."""
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    lines = progress._Lines()
    lines.start("attacking", 100)
    for _ in range(100):
        lines.advance()
    lines.finish()
    said = capsys.readouterr().err
    assert "\r" not in said
    assert "\x1b" not in said
    assert 3 <= len(said.splitlines()) <= 20
    assert all(line.startswith("attacking ") for line in said.splitlines())


def test_the_time_left_is_told_by_what_was_done_since_the_stage_began(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """60 of 100 are of an earlier run; 10 more took 20 seconds, so 30 take a minute."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = progress._Lines()
    lines.start("attacking", 100, done=60)
    now = 20.0
    lines.advance(10)
    assert capsys.readouterr().err == "attacking 70/100, 1:00 left\n"


def test_a_bar_tells_the_time_left_by_the_whole_stage_however_unevenly_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick check after a slow one: 9 units took 90 seconds and 1 took none, so 10 more take as long again."""

    def shown() -> str:
        console = Console(file=io.StringIO(), width=120)
        with console.capture() as captured:
            console.print(bar._bars.get_renderable())
        return captured.get()

    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    bar = progress._Bar()
    bar.start("checking", 20)
    assert "ETA -:--:--" in shown()
    now = 90.0
    bar.advance(9, note="smooth")
    bar.advance(1)
    assert "checking" in shown()
    assert "10/20" in shown()
    assert "ETA 0:01:30 smooth" in shown()
    bar.finish()
