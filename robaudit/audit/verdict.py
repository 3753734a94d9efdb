"""The verdict: robust accuracy as an upper bound, or inconclusive and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from robaudit.intervals import at_most, outwards, wilson
from robaudit.records import AttackCurve, Check, Point, Verdict, by_eps
from robaudit.tally import headline_eps


def verdict(worst: Sequence[Point], attacks: Sequence[AttackCurve], checks: Sequence[Check]) -> Verdict:
    """Say in one sentence what was found.

    Args:
        worst: worst-case points, ascending in eps.
        attacks: the curves behind them.
        checks: every check that was run; a failed one makes the audit inconclusive.
    """
    failed = [check for check in checks if check.status == "failed"]
    if failed:
        first = failed[0]
        return Verdict(
            kind="inconclusive",
            sentence=f"Inconclusive: {first.why} {first.remedy}",
            reasons=tuple(check.id for check in failed),
        )
    return Verdict(kind="measured", sentence=_measured_sentence(worst, attacks))


def _measured_sentence(worst: Sequence[Point], attacks: Sequence[AttackCurve]) -> str:
    eps_255 = headline_eps([point.eps_255 for point in worst])
    point = by_eps(worst)[eps_255]
    share = Fraction(point.n_correct, point.n_images)
    low, high = outwards(*wilson(point.n_correct, point.n_images))
    alone = [attack for attack in attacks if attack.scope == "all"]
    left = {attack.name: by_eps(attack.points)[eps_255].n_correct for attack in alone}
    lowest = min(reversed(left), key=left.__getitem__, default=None)
    setter = f"; {lowest} alone leaves {left[lowest]}" if lowest else ""
    return (
        f"At most {point.n_correct} of {point.n_images} images ({at_most(share)}, "
        f"95% interval {low}% to {high}%) stay correct at {point.eps_255}/255 under the per-image worst of "
        f"{', '.join(attack.name for attack in attacks)}{setter}.{_repairs(attacks)} "
        "This is an upper bound: a stronger attack can only lower it."
    )


def _repairs(attacks: Sequence[AttackCurve]) -> str:
    added = [each for each in attacks if each.added_by]
    return "".join(f" {each.name} was added because the check {each.added_by} asked for it." for each in added)
