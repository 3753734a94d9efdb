"""OpenMetrics text, for GitLab's metrics report or a Prometheus textfile collector.

GitLab compares values as text, so decimals are fixed and the order is the policy's.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction

from robaudit.gates.verdicts import Outcome, Verdicts
from robaudit.gates.words import UPPER_BOUND, bound, decimals, worse_decimals
from robaudit.inert import inert
from robaudit.records import Tally


def openmetrics(verdicts: Verdicts) -> str:
    """Write the audit's curve, and what each rule measured and answered."""
    named = list(verdicts.named)
    estimates = [(name, verdict.estimate) for name, verdict in named if verdict.estimate is not None]
    bounds = [(name, bound(verdict.asked)) for name, verdict in named]
    lines = [
        *_family("robaudit_accuracy_ratio", "gauge", f"Worst-case accuracy; eps 0 is clean. {UPPER_BOUND}", (
            ({"eps_255": str(eps_255)}, decimals(_share(tally))) for eps_255, tally in _curve(verdicts).items()
        )),
        *_family("robaudit_images", "gauge", "Images audited.", [({}, str(verdicts.audit.clean.n_images))]),
        *_family("robaudit_rule_value_ratio", "gauge", "What a rule about accuracy measured.", (
            ({"rule": name}, worse_decimals(estimate)) for name, estimate in estimates
        )),
        *_family("robaudit_rule_bound", "gauge", "The threshold of a rule.", (
            ({"rule": name}, str(threshold)) for name, threshold in bounds if threshold is not None
        )),
        *_family("robaudit_rule_outcome", "stateset", "The answer to a rule.", (
            ({"rule": name, "robaudit_rule_outcome": str(outcome)}, str(int(verdict.outcome is outcome)))
            for name, verdict in named for outcome in Outcome
        )),
        *_family("robaudit_gate_outcome", "stateset", "The answer to the policy.", (
            ({"robaudit_gate_outcome": str(outcome)}, str(int(verdicts.outcome is outcome))) for outcome in Outcome
        )),
        "# EOF",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, says: str, samples: Iterable[tuple[Mapping[str, str], str]]) -> list[str]:
    unit = [f"# UNIT {name} ratio"] if name.endswith("_ratio") else []
    written = [f"{name}{_labels(labels)} {value}" for labels, value in samples]
    return [f"# TYPE {name} {kind}", *unit, f"# HELP {name} {says}", *written] if written else []


def _labels(labels: Mapping[str, str]) -> str:
    written = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{written}}}" if written else ""


def _escaped(value: str) -> str:
    return inert(value).replace("\\", "\\\\").replace('"', '\\"')


def _curve(verdicts: Verdicts) -> dict[int, Tally]:
    return {eps_255: tally for eps_255, tally in verdicts.audit.tallies().items() if tally.n_images}


def _share(tally: Tally) -> Fraction:
    return Fraction(tally.n_correct, tally.n_images)
