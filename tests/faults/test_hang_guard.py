"""A model that never answers: the command ends with 130 and says what it was asked."""

import json
import subprocess
import sys
import time

from robaudit.cli import hang_guard
from robaudit.cli.hang_guard import HangGuard, guarded
from robaudit.progress import Silent

HANGING = """
import signal, sys, time
from robaudit.cli import hang_guard
from robaudit.cli.console import log_as_json
from robaudit.progress import Silent
log_as_json({as_json})
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as main does
hang_guard.GRACE_SECONDS = {grace}
guard = hang_guard.HangGuard(Silent(), 0.2)
guard.asking(["well/1.png", "well/2.png"])
while True:
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        print("farewell", flush=True)
        {then}
"""


def ended(then: str, grace: float, as_json: bool = False) -> subprocess.CompletedProcess[str]:
    code = HANGING.format(then=then, grace=grace, as_json=as_json)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_it_says_what_was_asked_and_lets_python_say_farewell() -> None:
    done = ended("sys.exit(130)", grace=100)
    assert (done.returncode, done.stdout) == (130, "farewell\n")
    assert "has not answered for 0.2 s, asked about well/1.png, well/2.png" in done.stderr
    assert "--hang-after" in done.stderr


def test_a_computation_that_no_signal_reaches_ends_with_its_process() -> None:
    done = ended("pass", grace=0.2)
    assert done.returncode == 130
    assert len(done.stderr.splitlines()) == 1


def test_a_program_is_told_of_that_end_too() -> None:
    done = ended("pass", grace=0.2, as_json=True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(each["event"], each.get("exit_code")) for each in events] == [("error", None), ("end", 130)]


def test_it_counts_only_while_the_model_is_asked() -> None:
    guard = HangGuard(Silent(), 0.05)
    guard.advance()
    time.sleep(0.2)  # a KeyboardInterrupt would end this test
    guard = HangGuard(Silent(), 600)
    guard.asking(["a.png"])
    assert guard._asked == ["a.png"]
    guard.advance()
    assert guard._asked is None


def test_zero_waits_for_ever() -> None:
    silent = Silent()
    assert guarded(silent, 0) is silent
    assert hang_guard.DEFAULT_SECONDS >= 600
