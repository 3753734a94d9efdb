"""A regression, end to end: yesterday's audit as baseline, a worse model today, and what its reviewer sees."""

import json
import re
from pathlib import Path

from phantom_repository import run

from robaudit.gates.policy import read_policy
from robaudit.records import read_audit

GATE = "robaudit gate out/audit/audit.json --policy robaudit.toml --baseline baseline/audit.json"


def test_the_reviewer_sees_the_rule_that_broke_and_by_how_much(regressed: Path) -> None:
    done = run(GATE, regressed, GITHUB_ACTIONS="true")
    assert done.returncode == 1, done.stderr
    before, after = (read_audit(regressed / path) for path in ("baseline/audit.json", "out/audit/audit.json"))
    policy = read_policy(regressed / "robaudit.toml")
    lines = [line for rule, line in zip(policy.rules, policy.lines, strict=True) if rule.measure == "clean"]
    assert (regressed / "robaudit.toml").read_text().splitlines()[lines[1] - 1] == "[[rule]]"
    n, was, now = after.clean.n_images, before.clean.n_correct, after.clean.n_correct
    drop = 100 * (was - now) / n
    annotation = (
        f"::error file=robaudit.toml,line={lines[1]},title=robaudit gate::clean accuracy drops by at most 0.05: "
        f"from {was} of {n} to {now} of {n} (drop {drop:.1f}%25, 95%25 interval "
    )
    assert annotation in done.stderr


def test_the_model_in_use_is_no_regression_against_itself(unchanged: Path) -> None:
    done = run(GATE, unchanged, GITHUB_ACTIONS="true")
    assert done.returncode == 0, done.stderr
    assert "::error" not in done.stderr


def test_other_images_are_no_baseline(regressed: Path) -> None:
    """Exit 2, not 1: nothing was found out about the model."""
    baseline = regressed / "baseline" / "audit.json"
    record = json.loads(baseline.read_text())
    record["data"]["sha256"] = "0" * 64
    baseline.write_text(json.dumps(record))
    done = run(GATE, regressed)
    assert done.returncode == 2
    assert re.fullmatch(r"robaudit: the baseline differs in data\.sha256 .*\n", done.stderr)


def test_the_page_of_both_says_the_same_as_the_gate(regressed: Path) -> None:
    done = run("robaudit compare baseline/audit.json out/audit/audit.json --out out/report --json", regressed)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (regressed / told["page"]).is_file()
    if told["paired"] is not None:
        clean = told["paired"][0]
        assert clean["only_before"] > clean["only_after"]
