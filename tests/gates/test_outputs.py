"""Every output of the gate, read by something that did not write it: a schema, a parser, a hand-worked line."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from robaudit.gates.code_quality import code_quality
from robaudit.gates.document import GateDocument, document
from robaudit.gates.gate import gate
from robaudit.gates.github import annotations
from robaudit.gates.junit import junit
from robaudit.gates.markdown import LARGEST_BYTES, markdown
from robaudit.gates.openmetrics import openmetrics
from robaudit.gates.policy import Policy
from robaudit.gates.sarif import sarif
from robaudit.gates.verdicts import Verdicts
from robaudit.records import NOT_LEARNT_FROM, AuditRecord, Check, Verdict

SCHEMAS = Path(__file__).parent / "schemas"
JENKINS = xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))
SARIF = json.loads((SCHEMAS / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
OUTPUTS = (annotations, code_quality, document, junit, markdown, openmetrics, sarif)

PASSES = '[[rule]]\nmeasure = "clean"\nat_least = 0.50\nmode = "lenient"\n'
FAILS = '[[rule]]\nmeasure = "worst_case"\neps_255 = 4\nat_least = 0.90\n'
UNSURE = '[[rule]]\nmeasure = "attack"\nattack = "pgd"\neps_255 = 4\nat_least = 0.60\n'
OTHERS = '[[rule]]\nmeasure = "images"\nat_least = 100\n[[rule]]\nmeasure = "check"\ncheck = "masking"\n'
DROP = '[[rule]]\nmeasure = "worst_case"\neps_255 = 4\nclass = "cancer"\nmax_drop = 0.05\nmode = "lenient"\n'
HOSTILE = "</td>|<script>alert(1)</script> ]]> \"'& {0} [a](http://x) `b` %0A::error::x \x1b[31m\u202e\n# h @me #1"

PolicyOf = Callable[[str], Policy]
AuditOf = Callable[..., AuditRecord]


def doubtful(sentence: str = "Gradients are masked.") -> Verdict:
    return Verdict(kind="inconclusive", sentence=sentence, reasons=("masking",))


@pytest.fixture
def judged(policy_of: PolicyOf, audit_of: AuditOf) -> Verdicts:
    """One rule that passes (line 1), one that fails (5), one that cannot be told (9), and three more."""
    policy = policy_of(PASSES + FAILS + UNSURE + OTHERS + DROP)
    return gate(audit_of(60), policy=policy, baseline=audit_of(80))


@pytest.fixture
def clean(policy_of: PolicyOf, audit_of: AuditOf) -> Verdicts:
    return gate(audit_of(60), policy=policy_of(PASSES))


@pytest.fixture
def hostile(policy_of: PolicyOf, audit_of: AuditOf) -> Verdicts:
    """An audit whose every name and sentence tries to be more than text."""
    audit = audit_of(60)
    worst = audit.worst_case.points[0]
    per_class = {"per_class": {HOSTILE: worst.per_class["cancer"]}}
    named = worst.model_copy(update=per_class)
    audit = audit.model_copy(
        update={
            "clean": audit.clean.model_copy(update=per_class),
            "worst_case": audit.worst_case.model_copy(update={"points": (named,)}),
            "model": audit.model.model_copy(update={"path": HOSTILE}),
            "data": audit.data.model_copy(update={"path": HOSTILE}),
            "verdict": doubtful(HOSTILE),
            "checks": (Check(id=HOSTILE, status="failed", value=None, threshold=None, why=HOSTILE, remedy=HOSTILE),),
        }
    )
    quoted = json.dumps(HOSTILE)  # a TOML basic string escapes as JSON does
    return gate(audit, policy=policy_of(FAILS + f'class = {quoted}\n[[rule]]\nmeasure = "check"\ncheck = {quoted}'))


EVERY = pytest.mark.parametrize("case", ["judged", "clean", "hostile"])


@pytest.fixture
def verdicts(case: str, request: pytest.FixtureRequest) -> Verdicts:
    found: Verdicts = request.getfixturevalue(case)
    return found


def test_the_case_holds_all_three_answers(judged: Verdicts) -> None:
    answers = ["passed", "failed", "inconclusive", "passed", "inconclusive", "failed"]
    assert [verdict.outcome for verdict in judged.rules] == answers
    assert [verdict.line for verdict in judged.rules] == [1, 5, 9, 14, 17, 20]


@EVERY
@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: output.__name__)
def test_an_output_is_text_of_the_verdicts_alone(verdicts: Verdicts, output: Callable[[Verdicts], str]) -> None:
    text = output(verdicts)
    assert text == output(verdicts)
    assert text.endswith("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e]", text)


@EVERY
def test_junit_is_what_jenkins_takes(verdicts: Verdicts) -> None:
    JENKINS.validate(junit(verdicts))


def test_junit_counts_what_it_holds(judged: Verdicts) -> None:
    root = ET.fromstring(junit(judged))
    [suite] = root
    for element in (root, suite):
        assert (element.get("tests"), element.get("failures"), element.get("errors")) == ("7", "2", "2")
    assert len(suite.findall("testcase")) == 7
    assert len(suite.findall("testcase/failure")) == 2
    assert len(suite.findall("testcase/error")) == 2


def test_what_must_be_known_of_the_images_first_is_said(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    audit = audit_of(60)
    noted = audit.model_copy(update={"data": audit.data.model_copy(update={"note": "Synthetic phantoms"})})
    verdicts, plain = (gate(each, policy=policy_of(PASSES)) for each in (noted, audit))
    assert markdown(verdicts).splitlines()[2] == "About the images: Synthetic phantoms"
    properties = {each.get("name"): each.get("value") for each in ET.fromstring(junit(verdicts)).iter("property")}
    assert properties["about the images"] == "Synthetic phantoms"
    assert json.loads(document(verdicts))["audit"]["note"] == "Synthetic phantoms"
    assert "About" not in markdown(plain)
    assert "about the images" not in junit(plain)
    assert json.loads(document(plain))["audit"]["note"] is None


def test_junit_keeps_to_what_gitlab_reads(judged: Verdicts, hostile: Verdicts, policy_of: PolicyOf) -> None:
    """GitLab shows classname as suite, reads the body of a failure, and drops a second case of the same name."""
    for verdicts in (judged, hostile, gate(judged.audit, policy=policy_of(FAILS + FAILS + PASSES + PASSES))):
        cases = ET.fromstring(junit(verdicts)).findall("*/testcase")
        names = [(case.get("classname"), case.get("name")) for case in cases]
        assert all(classname and name for classname, name in names)
        assert len({name for _, name in names}) == len(names)
        for problem in (*ET.fromstring(junit(verdicts)).iter("failure"), *ET.fromstring(junit(verdicts)).iter("error")):
            assert problem.text == problem.get("message") != ""


def test_junit_asks_first_whether_the_audit_can_be_relied_on(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    verdicts = gate(audit_of(60, verdict=doubtful()), policy=policy_of(PASSES))
    [first, _] = ET.fromstring(junit(verdicts)).findall("*/testcase")
    assert first.get("name") == "the audit can be relied on"
    [error] = first
    assert error.tag == "error"
    assert "Gradients are masked." in (error.text or "")


@EVERY
def test_sarif_is_valid_against_the_official_schema(verdicts: Verdicts) -> None:
    jsonschema.Draft4Validator(SARIF, format_checker=jsonschema.FormatChecker()).validate(json.loads(sarif(verdicts)))


@EVERY
def test_sarif_has_what_github_asks_for(verdicts: Verdicts) -> None:
    """Of the fields that code scanning requires, the schema requires few."""
    [run] = json.loads(sarif(verdicts))["runs"]
    rules = run["tool"]["driver"]["rules"]
    for rule in rules:
        assert len(rule["shortDescription"]["text"]) > 0
        assert 0 < len(rule["fullDescription"]["text"]) <= 1024
        assert rule["help"]["text"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        [location] = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert not re.search(r"[\s\\]", uri)
        assert {"startLine", "startColumn", "endLine", "endColumn"} == location["physicalLocation"]["region"].keys()
        assert result["partialFingerprints"]["primaryLocationLineHash"]


def test_sarif_points_to_the_rules_that_did_not_pass(judged: Verdicts) -> None:
    [run] = json.loads(sarif(judged))["runs"]
    found = [
        (result["ruleId"], result["level"], result["locations"][0]["physicalLocation"]["region"]["startLine"])
        for result in run["results"]
    ]
    assert found == [
        ("worst_case", "error", 5),
        ("attack", "warning", 9),
        ("check/masking", "warning", 17),
        ("worst_case", "error", 20),
    ]


def test_sarif_messages_hold_no_links_and_no_placeholders(hostile: Verdicts) -> None:
    for result in json.loads(sarif(hostile))["runs"][0]["results"]:
        assert not re.search(r"(?<!\\)\[", result["message"]["text"])
        assert "{0}" not in result["message"]["text"].replace("{{0}}", "")


def fingerprints(verdicts: Verdicts) -> list[str]:
    issues = json.loads(code_quality(verdicts))
    results = json.loads(sarif(verdicts))["runs"][0]["results"]
    found = [issue["fingerprint"] for issue in issues]
    assert found == [result["partialFingerprints"]["robaudit/v1"] for result in results]
    return found


def test_a_finding_is_known_again_whatever_was_measured(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    policy = policy_of(FAILS + UNSURE)
    yesterday, today = (gate(audit_of(correct), policy=policy) for correct in (60, 58))
    assert fingerprints(yesterday) == fingerprints(today)
    tighter = policy_of("# moved down\n\n" + FAILS.replace("0.90", "0.95") + UNSURE)
    assert fingerprints(gate(audit_of(60), policy=tighter)) == fingerprints(today)


def test_findings_of_one_run_are_never_taken_for_one(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    twice = gate(audit_of(60, verdict=doubtful(), status="partial"), policy=policy_of(FAILS + FAILS + DROP.replace(
        "max_drop = 0.05", "at_least = 0.99")))  # fmt: skip
    found = fingerprints(twice)
    assert len(found) == len(set(found)) == 5


def test_code_quality_holds_what_gitlab_reads(judged: Verdicts, clean: Verdicts) -> None:
    issues = json.loads(code_quality(judged))
    assert [issue["location"]["lines"]["begin"] for issue in issues] == [5, 9, 17, 20]
    for issue in issues:
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert issue["description"]
        assert issue["check_name"]
        assert not issue["location"]["path"].startswith("./")
    assert json.loads(code_quality(clean)) == []
    assert not code_quality(judged).startswith("\ufeff")


def test_annotations_point_to_the_rules_that_did_not_pass(judged: Verdicts) -> None:
    lines = annotations(judged).splitlines()
    commands = [re.match(r"::(error|warning) file=(.*?),line=(\d+),title=[^:]+::(.+)", line) for line in lines[:-1]]
    assert [(found[1], found[3]) for found in commands if found] == [
        ("error", "5"),
        ("warning", "9"),
        ("warning", "17"),
        ("error", "20"),
    ]
    assert commands[0] is not None
    assert commands[0][4].startswith(
        "worst-case accuracy at 4/255 at least 0.90: at most 60 of 100 (60.0%25, 95%25 interval"
    )
    assert lines[-1] == "::notice::robaudit gate failed: 2 passed, 2 failed, 2 inconclusive"


def test_a_name_cannot_end_a_command_or_begin_another(hostile: Verdicts) -> None:
    for line in annotations(hostile).splitlines():
        assert line.count("::", 2) >= 1
        assert re.match(r"::(error|warning|notice)( file=[^:,]*,line=\d+,title=robaudit gate)?::", line)
    assert "%0A" not in annotations(hostile).replace("%250A", "")


@EVERY
def test_markdown_is_a_table_and_a_fold_and_nothing_else(verdicts: Verdicts) -> None:
    """Read as GitHub reads it: no element but ours, whatever the names try."""
    tokens = MarkdownIt("gfm-like", {"html": True, "linkify": False}).enable("table").parse(markdown(verdicts))
    rows = [token for token in tokens if token.type == "tr_open"]
    assert len(rows) == 1 + len(verdicts.rules)
    inline = [child for token in tokens for child in token.children or []]
    assert not {"link_open", "image", "code_inline", "html_inline", "s_open"} & {child.type for child in inline}
    blocks = {token.content.strip() for token in tokens if token.type == "html_block"}
    assert blocks == {"<details><summary>What was judged</summary>", "</details>"}


def test_markdown_says_what_failed_first(judged: Verdicts) -> None:
    lines = markdown(judged).splitlines()
    assert lines[0] == "## robaudit gate: failed"
    rows = [line for line in lines if line.startswith("| ") and "rule | measured" not in line]
    assert ["passed" in row for row in rows] == [False] * 4 + [True] * 2


def in_every_doubt(audit_of: AuditOf, name: str) -> AuditRecord:
    """An audit that is unfinished, inconclusive, of images learnt from, and left out a check; `name` is all it says."""
    check = Check(id=name, status="failed", value=None, threshold=None, why=name, remedy=name)
    left_out, learnt = (
        check.model_copy(update={"id": id_, "status": "warning", "value": value})
        for id_, value in (("transfer", None), (NOT_LEARNT_FROM, 1))
    )
    audit = audit_of(60, checks=((check,) * 30) + (left_out, learnt), verdict=doubtful(name), status="partial")
    return audit.model_copy(update={"data": audit.data.model_copy(update={"note": name})})


def test_markdown_says_every_doubt(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    audit = in_every_doubt(audit_of, "a")
    verdicts = gate(audit, policy=policy_of(PASSES), baseline=audit)
    assert len(verdicts.doubts) == markdown(verdicts).count("\n> ") == 8


@pytest.mark.parametrize("name", ["cancer", "肺" * 3000, "<" * 3000])
def test_markdown_stays_below_64_kib(policy_of: PolicyOf, audit_of: AuditOf, name: str) -> None:
    """However many rules there are, however long the names, however many checks spoke up, and whatever is doubted."""
    audit = in_every_doubt(audit_of, name)
    counts = audit.clean.model_copy(update={"per_class": {name: audit.clean.per_class["cancer"]}})
    many = PASSES.replace("at_least", f'class = "{name}"\nat_least') * 900 + FAILS
    text = markdown(gate(audit.model_copy(update={"clean": counts}), policy=policy_of(many), baseline=audit))
    assert 30_000 < len(text.encode()) <= LARGEST_BYTES
    assert "**failed**" in text
    assert "| and more rules, left out here |" in text
    assert text.count("<details>") == text.count("</details>") == 1


def samples(verdicts: Verdicts) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(openmetrics(verdicts))
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


@EVERY
def test_openmetrics_is_read_by_prometheus(verdicts: Verdicts) -> None:
    assert samples(verdicts)
    assert openmetrics(verdicts).endswith("# EOF\n")


def test_openmetrics_says_curve_bounds_and_answers(judged: Verdicts) -> None:
    found = samples(judged)
    assert found["robaudit_accuracy_ratio", "0"] == 0.6
    assert found["robaudit_rule_value_ratio", "worst_case/4"] == 0.6
    assert found["robaudit_rule_bound", "worst_case/4"] == 0.9
    assert found["robaudit_rule_outcome", "worst_case/4,failed"] == 1
    assert found["robaudit_rule_outcome", "worst_case/4,passed"] == 0
    assert found["robaudit_rule_value_ratio", "worst_case/4/cancer/max_drop"] == 0.2
    assert found["robaudit_gate_outcome", "failed"] == 1


def test_openmetrics_decimals_are_fixed_and_never_flatter(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    """GitLab compares them as text: 2 of 3 is 0.666666, a drop of a third 0.333334."""
    policy = policy_of(FAILS.replace("at_least", "max_drop") + FAILS)
    text = openmetrics(gate(audit_of(2, 3), policy=policy, baseline=audit_of(3, 3)))
    assert 'robaudit_rule_value_ratio{rule="worst_case/4"} 0.666666\n' in text
    assert 'robaudit_rule_value_ratio{rule="worst_case/4/max_drop"} 0.333334\n' in text


@EVERY
def test_the_document_is_its_schema_and_counts_are_whole(verdicts: Verdicts) -> None:
    found = GateDocument.model_validate_json(document(verdicts))
    assert found.outcome == verdicts.outcome
    assert found.exit_code == verdicts.exit_code
    assert len({rule.name for rule in found.rules}) == len(verdicts.rules)


def test_the_document_keeps_thresholds_as_spelled(judged: Verdicts) -> None:
    rules = {rule["name"]: rule for rule in json.loads(document(judged))["rules"]}
    assert rules["worst_case/4"]["bound"] == "0.90"
    assert rules["worst_case/4"]["share"]["value"] == "0.600000"
    assert rules["worst_case/4"]["share"]["counted"] == {"n_correct": 60, "n_images": 100, "n_errors": 0}
    drop = rules["worst_case/4/cancer/max_drop"]["share"]
    assert (drop["counted"]["n_correct"], drop["baseline"]["n_correct"]) == (30, 40)
    assert rules["check/masking"]["share"] is None


def test_the_document_rounds_an_interval_outwards(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    """From 647 to 626 of 650 the drop may be 0.05000022: rounded to 0.050000 it would read as a bound that was kept."""
    policy = policy_of('[[rule]]\nmeasure = "clean"\nmax_drop = 0.05')
    [rule] = json.loads(document(gate(audit_of(626, 650), policy=policy, baseline=audit_of(647, 650))))["rules"]
    assert (rule["outcome"], rule["share"]["high"]) == ("inconclusive", "0.050001")


def test_images_that_an_unfinished_audit_has_not_got_to_are_not_said_to_be_audited(
    policy_of: PolicyOf, audit_of: AuditOf
) -> None:
    unfinished = gate(audit_of(60, 200, status="partial", clean=audit_of(8, 10).clean), policy=policy_of(PASSES))
    assert json.loads(document(unfinished))["audit"]["n_images"] == 10
    assert samples(unfinished)["robaudit_images", ""] == 10
    assert '<property name="images" value="10" />' in junit(unfinished)
    assert "on 10 images of data" in markdown(unfinished)


def test_every_output_that_has_room_says_that_robust_accuracy_is_an_upper_bound(judged: Verdicts) -> None:
    for output in (document, junit, markdown, openmetrics, sarif):
        assert "upper bound" in output(judged)


def test_no_two_rules_share_a_name(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    rules = "".join(f'[[rule]]\nmeasure = "check"\ncheck = "{name}"\n' for name in ("a", "a", "a-2", "a"))
    names = [name for name, _ in gate(audit_of(), policy=policy_of(rules)).named]
    assert names == ["check/a", "check/a-2", "check/a-2-2", "check/a-3"]


def test_a_policy_of_any_name_leaves_well_formed_xml(judged: Verdicts) -> None:
    root = ET.fromstring(junit(replace(judged, policy="a\x01b.toml")))
    assert root[0].attrib["file"] == "a\\x01b.toml"


def test_images_left_out_are_told(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    audit = audit_of()
    left_out = {"n_skipped": 500, "n_learnt_skipped": 7}
    skipping = audit.model_copy(update={"data": audit.data.model_copy(update=left_out)})
    verdicts = gate(skipping, policy=policy_of(PASSES))
    assert json.loads(document(verdicts))["audit"].items() >= left_out.items()
    assert "(500 more could not be read and 7 more were learnt from and were left out)" in markdown(verdicts)
    assert '"images left out" value="500"' in junit(verdicts)
    assert '"images learnt from left out" value="7"' in junit(verdicts)
