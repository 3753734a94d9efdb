"""SARIF 2.1.0: findings for code scanning.

A robustness finding has no source line, so it points to the rule in the policy file, which is committed and can be
annotated.
"""

import json
import re
from typing import Any
from urllib.parse import quote

from robaudit import __version__
from robaudit.gates.policy import CheckRule, Rule
from robaudit.gates.verdicts import Outcome, Verdicts
from robaudit.gates.words import DOUBT, UPPER_BOUND, fingerprint, headline, policy_uri
from robaudit.inert import inert

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_LEVELS = {Outcome.FAILED: "error", Outcome.INCONCLUSIVE: "warning"}
_HEADER = "[[rule]]"

_RULES = {
    "clean": ("Clean accuracy keeps its bound", "Accuracy without any attack must keep the bound of the policy."),
    "worst_case": (
        "Worst-case accuracy keeps its bound",
        "Accuracy with each image under whichever attack did worst to it must keep the bound of the policy.",
    ),
    "attack": ("Accuracy under one attack keeps its bound", "Accuracy under one attack must keep the policy's bound."),
    "images": ("Enough images were audited", "A gate on a handful of images mostly measures luck."),
    "check": ("A required check passed", "A check of the audit itself must have been run and passed."),
    DOUBT: (
        "The audit can be relied on",
        "An audit that is unfinished, or inconclusive by its own checks, decides nothing.",
    ),
}
_HELP = (
    "The policy file states what an audit must show. `strict` wants the whole 95% interval on the right side of a "
    "bound, `lenient` lets the estimate decide. Inconclusive is not failed: more images, or the remedy that the "
    f"audit's check names, will tell. {UPPER_BOUND}"
)


def sarif(verdicts: Verdicts) -> str:
    """Write a result per rule that did not pass, and per doubt."""
    results = [
        _result(
            verdicts, name, _rule_id(verdict.asked), verdict.outcome, f"{verdict.rule}: {verdict.found}", verdict.line
        )
        for name, verdict in verdicts.named
        if verdict.outcome is not Outcome.PASSED
    ]
    results += [
        _result(verdicts, f"{DOUBT}/{position}", DOUBT, Outcome.INCONCLUSIVE, doubt, 1)
        for position, doubt in enumerate(verdicts.doubts, start=1)
    ]
    rules = dict.fromkeys([*(_rule_id(verdict.asked) for verdict in verdicts.rules), DOUBT])
    run = {
        "tool": {
            "driver": {
                "name": "robaudit",
                "semanticVersion": __version__,
                "rules": [_descriptor(rule) for rule in rules],
            }
        },
        "automationDetails": {"id": f"robaudit/gate/{quote(policy_uri(verdicts))}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "exitCode": int(verdicts.exit_code)}],
        "results": [{**result, "ruleIndex": list(rules).index(str(result["ruleId"]))} for result in results],
        "properties": {"outcome": str(verdicts.outcome), "summary": headline(verdicts)},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule_id(rule: Rule) -> str:
    """One rule per measure, and per required check."""
    return f"check/{inert(rule.check)}" if isinstance(rule, CheckRule) else rule.measure


def _descriptor(rule: str) -> dict[str, Any]:
    short, full = _RULES[rule.split("/")[0]]
    return {
        "id": rule,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {"text": _HELP.replace("`", ""), "markdown": _HELP},
        "defaultConfiguration": {"level": "error" if rule != DOUBT else "warning"},
    }


def _literal(text: str) -> str:
    """Message text without links and placeholders (SARIF 2.1.0, sections 3.11.5 and 3.11.6)."""
    return re.sub(r"[\\\[\]]", r"\\\g<0>", inert(text)).replace("{", "{{").replace("}", "}}")


def _result(verdicts: Verdicts, name: str, rule: str, outcome: Outcome, message: str, line: int) -> dict[str, Any]:
    identity = fingerprint(verdicts, name)
    region = {"startLine": line, "startColumn": 1, "endLine": line, "endColumn": 1 + len(_HEADER)}
    return {
        "ruleId": rule,
        "level": _LEVELS[outcome],
        "message": {"text": _literal(f"{message} (model {verdicts.audit.model.path})")},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": quote(policy_uri(verdicts))}, "region": region}}
        ],
        # GitHub reads the first, everybody else may read the second.
        "partialFingerprints": {"primaryLocationLineHash": identity, "robaudit/v1": identity},
        "properties": {"outcome": str(outcome)},
    }
