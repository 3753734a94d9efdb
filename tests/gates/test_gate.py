from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from robaudit.checks.saying import left_out
from robaudit.errors import ExitCode, PolicyError, RecordError, SettingsError
from robaudit.gates.accuracy import _drop, _share, share_at_least
from robaudit.gates.gate import gate
from robaudit.gates.policy import Policy, read_policy
from robaudit.gates.verdicts import Verdicts
from robaudit.intervals import wilson
from robaudit.records import (
    NOT_LEARNT_FROM,
    AttackCurve,
    AuditRecord,
    Check,
    DataInfo,
    FileRef,
    InputSize,
    Tally,
    Verdict,
)

PolicyOf = Callable[[str], Policy]
AuditOf = Callable[..., AuditRecord]

WORST = '[[rule]]\nmeasure = "worst_case"\neps_255 = 4\n'
CLEAN = '[[rule]]\nmeasure = "clean"\n'
ATTACK = '[[rule]]\nmeasure = "attack"\nattack = "pgd"\neps_255 = 4\n'
FIRST = ATTACK.replace("pgd", "fgsm")
LENIENT = 'mode = "lenient"\n'


@pytest.mark.parametrize(
    ("correct", "total", "threshold", "outcome"),
    [
        (8996, 10_000, "0.90", "failed"),
        (9000, 10_000, "0.90", "passed"),
        (55, 100, "0.55", "passed"),  # 0.55 * 100 > 55 in floats
        (7, 100, "0.07", "passed"),
        (28, 100, "0.28", "passed"),
        (54, 100, "0.55", "failed"),
        (1, 3, "0.33333333333333333333", "passed"),
        (1, 3, "0.33333333333333333334", "failed"),  # the same double as the line above
        (0, 10, "0", "passed"),
        (10, 10, "1", "passed"),
    ],
)
def test_lenient_compares_the_estimate_exactly(
    policy_of: PolicyOf, audit_of: AuditOf, correct: int, total: int, threshold: str, outcome: str
) -> None:
    verdicts = gate(audit_of(correct, total), policy=policy_of(f"{LENIENT}{WORST}at_least = {threshold}"))
    assert outcome == verdicts.outcome


@pytest.mark.parametrize(
    ("correct", "outcome"),
    # 95% Wilson intervals by hand: 60 of 100 is 50.2 to 69.1, 70 of 100 is 60.4 to 78.1, 49 of 100 is 39.4 to 58.7.
    [(60, "inconclusive"), (70, "passed"), (49, "failed")],
)
def test_strict_wants_the_whole_interval_on_one_side(
    policy_of: PolicyOf, audit_of: AuditOf, correct: int, outcome: str
) -> None:
    assert gate(audit_of(correct, 100), policy=policy_of(f"{WORST}at_least = 0.60")).outcome == outcome


@pytest.mark.parametrize(
    ("correct", "total", "bound", "outcome"),
    [
        (10, 10, "1", "inconclusive"),  # ten of ten do not prove a hundred per cent
        (10, 10, "0", "passed"),
        (0, 10, "0", "passed"),
        (0, 10, "1", "failed"),
        (9, 10, "1", "failed"),  # one error disproves it
        # n/(n + z^2) is the lower end of n of n; with n = 10: 0.72246722...
        (10, 10, "0.722467", "passed"),
        (10, 10, "0.722468", "inconclusive"),
        (0, 10, "0.277533", "failed"),
        (0, 10, "0.277532", "inconclusive"),
    ],
)
def test_strict_at_the_ends(
    policy_of: PolicyOf, audit_of: AuditOf, correct: int, total: int, bound: str, outcome: str
) -> None:
    verdicts = gate(audit_of(correct, total), policy=policy_of(f"{WORST}at_least = {bound}"))
    assert verdicts.outcome == outcome


@given(st.integers(1, 3000), st.floats(0, 1), st.decimals(0, 1, places=4))
def test_strict_decides_as_the_interval_does(total: int, share: float, bound: Decimal) -> None:
    """The decision takes no root; scipy's interval is the independent reference, but for ties in its last digit."""
    correct = round(share * total)
    low, high = wilson(correct, total)
    assume(abs(low - float(bound)) > 1e-12)
    assume(abs(high - float(bound)) > 1e-12)
    expected = "passed" if low > bound else "failed" if high < bound else "inconclusive"
    assert share_at_least(correct, total, Fraction(bound), "strict") == expected


