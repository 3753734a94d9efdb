"""Which two audits may stand side by side, and which may be tested against each other image by image."""

from collections.abc import Mapping, Sequence

from robaudit.alike import PROTOCOL, asked_in_words, attack_settings, measured_with, order_of_search, other_question
from robaudit.errors import RecordError
from robaudit.records import AuditRecord
from robaudit.report.curves import ran_on_survivors
from robaudit.report.words import attack_name, listed


def require_comparable(before: AuditRecord, after: AuditRecord) -> None:
    """Refuse a comparison that would compare different questions. Seeds may differ.

    Raises:
        RecordError: data, classes, eps grid or threat model differ; the message names the field.
    """
    if field := _other_question(before, after):
        raise RecordError(
            f"{field} differs ({asked_in_words(field, before)} against {asked_in_words(field, after)}), so the audits "
            "answer different questions; scan both models with the same data and settings"
        )


def _other_question(before: AuditRecord, after: AuditRecord) -> str:
    return other_question(before, after, leaving=[PROTOCOL])  # which `unpairable` names: the page is drawn all the same


def unpairable(before: AuditRecord, after: AuditRecord) -> tuple[str, ...]:
    """Name what else than the model differs between two audits, which forbids a paired claim. Empty: nothing."""
    return (*_attack_differences(before, after), *_protocol_differences(before, after))


def why_untested(before: AuditRecord, after: AuditRecord) -> str:
    """Say why no paired test of two audits is made; empty where one is."""
    if field := _other_question(before, after):
        return f"{field} differs, so it answers another question"
    if before.doubts or after.doubts:
        return "an audit is inconclusive"
    differing = unpairable(before, after)
    return f"the audits differ in {listed(differing)}" if differing else ""


def further_attacks(before: AuditRecord, after: AuditRecord) -> tuple[str, ...]:
    """Attacks on survivors that the second model alone was put through, past all that the first one was.

    They can only lower the second curve: an improvement holds all the more, and `worse` is asked without them.
    """
    first = {attack.name for attack in before.attacks}
    if not first <= {attack.name for attack in after.attacks}:
        return ()
    return tuple(attack.name for attack in after.attacks if attack.name not in first and ran_on_survivors(attack))


def what_further_attacks_mean(first: str, further: Mapping[str, Sequence[str]]) -> str:
    """Say who was attacked harder than the first model, and what is claimed of these; empty where nobody was.

    Args:
        first: name of the first model.
        further: name of another -> `further_attacks` of it.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, attacks in further.items():
        alike.setdefault(tuple(attacks), []).append(name)
    faced = [
        f"{listed(names)} faced {listed([attack_name(attack) for attack in attacks])}"
        for attacks, names in alike.items()
        if attacks
    ]
    if not faced:
        return ""
    return (
        f"Beyond the attacks of {first}, {'; '.join(faced)}, which can only lower a curve: improved means under all "
        "attacks, worse under those that both models faced."
    )


def _attack_differences(before: AuditRecord, after: AuditRecord) -> list[str]:
    further = further_attacks(before, after)
    first, second = (
        {attack.name: attack_settings(record, attack) for attack in record.attacks} for record in (before, after)
    )
    common = [attack_name(name) for name in first if name in second and first[name] != second[name]]
    alone = [
        attack_name(name) for name in first | second if (name in first) != (name in second) and name not in further
    ]
    orders = [
        order_of_search(record, [attack for attack in record.attacks if attack.name in first.keys() & second.keys()])
        for record in (before, after)
    ]
    return [
        *([f"settings of {listed(common)}"] if common else []),
        *([f"{'attack' if len(alone) == 1 else 'attacks'} {listed(alone)} (in one audit only)"] if alone else []),
        *(["the order of attacks"] if before.protocol == after.protocol and orders[0] != orders[1] else []),
    ]


def _protocol_differences(before: AuditRecord, after: AuditRecord) -> list[str]:
    first, second = measured_with(before), measured_with(after)
    return [f"{name} ({first[name]} against {second[name]})" for name in first if first[name] != second[name]]
