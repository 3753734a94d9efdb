"""What two audits must have alike: the question asked, and what else, beside model and images, decides the answer."""

from collections.abc import Collection, Sequence

from robaudit.records import AttackCurve, AuditRecord

_OF_THE_SEARCH = ("search", "rescale", "warm_start")
"""Of the engine: they decide which eps is found first, for the same attack."""

EPS_GRID, THRESHOLD, PROTOCOL = "threat_model.eps_255", "model.loading.threshold", "protocol"
_MOST_SAID = 60


def other_question(first: AuditRecord, second: AuditRecord, *, leaving: Collection[str]) -> str:
    """Name the first field that makes two audits answer different questions; empty where none does.

    Args:
        first: an audit.
        second: another.
        leaving: fields that may differ.
    """
    asked, also = _question(first), _question(second)
    return next((field for field in asked if field not in leaving and asked[field] != also[field]), "")


def asked_in_words(field: str, record: AuditRecord) -> str:
    """What an audit has in a field that `other_question` names, short enough for an error."""
    if field == "data.sha256":
        return f"{record.data.n_images} images of {record.data.path}, {record.data.sha256[:12]}…"
    if field == "data.shown":
        return " ".join(record.data.shown) or "as they are stored"
    value = _question(record)[field]
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _MOST_SAID else f"{text[: _MOST_SAID - 3]}…"


def _question(record: AuditRecord) -> dict[str, object]:
    """By field of the record; how images are shown before their hash, of which it is a part."""
    return {
        "data.shown": record.data.shown,
        "data.sha256": record.data.sha256,
        "model.classes": sorted(record.model.classes),
        THRESHOLD: record.model.loading.threshold if record.model.loading else None,
        EPS_GRID: record.threat_model.eps_255,
        "threat_model.norm": record.threat_model.norm,
        "threat_model.lower": record.threat_model.lower,
        "threat_model.upper": record.threat_model.upper,
        "threat_model.image_channels": record.threat_model.image_channels,
        PROTOCOL: record.protocol,
    }


def measured_with(record: AuditRecord) -> dict[str, object]:
    """How an audit was measured, whatever its attacks, by name.

    The same eps on another input grid is another attacker. Fooling is not monotone in eps, so how the smallest was
    looked for decides what is found.
    """
    settings = record.environment.settings
    return {
        "protocol": record.protocol,
        "input grid": f"{record.model.input.height}×{record.model.input.width}",
        **{name: settings.get(name, "not recorded") for name in _OF_THE_SEARCH},
        "gradient precision": record.environment.precision,
    }


def order_of_search(record: AuditRecord, attacks: Sequence[AttackCurve]) -> list[str]:
    """The order of some attacks, as far as it is a setting: a search begins where the attacks before it have fooled.

    Under the paper's protocol only attacks on survivors search; the others run every eps from a cold start.
    """
    return [curve.name for curve in attacks if record.protocol == "nested" or curve.scope == "survivors"]


def attack_settings(record: AuditRecord, attack: AttackCurve) -> tuple[object, ...]:
    """What an attack does: its constants, on which images, and on what other model it made its pictures."""
    transfers = attack.params.get("source") == "surrogate"
    surrogate = record.surrogate.sha256 if transfers and record.surrogate else None
    return attack.params, attack.scope, surrogate
