"""Which two audits may stand side by side, and which may be tested against each other image by image."""

from robaudit.errors import RecordError
from robaudit.records import AuditRecord
from robaudit.report.words import attack_name, listed


def require_comparable(before: AuditRecord, after: AuditRecord) -> None:
    """Refuse a comparison that would compare different questions. Seeds may differ.

    Raises:
        RecordError: data, classes, eps grid or threat model differ; the message names the field.
    """
    fields = {
        "data.sha256": (before.data.sha256, after.data.sha256),
        "model.classes": (sorted(before.model.classes), sorted(after.model.classes)),
        "threat_model.eps_255": (before.threat_model.eps_255, after.threat_model.eps_255),
        "threat_model.norm": (before.threat_model.norm, after.threat_model.norm),
        "threat_model.lower": (before.threat_model.lower, after.threat_model.lower),
        "threat_model.upper": (before.threat_model.upper, after.threat_model.upper),
        "threat_model.image_channels": (before.threat_model.image_channels, after.threat_model.image_channels),
    }
    for field, (first, second) in fields.items():
        if first != second:
            raise RecordError(
                f"{field} differs ({_short(first)} against {_short(second)}), so the audits answer different "
                "questions; scan both models with the same data and settings"
            )


def unpairable(before: AuditRecord, after: AuditRecord) -> tuple[str, ...]:
    """Name what else than the model differs between two audits, which forbids a paired claim. Empty: nothing."""
    return (*_attack_differences(before, after), *_protocol_differences(before, after), *_unfinished(before, after))


def _attack_differences(before: AuditRecord, after: AuditRecord) -> list[str]:
    first, second = ({attack.name: attack.params for attack in record.attacks} for record in (before, after))
    return [
        f"settings of {attack_name(name)}"
        if name in first and name in second
        else f"attack {attack_name(name)} (in one audit only)"
        for name in first | second
        if first.get(name) != second.get(name)
    ]


def _protocol_differences(before: AuditRecord, after: AuditRecord) -> list[str]:
    aspects = {
        "protocol": (before.protocol, after.protocol),
        # eps is measured on the input grid: the same eps on another grid is another attacker.
        "input grid": (_grid(before), _grid(after)),
    }
    return [f"{name} ({first} against {second})" for name, (first, second) in aspects.items() if first != second]


def _grid(record: AuditRecord) -> str:
    return f"{record.model.input.height}×{record.model.input.width}"


def _unfinished(before: AuditRecord, after: AuditRecord) -> list[str]:
    partial = [name for name, record in (("before", before), ("after", after)) if record.status == "partial"]
    return [f"progress (unfinished: {listed(partial)})"] if partial else []


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
