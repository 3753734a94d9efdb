"""Accuracy rules: counts against a decimal threshold, exactly.

0.8996 does not pass 0.90, and 55 of 100 passes 0.55 (as floats, 0.55 * 100 is more than 55).
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from math import ceil, floor, sqrt

from robaudit.alike import attack_settings, measured_with, order_of_search
from robaudit.errors import PolicyError, SettingsError
from robaudit.gates.policy import AccuracyRule, AttackRule, CleanRule, Mode
from robaudit.gates.verdicts import Estimate, Outcome
from robaudit.intervals import at_most, outwards, wilson
from robaudit.records import AttackCurve, AuditRecord, ClassTallies, Tally, by_eps

Z_SQUARED = Fraction("1.959963984540054") ** 2
"""Square of the 97.5% point of the normal distribution: what makes a Wilson interval one of 95%."""


def judge_accuracy(
    rule: AccuracyRule, mode: Mode, audit: AuditRecord, baseline: AuditRecord | None
) -> tuple[Outcome, str, Estimate | None]:
    """Judge one accuracy rule, and say what was found.

    Raises:
        PolicyError: the rule asks for an attack, an eps or a class that the audit does not have.
        SettingsError: the rule limits a drop and there is no baseline.
    """
    if missing := _missing(rule, audit):
        raise PolicyError(f"the audit has no {missing}")
    after = _tally(rule, audit)
    if rule.at_least is not None:
        if not (after and after.n_images):
            return Outcome.INCONCLUSIVE, "not measured", None
        estimate, bound = _share(after), Fraction(rule.at_least)
        if isinstance(rule, CleanRule):
            found = f"{_counts(after)} ({_rounded(estimate.value, floor)}, {_interval(estimate)})"
        else:  # robust accuracy is an upper bound
            found = f"at most {_counts(after)} ({at_most(estimate.value, bound)}, {_interval(estimate)})"
        outcome = share_at_least(after.n_correct, after.n_images, bound, mode)
        return outcome, f"{found}{_survivors(rule, audit)}", estimate

    assert rule.max_drop is not None, "the policy lets no rule pass without a bound"
    if baseline is None:
        raise SettingsError(
            "the policy limits a drop, and there is nothing to compare with; pass --baseline BEFORE.json"
        )
    if missing := _missing(rule, baseline):
        return Outcome.INCONCLUSIVE, f"the baseline has no {missing}; audit both alike", None
    before = _tally(rule, baseline)
    if not (after and after.n_images and before and before.n_images):
        return Outcome.INCONCLUSIVE, "not measured in both audits", None
    ours, theirs = _measured_with(rule, audit), _measured_with(rule, baseline)
    if differing := [name for name, value in ours.items() if theirs[name] != value]:
        return Outcome.INCONCLUSIVE, f"the two audits differ in {_listed(differing)}; audit both alike", None
    estimate = _drop(before, after)
    found = f"from {_counts(before)} to {_counts(after)} (drop {_rounded(estimate.value, ceil)}, {_interval(estimate)})"
    return _at_most(estimate, Fraction(rule.max_drop), mode), found, estimate


def share_at_least(n_correct: int, n_images: int, bound: Fraction, mode: Mode) -> Outcome:
    """Compare a share with a bound, in exact fractions.

    strict asks on which side of the bound the Wilson interval lies. Its ends solve n (p - t)^2 = z^2 t (1 - t), so
    no root need be taken: left of the interval and right of it the difference of the two sides is positive.
    """
    share = Fraction(n_correct, n_images)
    if mode == "lenient":
        return Outcome.PASSED if share >= bound else Outcome.FAILED
    outside = n_images * (share - bound) ** 2 - Z_SQUARED * bound * (1 - bound)
    if bound == 0 or (bound < share and outside >= 0):
        return Outcome.PASSED
    return Outcome.FAILED if bound > share and outside > 0 else Outcome.INCONCLUSIVE


def in_words(rule: AccuracyRule) -> str:
    """Say what the rule asks."""
    what = "accuracy" if rule.class_name is None else f"recall of {rule.class_name}"
    bound = f"at least {rule.at_least}" if rule.at_least is not None else f"drops by at most {rule.max_drop}"
    if isinstance(rule, CleanRule):
        return f"clean {what} {bound}"
    attacker = rule.attack if isinstance(rule, AttackRule) else "worst-case"
    return f"{attacker} {what} at {rule.eps_255}/255 {bound}"


def _at_most(estimate: Estimate, bound: Fraction, mode: Mode) -> Outcome:
    if mode == "lenient":
        return Outcome.PASSED if estimate.value <= bound else Outcome.FAILED
    if estimate.high <= bound:
        return Outcome.PASSED
    return Outcome.FAILED if estimate.low > bound else Outcome.INCONCLUSIVE


def _share(tally: Tally) -> Estimate:
    low, high = wilson(tally.n_correct, tally.n_images)
    return Estimate(Fraction(tally.n_correct, tally.n_images), Fraction(low), Fraction(high), tally)


def _drop(before: Tally, after: Tally) -> Estimate:
    """Difference of two shares with Newcombe's hybrid of their Wilson intervals (1998, method 10).

    It treats the audits as independent. Where images hard for one model are hard for the other, as they usually are,
    the true interval is narrower, and a strict rule slower to decide than it need be; where they are easy, quicker.
    """
    p, q = _share(before), _share(after)
    below = sqrt((p.value - p.low) ** 2 + (q.high - q.value) ** 2)
    above = sqrt((p.high - p.value) ** 2 + (q.value - q.low) ** 2)
    value = p.value - q.value
    return Estimate(value, value - Fraction(below), value + Fraction(above), after, before)


def _missing(rule: AccuracyRule, audit: AuditRecord) -> str:
    """Name what a rule asks for and an audit does not have; empty where it has it, or is unfinished and may yet."""
    if rule.class_name is not None and rule.class_name not in audit.clean.per_class:
        return f"class {rule.class_name!r}, only {_listed(audit.clean.per_class)}"
    if isinstance(rule, CleanRule) or audit.status == "partial":
        return ""
    attacks, grid = [curve.name for curve in audit.attacks], audit.threat_model.eps_255
    if isinstance(rule, AttackRule) and rule.attack not in attacks:
        return f"attack {rule.attack!r}, only {_listed(attacks)}"
    return "" if rule.eps_255 in grid else f"eps {rule.eps_255}/255, only {_listed(grid)}"


def _tally(rule: AccuracyRule, audit: AuditRecord) -> Tally | None:
    """Return the counts a rule speaks of; None where an unfinished audit has not got to them."""
    tallies = _tallies(rule, audit)
    return tallies if tallies is None or rule.class_name is None else tallies.per_class[rule.class_name]


def _tallies(rule: AccuracyRule, audit: AuditRecord) -> ClassTallies | None:
    if isinstance(rule, CleanRule):
        return audit.clean
    curves = {curve.name: curve.points for curve in audit.attacks}
    points = curves.get(rule.attack, ()) if isinstance(rule, AttackRule) else audit.worst_case.points
    return by_eps(points).get(rule.eps_255)


def _survivors(rule: AccuracyRule, audit: AuditRecord) -> str:
    """Say where an attack's counts are not its own alone: it ran on what the attacks before it left standing."""
    joint = isinstance(rule, AttackRule) and _on_survivors(audit, rule.attack)
    return ", what it and the attacks before it left standing" if joint else ""


