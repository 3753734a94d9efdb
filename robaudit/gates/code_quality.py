"""GitLab Code Quality: findings shown in the merge request, at the rule's line."""

import json

from robaudit.gates.verdicts import Outcome, Verdicts
from robaudit.gates.words import DOUBT, fingerprint, policy_uri
from robaudit.inert import inert

_SEVERITIES = {Outcome.FAILED: "critical", Outcome.INCONCLUSIVE: "minor"}


def code_quality(verdicts: Verdicts) -> str:
    """Write an issue per rule that did not pass, and per doubt. Fingerprints differ, or GitLab merges them."""
    issues = [
        _issue(verdicts, name, f"{verdict.rule}: {verdict.found}", verdict.outcome, verdict.line)
        for name, verdict in verdicts.named
        if verdict.outcome is not Outcome.PASSED
    ]
    issues += [
        _issue(verdicts, f"{DOUBT}/{position}", doubt, Outcome.INCONCLUSIVE, 1)
        for position, doubt in enumerate(verdicts.doubts, start=1)
    ]
    return json.dumps(issues, indent=2) + "\n"


def _issue(verdicts: Verdicts, name: str, description: str, outcome: Outcome, line: int) -> dict[str, object]:
    return {
        "description": inert(description),
        "check_name": f"robaudit/{inert(name)}",
        "fingerprint": fingerprint(verdicts, name),
        "severity": _SEVERITIES[outcome],
        "location": {"path": policy_uri(verdicts), "lines": {"begin": line}},
    }
