"""What a gate answers: one verdict per rule, and the exit code they add up to."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import chain, count

from robaudit.errors import ExitCode
from robaudit.gates.policy import Mode, Rule, subject
from robaudit.records import AuditRecord, Tally


class Outcome(StrEnum):
    """The three answers a rule can give."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Estimate:
    """A share or a difference of shares, with its 95% interval."""

    value: Fraction
    low: Fraction
    high: Fraction
    counted: Tally
    """The counts behind it, in the audit."""
    baseline: Tally | None = None
    """The counts it was subtracted from, where it is a drop."""


@dataclass(frozen=True)
class RuleVerdict:
    """The answer to one rule."""

    outcome: Outcome
    rule: str
    """What the rule asks, in words."""
    found: str
    """What was measured, in words."""
    line: int
    """Where the rule stands in the policy file, counted from 1."""
    asked: Rule
    """The rule as the policy spells it."""
    mode: Mode
    estimate: Estimate | None = None
    """What an accuracy rule compared with its bound; None where it was not measured."""

    def __str__(self) -> str:
        """Return the verdict as one line."""
        return f"{self.outcome:<12}  {self.rule}: {self.found}"


@dataclass(frozen=True)
class Verdicts:
    """The answers to all rules of a policy."""

    rules: tuple[RuleVerdict, ...]
    audit: AuditRecord
    """What was judged."""
    policy: str
    """The file of the rules, as it was given."""
    doubts: tuple[str, ...] = ()
    """Why the audit itself cannot be relied on, whatever the rules say; empty where it can."""
    baseline: AuditRecord | None = None

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

    @property
    def named(self) -> Iterator[tuple[str, RuleVerdict]]:
        """Each verdict with a name of its own that outlives new measurements and new thresholds.

        Two rules about the same thing are told apart by their order.
        """
        taken: set[str] = set()
        for verdict in self.rules:
            about = subject(verdict.asked)
            name = next(name for name in chain([about], (f"{about}-{n}" for n in count(2))) if name not in taken)
            taken.add(name)
            yield name, verdict

    def count(self, outcome: Outcome) -> int:
        """How many rules gave this answer."""
        return sum(verdict.outcome is outcome for verdict in self.rules)
