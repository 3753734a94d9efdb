"""The gate: an audit record and a policy -> verdicts. Reads nothing but its arguments."""

from pathlib import Path

from robaudit.alike import EPS_GRID, THRESHOLD, asked_in_words, other_question
from robaudit.errors import PolicyError, RecordError, SettingsError
from robaudit.gates.accuracy import in_words, judge_accuracy
from robaudit.gates.policy import CheckRule, ImagesRule, Mode, Policy, Rule, read_policy
from robaudit.gates.verdicts import Estimate, Outcome, RuleVerdict, Verdicts
from robaudit.records import AuditRecord, Doubt, read_audit


def gate(
    audit: AuditRecord | Path | str, *, policy: Policy | Path | str, baseline: AuditRecord | Path | str | None = None
) -> Verdicts:
    """Judge an audit by a policy.

    Args:
        audit: the record to judge, or its audit.json.
        policy: the rules, from `read_policy`, or their file.
        baseline: the earlier audit that `max_drop` rules compare with, or its audit.json.

    Raises:
        PolicyError: the policy cannot be read, or a rule asks for an attack, an eps or a class that the audit does not
            have.
        SettingsError: a rule limits a drop and there is no baseline.
        RecordError: a record cannot be read, or the baseline measured something else (names the field).
    """
    rules = policy if isinstance(policy, Policy) else read_policy(policy)
    return _verdicts(_record(audit), rules, None if baseline is None else _record(baseline))


def _record(audit: AuditRecord | Path | str) -> AuditRecord:
    return audit if isinstance(audit, AuditRecord) else read_audit(audit)


def _verdicts(audit: AuditRecord, policy: Policy, baseline: AuditRecord | None) -> Verdicts:
    if baseline is not None:
        _require_same_experiment(audit, baseline)
    verdicts = []
    for rule, line in zip(policy.rules, policy.lines, strict=True):
        try:
            outcome, found, estimate = _judge(rule, rule.mode or policy.mode, audit, baseline)
        except (PolicyError, SettingsError) as error:
            raise type(error)(f"{policy.source}:{line}: {_asked(rule)}: {error}") from None
        verdicts.append(RuleVerdict(outcome, _asked(rule), found, line, rule, rule.mode or policy.mode, estimate))
    doubts = _doubts(audit, "audit") + (_doubts(baseline, "baseline") if baseline else ())
    return Verdicts(tuple(verdicts), audit, policy.source, doubts, baseline)


def _judge(
    rule: Rule, mode: Mode, audit: AuditRecord, baseline: AuditRecord | None
) -> tuple[Outcome, str, Estimate | None]:
    if isinstance(rule, ImagesRule):
        return *_judge_images(rule, audit), None
    if isinstance(rule, CheckRule):
        return *_judge_check(rule, mode, audit), None
    return judge_accuracy(rule, mode, audit, baseline)


def _asked(rule: Rule) -> str:
    if isinstance(rule, ImagesRule):
        return f"at least {rule.at_least} images" + (f" of {rule.class_name}" if rule.class_name else "")
    if isinstance(rule, CheckRule):
        return f"check {rule.check}"
    return in_words(rule)


def _judge_images(rule: ImagesRule, audit: AuditRecord) -> tuple[Outcome, str]:
    if rule.class_name is not None and rule.class_name not in audit.model.classes:
        raise PolicyError(f"the audit has no class {rule.class_name!r}, only {', '.join(audit.model.classes)}")
    of_all = audit.data.n_images if rule.class_name is None else audit.data.per_class.get(rule.class_name, 0)
    if of_all < rule.at_least:
        return Outcome.FAILED, f"{of_all} images"
    if audit.status == "complete":
        return Outcome.PASSED, f"{of_all} images"
    done = audit.clean if rule.class_name is None else audit.clean.per_class[rule.class_name]
    outcome = Outcome.PASSED if done.n_images >= rule.at_least else Outcome.INCONCLUSIVE
    return outcome, f"{done.n_images} of {of_all} images so far"


def _judge_check(rule: CheckRule, mode: Mode, audit: AuditRecord) -> tuple[Outcome, str]:
    """A check that was not run or was left out leaves the question open; one that does not apply objects to nothing."""
    check = next((check for check in audit.checks if check.id == rule.check), None)
    if check is None:
        return Outcome.INCONCLUSIVE, "not run in this audit"
    if check.is_left_out:
        return Outcome.INCONCLUSIVE, f"{check.why.removesuffix('.')}; {check.remedy}"
    outcome = {
        "passed": Outcome.PASSED,
        "not_applicable": Outcome.PASSED,
        "warning": Outcome.PASSED if mode == "lenient" else Outcome.INCONCLUSIVE,
        "failed": Outcome.FAILED,
    }[check.status]
    return outcome, check.status.replace("_", " ") + (f"; {check.remedy}" if outcome is not Outcome.PASSED else "")


def _doubts(audit: AuditRecord, role: str) -> tuple[str, ...]:
    """What takes a number back, whichever rules the policy has: an audit nobody doubted is not one that stood doubt."""
    unfinished = (f"the {role} is not finished",) if audit.status == "partial" else ()
    return *unfinished, *(f"the {role} {_said_by(doubt, audit)}" for doubt in audit.doubts)


def _said_by(doubt: Doubt, audit: AuditRecord) -> str:
    match doubt:
        case "inconclusive":
            return f"says of itself: {audit.verdict.sentence}"
        case "checks left out":
            return f"left out {', '.join(check.id for check in audit.left_out)}; {audit.left_out[0].remedy}"
        case "images learnt from":
            assert audit.learnt_from is not None
            return f"says of its images: {audit.learnt_from.why} {audit.learnt_from.remedy}"


def _require_same_experiment(audit: AuditRecord, baseline: AuditRecord) -> None:
    """Refuse to subtract what was not measured alike. Seeds may differ; what else must not, each rule knows itself."""
    if field := other_question(audit, baseline, leaving=[EPS_GRID, THRESHOLD]):
        ours, theirs = asked_in_words(field, audit), asked_in_words(field, baseline)
        raise RecordError(f"the baseline differs in {field} ({theirs}; the audit has {ours}); audit both alike")
