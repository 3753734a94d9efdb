"""Annotations of GitHub Actions: workflow commands that pin a finding to the rule's line."""

from robaudit.gates.verdicts import Outcome, Verdicts
from robaudit.gates.words import headline, policy_uri
from robaudit.inert import inert

_LEVELS = {Outcome.FAILED: "error", Outcome.INCONCLUSIVE: "warning"}


def annotations(verdicts: Verdicts) -> str:
    """Write a workflow command per rule that did not pass, and per doubt; a last one that sums up."""
    file = policy_uri(verdicts)
    found = [
        _command(_LEVELS[verdict.outcome], f"{verdict.rule}: {verdict.found}", file, verdict.line)
        for verdict in verdicts.rules
        if verdict.outcome is not Outcome.PASSED
    ]
    doubts = [_command("warning", doubt, file, 1) for doubt in verdicts.doubts]
    return "\n".join([*found, *doubts, f"::notice::{_data(headline(verdicts))}"]) + "\n"


def _command(level: str, message: str, file: str, line: int) -> str:
    return f"::{level} file={_property(file)},line={line},title=robaudit gate::{_data(message)}"


def _data(text: str) -> str:
    return inert(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