def test_wilson_is_the_textbook_formula() -> None:
    z, n, p = 1.959963984540054, 100, 0.6
    centre, spread = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    assert wilson(60, 100) == pytest.approx(((centre - spread) / scale, (centre + spread) / scale), abs=1e-12)
    assert wilson(0, 0) == (0.0, 1.0)


def test_newcombe_reproduces_the_published_example() -> None:
    """Newcombe 1998, Statistics in Medicine 17:873, table II: 56/70 - 48/80, method 10."""
    drop = _drop(Tally(n_correct=56, n_images=70), Tally(n_correct=48, n_images=80))
    assert (float(drop.value), float(drop.low), float(drop.high)) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_a_share_that_misses_its_threshold_never_reads_as_met(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    verdicts = gate(audit_of(8996, 10_000), policy=policy_of(f"{LENIENT}{CLEAN}at_least = 0.90"))
    assert "8996 of 10000 (89.9%" in verdicts.rules[0].found


@pytest.mark.parametrize(
    ("correct", "total", "at_least", "said"),
    [
        (8996, 10_000, "0.90", "89.96%"),
        (1, 12, "0.05", "8.4%"),
        (1, 12, "0.083333334", "8.33333334%"),
        (1, 12, "0.9", "8.4%"),
        (12, 12, "1", "100.0%"),
        (0, 12, "0.5", "0.0%"),
    ],
)
def test_a_bound_is_no_lower_than_what_was_counted_and_a_missed_threshold_does_not_read_as_met(
    policy_of: PolicyOf, audit_of: AuditOf, correct: int, total: int, at_least: str, said: str
) -> None:
    verdicts = gate(audit_of(correct, total), policy=policy_of(f"{LENIENT}{WORST}at_least = {at_least}"))
    assert verdicts.rules[0].found.startswith(f"at most {correct} of {total} ({said}, 95% interval ")


def test_a_rule_may_have_its_own_mode(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    policy = policy_of(f'{WORST}at_least = 0.60\n{WORST}at_least = 0.60\nmode = "lenient"')
    assert [rule.outcome for rule in gate(audit_of(60), policy=policy).rules] == ["inconclusive", "passed"]


def test_class_asks_for_its_recall(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    policy = policy_of(f'{LENIENT}{WORST}class = "cancer"\nat_least = 0.50')
    assert gate(audit_of(60, 100, cancer=25), policy=policy).outcome == "passed"
    assert gate(audit_of(60, 100, cancer=24), policy=policy).outcome == "failed"


def test_an_attack_that_ran_on_survivors_is_said_to_have(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    """Its counts are not its own alone."""
    [curve] = audit_of().attacks
    audit = audit_of(attacks=(curve.model_copy(update={"scope": "survivors"}),))
    [rule] = gate(audit, policy=policy_of(LENIENT + ATTACK + "at_least = 0.5")).rules
    assert rule.found.endswith(", what it and the attacks before it left standing")
    [rule] = gate(audit_of(), policy=policy_of(LENIENT + ATTACK + "at_least = 0.5")).rules
    assert "before it" not in rule.found


def test_each_measure_reads_its_own_counts(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    audit = audit_of(60)
    audit = audit.model_copy(
        update={"clean": audit_of(90).clean, "worst_case": audit_of(40).worst_case, "attacks": audit_of(50).attacks}
    )
    policy = policy_of(
        f'{LENIENT}{CLEAN}at_least = 0\n{WORST}at_least = 0\n[[rule]]\nmeasure = "attack"\nattack = "pgd"\n'
        "eps_255 = 4\nat_least = 0"
    )
    assert [rule.found.split(" (")[0] for rule in gate(audit, policy=policy).rules] == [
        "90 of 100",
        "at most 40 of 100",
        "at most 50 of 100",
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            'measure = "worst_case"\neps_255 = 8',
            r"robaudit.toml:1: worst-case accuracy at 8/255 .* no eps 8/255, only 4",
        ),
        ('measure = "attack"\nattack = "fgsm"\neps_255 = 4', "no attack 'fgsm', only pgd"),
        ('measure = "clean"\nclass = "Cancer"', "no class 'Cancer', only cancer, no-cancer"),
    ],
)
def test_a_rule_about_what_was_not_audited_is_an_error(
    policy_of: PolicyOf, audit_of: AuditOf, rule: str, expected: str
) -> None:
    """Were it inconclusive, `--exit-zero` would hide a misspelt class for ever."""
    with pytest.raises(PolicyError, match=expected):
        gate(audit_of(), policy=policy_of(f"[[rule]]\n{rule}\nat_least = 0.5"))


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (ATTACK, "the baseline has no attack 'pgd', only fgsm; audit both alike"),
        (WORST, "the baseline has no eps 4/255, only 8; audit both alike"),
    ],
)
def test_what_the_baseline_alone_lacks_leaves_a_drop_open(
    policy_of: PolicyOf, audit_of: AuditOf, rule: str, found: str
) -> None:
    """The policy is right, and the audit has what it asks for: no error of theirs."""
    audit = audit_of()
    grid = audit.threat_model.model_copy(update={"eps_255": (8,)})
    lacking = {"attacks": (_named(audit.attacks[0], "fgsm"),)} if rule == ATTACK else {"threat_model": grid}
    (verdict,) = gate(audit, policy=policy_of(f"{rule}max_drop = 0"), baseline=audit_of(**lacking)).rules
    assert (verdict.outcome, verdict.found) == ("inconclusive", found)


def test_an_unfinished_audit_leaves_such_a_rule_open(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    verdicts = gate(audit_of(status="partial", attacks=()), policy=policy_of(ATTACK + "at_least = 0.5"))
    assert (verdicts.outcome, verdicts.rules[0].found) == ("inconclusive", "not measured")


@pytest.mark.parametrize(
    ("per_class", "outcome"), [({"cancer": 50}, "passed"), ({"cancer": 49}, "failed"), ({}, "failed")]
)
def test_minimum_images(policy_of: PolicyOf, audit_of: AuditOf, per_class: dict[str, int], outcome: str) -> None:
    audit = audit_of(data=DataInfo(path="data", sha256="1" * 64, n_images=99, per_class=per_class))
    policy = policy_of('[[rule]]\nmeasure = "images"\nclass = "cancer"\nat_least = 50')
    assert gate(audit, policy=policy).outcome == outcome
    assert gate(audit, policy=policy_of('[[rule]]\nmeasure = "images"\nat_least = 99')).outcome == "passed"
    assert gate(audit, policy=policy_of('[[rule]]\nmeasure = "images"\nat_least = 100')).outcome == "failed"


def test_images_of_a_misspelt_class_are_an_error(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    policy = policy_of('[[rule]]\nmeasure = "images"\nclass = "cancr"\nat_least = 50')
    with pytest.raises(PolicyError, match="no class 'cancr', only cancer, no-cancer"):
        gate(audit_of(), policy=policy)


@pytest.mark.parametrize(
    ("rule", "outcome", "found"),
    [
        ("at_least = 40", "passed", "50 of 100 images so far"),
        ("at_least = 60", "inconclusive", "50 of 100 images so far"),
        ("at_least = 101", "failed", "100 images"),
        ('class = "cancer"\nat_least = 40', "inconclusive", "25 of 50 images so far"),
    ],
)
def test_images_that_an_unfinished_audit_has_not_got_to_do_not_count(
    policy_of: PolicyOf, audit_of: AuditOf, rule: str, outcome: str, found: str
) -> None:
    audit = audit_of(30, 100, status="partial", clean=audit_of(30, 50).clean)
    (verdict,) = gate(audit, policy=policy_of(f'[[rule]]\nmeasure = "images"\n{rule}')).rules
    assert (verdict.outcome, verdict.found) == (outcome, found)


@pytest.mark.parametrize(
    ("status", "strict", "lenient"),
    [
        ("passed", "passed", "passed"),
        ("not_applicable", "passed", "passed"),
        ("warning", "inconclusive", "passed"),
        ("failed", "failed", "failed"),
        (None, "inconclusive", "inconclusive"),
    ],
)
def test_required_checks(policy_of: PolicyOf, audit_of: AuditOf, status: Any, strict: str, lenient: str) -> None:
    checks = () if status is None else (Check(id="masking", status=status, value=0, threshold=0, why="w", remedy="r"),)
    rule = '[[rule]]\nmeasure = "check"\ncheck = "masking"'
    assert gate(audit_of(checks=checks), policy=policy_of(rule)).outcome == strict
    assert gate(audit_of(checks=checks), policy=policy_of(LENIENT + rule)).outcome == lenient


def test_a_check_that_was_left_out_has_not_passed(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    """With `--check-sample 0` nothing was asked: lenient lets an answer pass, and there is none."""
    audit = audit_of(checks=(left_out("masking"),))
    (verdict,) = gate(audit, policy=policy_of(f'{LENIENT}[[rule]]\nmeasure = "check"\ncheck = "masking"')).rules
    assert (verdict.outcome, "left out" in verdict.found) == ("inconclusive", True)


LEARNT = Check(
    id=NOT_LEARNT_FROM, status="warning", value=1, threshold=0, why="All were learnt from.", remedy="Scan other images."
)


@pytest.mark.parametrize(
    ("checks", "doubt"),
    [
        ((left_out("uphill"), left_out("smooth")), "the audit left out uphill, smooth; Scan with --check-sample 24."),
        ((LEARNT,), "the audit says of its images: All were learnt from. Scan other images."),
    ],
)
def test_a_number_that_nobody_doubted_or_that_was_learnt_passes_no_policy(
    policy_of: PolicyOf, audit_of: AuditOf, checks: tuple[Check, ...], doubt: str
) -> None:
    """Even where no rule asks for those checks: FGSM alone, unchecked, is no evidence of robustness."""
    policy = policy_of(f"{LENIENT}{WORST}at_least = 0.5")
    verdicts = gate(audit_of(60, checks=checks), policy=policy)
    assert (verdicts.doubts, verdicts.exit_code) == ((doubt,), ExitCode.INCONCLUSIVE)
    passed = tuple(check.model_copy(update={"status": "passed", "value": 0}) for check in checks)
    assert gate(audit_of(60, checks=passed), policy=policy).exit_code == ExitCode.OK


@pytest.mark.parametrize(
    ("before", "after", "mode", "outcome"),
    [
        (80, 75, "lenient", "passed"),
        (80, 74, "lenient", "failed"),
        (74, 80, "lenient", "passed"),
        (80, 75, "strict", "inconclusive"),
        (80, 55, "strict", "failed"),
        (60, 90, "strict", "passed"),
    ],
)
def test_a_drop_is_measured_against_the_baseline(
    policy_of: PolicyOf, audit_of: AuditOf, before: int, after: int, mode: str, outcome: str
) -> None:
    policy = policy_of(f'mode = "{mode}"\n{WORST}max_drop = 0.05')
    assert gate(audit_of(after), policy=policy, baseline=audit_of(before)).outcome == outcome


def test_a_drop_without_a_baseline_is_an_error(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    with pytest.raises(SettingsError, match=r"robaudit\.toml:1: worst-case accuracy .* pass --baseline"):
        gate(audit_of(), policy=policy_of(f"{WORST}max_drop = 0.05"))


def test_audits_of_different_images_are_not_subtracted(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    other = audit_of(data=DataInfo(path="data", sha256="2" * 64, n_images=100, per_class={}))
    with pytest.raises(RecordError, match=r"differs in data\.sha256"):
        gate(audit_of(), policy=policy_of(f"{WORST}max_drop = 0.05"), baseline=other)


def test_what_a_baseline_must_have_alike_is_what_compare_asks_for(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    """But for threshold and eps grid, which a release may change; the order of the outputs names no other question."""
    audit, policy = audit_of(), policy_of(f"{LENIENT}{CLEAN}max_drop = 0.05")
    turned = audit.model_copy(
        update={"model": audit.model.model_copy(update={"classes": tuple(reversed(audit.model.classes))})}
    )
    assert gate(turned, policy=policy, baseline=audit).outcome == "passed"
    cut = audit.model_copy(update={"data": audit.data.model_copy(update={"shown": ("--resize crop",), "sha256": "3"})})
    with pytest.raises(RecordError, match=r"data\.shown \(as they are stored; the audit has --resize crop\)"):
        gate(cut, policy=policy, baseline=audit)


def test_audits_under_different_attack_settings_are_not_subtracted(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    policy = policy_of(f"{LENIENT}{WORST}max_drop = 0.05\n{CLEAN}max_drop = 0.05")
    worst, clean = gate(audit_of(), policy=policy, baseline=audit_of(steps=10)).rules
    assert (worst.outcome, clean.outcome) == ("inconclusive", "passed")


@pytest.mark.parametrize("measure", ["worst_case", 'attack"\nattack = "pgd'])
def test_other_grids_and_other_survivors_are_not_subtracted(
    policy_of: PolicyOf, audit_of: AuditOf, measure: str
) -> None:
    """Eps is measured on the input grid; what an attack on survivors leaves is not what it leaves alone."""
    policy = policy_of(f'{LENIENT}[[rule]]\nmeasure = "{measure}"\neps_255 = 4\nmax_drop = 0.05')
    audit = audit_of()
    smaller = audit.model.model_copy(update={"input": InputSize(channels=3, height=96, width=96)})
    survivors = tuple(attack.model_copy(update={"scope": "survivors"}) for attack in audit.attacks)
    assert gate(audit, policy=policy, baseline=audit_of()).outcome == "passed"
    for baseline in (audit_of(model=smaller), audit_of(attacks=survivors)):
        assert gate(audit, policy=policy, baseline=baseline).outcome == "inconclusive"


def test_what_an_attack_on_survivors_leaves_depends_on_those_before_it(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    policy = policy_of(f'{LENIENT}[[rule]]\nmeasure = "attack"\nattack = "pgd"\neps_255 = 4\nmax_drop = 0.05')
    audit = audit_of()
    (pgd,) = audit.attacks
    survivors = pgd.model_copy(update={"scope": "survivors"})
    alone, after_fgsm = (audit_of(attacks=attacks) for attacks in ((survivors,), (_named(pgd, "fgsm"), survivors)))
    assert gate(alone, policy=policy, baseline=alone).outcome == "passed"
    assert gate(alone, policy=policy, baseline=after_fgsm).outcome == "inconclusive"


def test_the_order_before_an_attack_on_survivors_decides_what_it_leaves(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    policy = policy_of(f'{LENIENT}[[rule]]\nmeasure = "attack"\nattack = "square"\neps_255 = 4\nmax_drop = 0.05')
    (pgd,) = audit_of().attacks
    apgd, square = (_named(pgd, name).model_copy(update={"scope": "survivors"}) for name in ("apgd", "square"))
    audit = audit_of(attacks=(pgd, square, apgd))
    assert gate(audit, policy=policy, baseline=audit_of(attacks=(pgd, square))).outcome == "passed"
    (verdict,) = gate(audit, policy=policy, baseline=audit_of(attacks=(pgd, apgd, square))).rules
    assert (verdict.outcome, "attack settings" in verdict.found) == ("inconclusive", True)


@pytest.mark.parametrize(("rule", "outcome"), [(WORST, "inconclusive"), (ATTACK, "inconclusive"), (FIRST, "passed")])
def test_the_order_of_attacks_is_a_setting(policy_of: PolicyOf, audit_of: AuditOf, rule: str, outcome: str) -> None:
    """It decides where a search starts; FGSM is run at every eps, so its counts stand alone."""
    (pgd,) = audit_of().attacks
    fgsm = _named(pgd, "fgsm").model_copy(update={"raw_points": pgd.points})
    audit, turned = audit_of(attacks=(fgsm, pgd)), audit_of(attacks=(pgd, fgsm))
    policy = policy_of(f"{LENIENT}{rule}max_drop = 0")
    (verdict,) = gate(turned, policy=policy, baseline=audit).rules
    assert (verdict.outcome, "order of attacks" in verdict.found) == (outcome, outcome == "inconclusive")


@pytest.mark.parametrize("rule", [WORST, ATTACK, FIRST])
def test_the_order_of_attacks_decides_nothing_where_every_eps_is_run(
    policy_of: PolicyOf, audit_of: AuditOf, rule: str
) -> None:
    (pgd,) = (attack.model_copy(update={"raw_points": attack.points}) for attack in audit_of().attacks)
    first, other = (
        audit_of(protocol="paper", attacks=attacks)
        for attacks in ((_named(pgd, "fgsm"), pgd), (pgd, _named(pgd, "fgsm")))
    )
    assert gate(first, policy=policy_of(f"{LENIENT}{rule}max_drop = 0"), baseline=other).outcome == "passed"


def _changed(audit: AuditRecord, change: str) -> AuditRecord:
    """The audit, measured otherwise in one respect."""
    environment, wider = audit.environment, audit.threat_model.model_copy(update={"eps_255": (1, 2, 3, 4)})
    (pgd,) = audit.attacks
    transferred = pgd.model_copy(update={"params": {**pgd.params, "source": "surrogate"}})
    changes: dict[str, dict[str, object]] = {
        "eps grid": {"threat_model": wider},
        "gradient precision": {"environment": environment.model_copy(update={"precision": "bfloat16"})},
        "search": {"environment": environment.model_copy(update={"settings": {"search": "bisect"}})},
        "attack settings": {"attacks": (transferred,), "surrogate": FileRef(path="other.pt", sha256="3" * 64)},
    }
    return audit.model_copy(update=changes[change])


@pytest.mark.parametrize("change", ["eps grid", "gradient precision", "search", "attack settings"])
@pytest.mark.parametrize("measure", ["worst_case", 'attack"\nattack = "pgd'])
def test_what_decides_which_eps_is_found_must_be_alike(
    policy_of: PolicyOf, audit_of: AuditOf, measure: str, change: str
) -> None:
    """On a finer grid an image falls at an eps that a coarser one does not try, and counts are nested in eps."""
    policy = policy_of(f'{LENIENT}[[rule]]\nmeasure = "{measure}"\neps_255 = 4\nmax_drop = 0.05\n{CLEAN}max_drop = 0')
    other = _changed(audit_of(), change)
    attacked, clean = gate(audit_of(), policy=policy, baseline=other).rules
    alike, _ = gate(other, policy=policy, baseline=other).rules
    said = f"the two audits differ in {change}; audit both alike"
    assert (attacked.outcome, attacked.found) == ("inconclusive", said)
    assert (clean.outcome, alike.outcome) == ("passed", "passed")


def test_under_the_papers_protocol_an_eps_stands_alone(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    """Each eps is run on its own; the worst case over all attacks stays nested."""
    policy = policy_of(
        f'{LENIENT}[[rule]]\nmeasure = "attack"\nattack = "pgd"\neps_255 = 4\nmax_drop = 0\n{WORST}max_drop = 0'
    )
    audit = audit_of(protocol="paper")
    outcomes = [rule.outcome for rule in gate(audit, policy=policy, baseline=_changed(audit, "eps grid")).rules]
    assert outcomes == ["passed", "inconclusive"]


def _named(attack: AttackCurve, name: str) -> AttackCurve:
    return attack.model_copy(update={"name": name})


INCONCLUSIVE = Verdict(kind="inconclusive", sentence="Gradients are masked.", reasons=("masking",))


@pytest.mark.parametrize(
    ("changes", "at_least", "code"),
    [
        ({}, "0.5", ExitCode.OK),
        ({}, "0.7", ExitCode.GATE_FAILED),
        ({"verdict": INCONCLUSIVE}, "0.5", ExitCode.INCONCLUSIVE),
        ({"status": "partial"}, "0.5", ExitCode.INCONCLUSIVE),
        ({"verdict": INCONCLUSIVE}, "0.7", ExitCode.GATE_FAILED),
        ({"status": "partial"}, "0.7", ExitCode.GATE_FAILED),
    ],
)
def test_a_failed_rule_outranks_a_doubtful_audit(
    policy_of: PolicyOf, audit_of: AuditOf, changes: dict[str, Any], at_least: str, code: ExitCode
) -> None:
    verdicts = gate(audit_of(60, **changes), policy=policy_of(f"{LENIENT}{WORST}at_least = {at_least}"))
    assert verdicts.exit_code == code


def test_a_doubtful_baseline_counts_too(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    verdicts = gate(
        audit_of(), policy=policy_of(f"{LENIENT}{WORST}max_drop = 0"), baseline=audit_of(verdict=INCONCLUSIVE)
    )
    assert verdicts.doubts == ("the baseline says of itself: Gradients are masked.",)
    assert verdicts.exit_code == ExitCode.INCONCLUSIVE


def test_an_estimate_of_no_images_does_not_divide_by_zero(policy_of: PolicyOf, audit_of: AuditOf) -> None:
    assert gate(audit_of(0, 0), policy=policy_of(f"{LENIENT}{WORST}at_least = 0")).outcome == "inconclusive"


def test_files_are_judged_as_what_they_hold(audit_of: AuditOf, tmp_path: Path) -> None:
    (tmp_path / "robaudit.toml").write_text(f"{WORST}max_drop = 0.05")
    for name, correct in (("before", 80), ("after", 60)):
        (tmp_path / f"{name}.json").write_text(audit_of(correct).model_dump_json())
    told = {"policy": str(tmp_path / "robaudit.toml"), "baseline": str(tmp_path / "before.json")}
    assert gate(str(tmp_path / "after.json"), **told) == gate(
        audit_of(60), policy=read_policy(tmp_path / "robaudit.toml"), baseline=audit_of(80)
    )


def test_no_rules_and_no_doubts_pass(audit_of: AuditOf) -> None:
    assert Verdicts((), audit_of(), "robaudit.toml").exit_code == ExitCode.OK


def test_interval_and_estimate_agree() -> None:
    estimate = _share(Tally(n_correct=3, n_images=7))
    assert estimate.low < estimate.value < estimate.high
