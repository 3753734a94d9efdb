import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from robaudit.errors import PolicyError
from robaudit.gates.policy import Policy, WorstCaseRule, read_policy

PolicyOf = Callable[[str], Policy]


def test_a_policy_keeps_the_decimals_and_lines_of_its_file(policy_of: PolicyOf) -> None:
    policy = policy_of(
        """\
mode = "lenient"

# the floor
[[rule]]
measure = "worst_case"
eps_255 = 4
class = "cancer"
at_least = 0.60

[[rule]]
measure = "clean"
at_least = 1
"""
    )
    first, second = policy.rules
    assert isinstance(first, WorstCaseRule)
    assert (first.at_least, first.class_name, first.eps_255) == (Decimal("0.60"), "cancer", 4)
    assert str(first.at_least) == "0.60"
    assert second.at_least == 1
    assert policy.lines == (4, 10)
    assert policy.mode == "lenient"


def test_rules_may_be_written_inline(policy_of: PolicyOf) -> None:
    policy = policy_of('rule = [{ measure = "clean", at_least = 0.9 }, { measure = "images", at_least = 50 }]')
    assert [rule.measure for rule in policy.rules] == ["clean", "images"]
    assert policy.lines == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: policy, rule: is missing"),
        ("rule = 3", "1: policy, rule: must be written as [[rule]] tables (it is 3)"),
        ("rule = []", "1: policy, rule: holds no rule"),
        ('mode = "strct"\n[[rule]]\nmeasure = "clean"\nat_least = 0.9', "1: policy, mode: "),
        ('[[rules]]\nmeasure = "clean"\nat_least = 0.9', "1: policy, rules: is not a key"),
        ("[[rule]]\nat_least = 0.9", "1: rule 1, measure: is missing"),
        ('[[rule]]\nmeasure = "clan"\nat_least = 0.9', "2: rule 1, measure: must be clean"),
        ('[[rule]]\nmeasure = "clean"', "1: rule 1 wants exactly one of at_least and max_drop"),
        ('[[rule]]\nmeasure = "clean"\nat_least = 0.9\nmax_drop = 0.1', "1: rule 1 wants exactly one"),
        ('[[rule]]\nmeasure = "clean"\nat_least = 60', "3: rule 1, at_least: is too large"),
        ('[[rule]]\nmeasure = "clean"\nat_least = -0.1', "3: rule 1, at_least: is too small"),
        ('[[rule]]\nmeasure = "clean"\nat_least = nan', "3: rule 1, at_least: must be a number (it is NaN)"),
        ('[[rule]]\nmeasure = "clean"\nat_least = true', "3: rule 1, at_least: must be a number (it is True)"),
        ('[[rule]]\nmeasure = "clean"\nat_least = "0.9"', "3: rule 1, at_least: must be a number (it is '0.9')"),
        ('[[rule]]\nmeasure = "clean"\nat_leest = 0.9', "3: rule 1, at_leest: is not a key that belongs here"),
        ('[[rule]]\nmeasure = "attack"\neps_255 = 4\nat_least = 0.9', "1: rule 1, attack: is missing"),
        ('[[rule]]\nmeasure = "worst_case"\neps_255 = 0.0157\nat_least = 0.9', "3: rule 1, eps_255: must be a whole"),
        ('[[rule]]\nmeasure = "worst_case"\neps_255 = 256\nat_least = 0.9', "3: rule 1, eps_255: is too large"),
        ('[[rule]]\nmeasure = "images"\nat_least = 0', "3: rule 1, at_least: is too small"),
        ('[[rule]]\nmeasure = "clean"\nat_least = 1\n[[rule]]\nmeasure = "check"', "4: rule 2, check: is missing"),
    ],
)
def test_a_mistake_is_told_in_one_line_that_names_file_line_and_rule(
    policy_of: PolicyOf, text: str, expected: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        policy_of(text)
    message = str(caught.value)
    assert f"robaudit.toml:{expected}" in message
    assert "\n" not in message


@pytest.mark.parametrize(("content", "expected"), [(b"a = [", "not valid TOML"), (b"\xff\xfe", "not UTF-8")])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "robaudit.toml"
    path.write_bytes(content)
    with pytest.raises(PolicyError, match=expected):
        read_policy(path)


def test_a_syntax_error_names_its_line(policy_of: PolicyOf) -> None:
    with pytest.raises(PolicyError, match=r"robaudit\.toml:3: is not valid TOML"):
        policy_of('mode = "strict"\n[[rule]]\nmeasure = clean\n')


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy(tmp_path / "nowhere.toml")


def test_the_example_policy_is_valid() -> None:
    assert read_policy(Path(__file__).parents[2] / "examples" / "robaudit.toml").rules


def test_the_rules_it_offers_are_valid_too_and_name_checks_that_there_are(policy_of: PolicyOf) -> None:
    root = Path(__file__).parents[2]
    example = (root / "examples" / "robaudit.toml").read_text(encoding="utf-8")
    offered = re.sub(r"^# (?=\[\[rule|\w+ = )", "", example, flags=re.MULTILINE)
    checks = [rule.check for rule in policy_of(offered).rules if rule.measure == "check"]
    assert checks
    assert all((root / "docs" / "checks" / f"{check}.md").is_file() for check in checks)
