"""What a gate answers: one verdict per rule, and the exit code they add up to."""

from dataclasses import dataclass
from enum import StrEnum

from robaudit.errors import ExitCode


class Outcome(StrEnum):
    """The three answers a rule can give."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """The answer to one rule."""

    outcome: Outcome
    rule: str
    """What the rule asks, in words."""
    found: str
    """What was measured, in words."""
    line: int
    """Where the rule stands in the policy file, counted from 1."""

    def __str__(self) -> str:
        """Return the verdict as one line."""
        return f"{self.outcome:<12}  {self.rule}: {self.found}"


@dataclass(frozen=True)
class Verdicts:
    """The answers to all rules of a policy."""

    rules: tuple[Verdict, ...]
    doubts: tuple[str, ...] = ()
    """Why the audit itself cannot be relied on, whatever the rules say; empty where it can."""

    @property
    def outcome(self) -> Outcome:
        """A failed rule outranks doubt, and doubt outranks passing."""
        outcomes = {verdict.outcome for verdict in self.rules}
        if Outcome.FAILED in outcomes:
            return Outcome.FAILED
        if self.doubts or Outcome.INCONCLUSIVE in outcomes:
            return Outcome.INCONCLUSIVE
        return Outcome.PASSED

    @property
    def exit_code(self) -> ExitCode:
        """The code `robaudit gate` ends with."""
        return {
            Outcome.PASSED: ExitCode.OK,
            Outcome.FAILED: ExitCode.GATE_FAILED,
            Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
        }[self.outcome]