def _measured_with(rule: AccuracyRule, audit: AuditRecord) -> dict[str, object]:
    """What must be alike for a drop to mean anything, by name; nothing where no attack is behind the counts."""
    if isinstance(rule, CleanRule):
        return {}
    attacks = _behind(rule, audit)
    stands_alone = audit.protocol == "paper" and isinstance(rule, AttackRule) and not _on_survivors(audit, rule.attack)
    return {
        "attack settings": {curve.name: attack_settings(audit, curve) for curve in attacks},
        "order of attacks": order_of_search(audit, attacks),
        # Counts are nested in eps, and what is found at a larger one is tried at the next smaller one of the grid.
        "eps grid": None if stands_alone else audit.threat_model.eps_255,
        **measured_with(audit),
    }


def _behind(rule: AccuracyRule, audit: AuditRecord) -> Sequence[AttackCurve]:
    """The attacks that a rule's counts depend on, in their order: a search begins where those before it have fooled."""
    if not isinstance(rule, AttackRule):
        return audit.attacks
    position = [curve.name for curve in audit.attacks].index(rule.attack)
    own = audit.attacks[position]
    return [own] if own.raw_points is not None else audit.attacks[: position + 1]


def _on_survivors(audit: AuditRecord, attack: str) -> bool:
    return any(curve.name == attack and curve.scope == "survivors" for curve in audit.attacks)


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names) or "none"


def _counts(tally: Tally) -> str:
    return f"{tally.n_correct} of {tally.n_images}"


def _rounded(value: Fraction, to_the_worse: Callable[[Fraction], int]) -> str:
    """A percentage that never reads as meeting a bound that was missed."""
    return f"{to_the_worse(value * 1000) / 10:.1f}%"


def _interval(estimate: Estimate) -> str:
    low, high = outwards(estimate.low, estimate.high)
    return f"95% interval {low} to {high}%"
