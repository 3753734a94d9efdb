"""JUnit XML: a test case per rule, in the dialect that Jenkins' schema allows and GitLab reads.

A rule that failed is a failure; one that cannot be told is an error, so that no server paints it green. The report
fails no job: the exit code does.
"""

from collections import Counter
from xml.etree import ElementTree as ET

from robaudit.gates.policy import AttackRule, Rule
from robaudit.gates.verdicts import Outcome, RuleVerdict, Verdicts
from robaudit.gates.words import DOUBT, DOUBT_IN_WORDS, UPPER_BOUND, headline, model_name, policy_uri
from robaudit.inert import inert

_ELEMENTS = {Outcome.FAILED: "failure", Outcome.INCONCLUSIVE: "error"}


def junit(verdicts: Verdicts) -> str:
    """Write the verdicts as JUnit XML; the first test case asks whether the audit can be relied on at all."""
    n_doubtful = 1 if verdicts.doubts else 0
    counts = {
        "name": "robaudit gate",
        "tests": str(len(verdicts.rules) + 1),
        "failures": str(verdicts.count(Outcome.FAILED)),
        "errors": str(verdicts.count(Outcome.INCONCLUSIVE) + n_doubtful),
        "time": "0",
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {
        **counts, "skipped": "0", "timestamp": verdicts.audit.created.strftime("%Y-%m-%dT%H:%M:%S"),
        "file": inert(policy_uri(verdicts)),
    })  # fmt: skip
    _add_properties(suite, verdicts)
    _add_case(suite, verdicts, DOUBT, DOUBT_IN_WORDS, Outcome.INCONCLUSIVE if verdicts.doubts else Outcome.PASSED,
              "; ".join(verdicts.doubts) or verdicts.audit.verdict.sentence)  # fmt: skip
    names: Counter[str] = Counter()
    for verdict in verdicts.rules:
        names[verdict.rule] += 1
        name = verdict.rule if names[verdict.rule] == 1 else f"{verdict.rule} ({names[verdict.rule]})"
        _add_case(suite, verdicts, _group(verdict.asked), name, verdict.outcome, _told(verdicts, verdict))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ET.Element, verdicts: Verdicts, group: str, name: str, outcome: Outcome, told: str) -> None:
    case = ET.SubElement(suite, "testcase", {
        # GitLab shows classname as the suite, and counts only the first case of a name.
        "classname": f"robaudit.{model_name(verdicts)}.{group}", "name": inert(name), "time": "0",
    })  # fmt: skip
    if outcome is Outcome.PASSED:
        ET.SubElement(case, "system-out").text = inert(told)
    else:
        # Jenkins shows the attribute, GitLab the body.
        problem = ET.SubElement(case, _ELEMENTS[outcome], {"type": str(outcome), "message": inert(told)})
        problem.text = inert(told)


def _told(verdicts: Verdicts, verdict: RuleVerdict) -> str:
    return f"{verdict.rule}: {verdict.found} ({policy_uri(verdicts)}, line {verdict.line})"


def _group(rule: Rule) -> str:
    return inert(rule.attack).replace(".", "_") if isinstance(rule, AttackRule) else rule.measure


def _add_properties(suite: ET.Element, verdicts: Verdicts) -> None:
    audit = verdicts.audit
    facts = {
        "outcome": headline(verdicts),
        "model": audit.model.path,
        "model.sha256": audit.model.sha256,
        "data": audit.data.path,
        "data.sha256": audit.data.sha256,
        "images": str(audit.clean.n_images),
        "images left out": str(audit.data.n_skipped),
        "images learnt from left out": str(audit.data.n_learnt_skipped),
        **({"about the images": audit.data.note} if audit.data.note else {}),
        "robust accuracy": UPPER_BOUND,
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in facts.items():
        ET.SubElement(properties, "property", {"name": name, "value": inert(value)})
