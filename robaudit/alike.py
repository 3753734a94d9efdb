"""What decides, beside the model and its images, which eps an audit finds: audits that differ in it are not alike."""

from robaudit.records import AttackCurve, AuditRecord

_OF_THE_SEARCH = ("search", "rescale", "warm_start")
"""Of the engine: they decide which eps is found first, for the same attack."""


def search_settings(record: AuditRecord) -> dict[str, object]:
    """How the smallest eps was looked for, by name. Fooling is not monotone in eps, so this decides what is found."""
    settings = record.environment.settings
    looked_for = {name: settings.get(name, "not recorded") for name in _OF_THE_SEARCH}
    return {**looked_for, "gradient precision": record.environment.precision}


def attack_settings(record: AuditRecord, attack: AttackCurve) -> tuple[object, ...]:
    """What an attack does: its constants, on which images, and on what other model it made its pictures."""
    transfers = attack.params.get("source") == "surrogate"
    surrogate = record.surrogate.sha256 if transfers and record.surrogate else None
    return attack.params, attack.scope, surrogate


def input_grid(record: AuditRecord) -> str:
    """What eps is measured on: the same eps on another grid is another attacker."""
    return f"{record.model.input.height}×{record.model.input.width}"
