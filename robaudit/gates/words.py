"""How every output of the gate words the same thing: headline, identity, place, numbers."""

import hashlib
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from pathlib import PurePath

from robaudit.gates.policy import CheckRule, ImagesRule, Rule
from robaudit.gates.verdicts import Estimate, Outcome, Verdicts
from robaudit.inert import inert

UPPER_BOUND = "Robust accuracy is an upper bound: a stronger attack can only lower it."
DOUBT = "audit"
"""Name of the question that stands before all rules: can the audit be relied on?"""
DOUBT_IN_WORDS = "the audit can be relied on"


def headline(verdicts: Verdicts) -> str:
    """Say the outcome and how many rules it rests on."""
    counts = [f"{verdicts.count(outcome)} {outcome}" for outcome in Outcome if verdicts.count(outcome)]
    return f"robaudit gate {verdicts.outcome}: {', '.join(counts) or 'no rules'}"


def fingerprint(verdicts: Verdicts, name: str) -> str:
    """Identify a finding across runs: by policy and rule, never by what was measured."""
    return hashlib.sha256(f"{policy_uri(verdicts)}\n{name}".encode()).hexdigest()


def policy_uri(verdicts: Verdicts) -> str:
    """Spell the policy's path with forward slashes, as CI servers name files of a repository."""
    return PurePath(verdicts.policy).as_posix()


def model_name(verdicts: Verdicts) -> str:
    """Name the audited model by its file, without anything that CI servers read structure into."""
    name = PurePath(verdicts.audit.model.path.replace("\\", "/")).name
    return re.sub(r"[^\w-]+", "_", inert(name)).strip("_") or "model"


def bound(rule: Rule) -> Decimal | int | None:
    """Return the threshold of a rule, as the policy spells it; None for a check."""
    if isinstance(rule, CheckRule):
        return None
    if isinstance(rule, ImagesRule) or rule.at_least is not None:
        return rule.at_least
    return rule.max_drop


def decimals(value: Fraction, rounded: Callable[[Fraction], int] = floor) -> str:
    """Write a share with six fixed decimals, rounded down where nothing else is asked for: below its bound stays below.

    Args:
        value: the share, or the difference of two.
        rounded: `floor` or `ceil`.
    """
    millionths = rounded(value * 10**6)
    sign = "-" if millionths < 0 else ""
    return f"{sign}{abs(millionths) // 10**6}.{abs(millionths) % 10**6:06d}"


def worse_decimals(estimate: Estimate) -> str:
    """Write the value of an estimate rounded to the worse: an accuracy down, a drop up."""
    return decimals(estimate.value, floor if estimate.baseline is None else ceil)
