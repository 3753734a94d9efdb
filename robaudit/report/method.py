"""How it was measured, down to hashes and commands, and what the number does not mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robaudit.records import AuditRecord, DataInfo, ModelInfo, Scalar
from robaudit.report.sides import Side
from robaudit.report.words import NOT_MEASURED, UPPER_BOUND, attack_name, duration, number

NOT_CLAIMED = (
    UPPER_BOUND,
    "The eps given for an image is the smallest eps found that fools the model, not the smallest there is.",
    "The attacker changes each pixel by at most eps. Patches, rotations, another scanner, and changes made before "
    "decoding and resizing are other threats, and were not measured.",
    "The intervals cover the luck of which images were drawn, as if each image came from a patient of its own. "
    "Several images of one patient, or images unlike these, make the truth less certain than they say.",
    "Only the attacks listed here were run. A retrofit that merely hides its gradients can look robust to attacks of "
    "one family; only the checks above speak to that.",
    "This is evidence about one model file on one set of images. It is no clinical validation and no statement of "
    "conformity.",
)


MOST_COLUMNS = 3
_LITERAL = (
    "file",
    "SHA-256",
    "own code, SHA-256",
    "made from",
    "made from, SHA-256",
    "surrogate",
    "surrogate, SHA-256",
    "folder",
    "images, SHA-256",
    "command",
)
"""Facts to be copied letter by letter."""


@dataclass(frozen=True)
class Fact:
    """One fact of the measurement, on every side."""

    name: str
    values: tuple[tuple[str, str], ...]
    """Name of the side, and what holds there."""
    same: bool
    """Whether it holds on every side alike."""
    code: bool = False
    """Whether it is a hash, a path or a command."""

    @property
    def value(self) -> str:
        """What holds on the first side, and on all where it is the same."""
        return self.values[0][1]


@dataclass(frozen=True)
class Section:
    """Facts that belong together."""

    title: str
    settings: tuple[Fact, ...]


@dataclass(frozen=True)
class Method:
    """Everything needed to repeat the measurement."""

    threat_models: tuple[str, ...]
    names: tuple[str, ...]
    """Of the sides."""
    columns: bool
    """Whether each side has a column; more than a few sides share one."""
    sections: tuple[Section, ...]


def method(sides: Sequence[Side]) -> Method:
    """Lay the facts of every audit side by side."""
    facts = [_facts(side.record) for side in sides]
    names = tuple(side.name for side in sides)
    return Method(
        threat_models=tuple(dict.fromkeys(side.record.threat_model.sentence for side in sides)),
        names=names,
        columns=len(sides) <= MOST_COLUMNS,
        sections=tuple(_section(title, names, [fact[title] for fact in facts]) for title in facts[0]),
    )


def _section(title: str, names: Sequence[str], facts: Sequence[Mapping[str, str]]) -> Section:
    settings = dict.fromkeys(setting for fact in facts for setting in fact)
    return Section(title, tuple(_fact(setting, names, [fact.get(setting) for fact in facts]) for setting in settings))


def _fact(setting: str, names: Sequence[str], found: Sequence[str | None]) -> Fact:
    values = tuple((name, value or NOT_MEASURED) for name, value in zip(names, found, strict=True))
    return Fact(setting, values, same=len(set(found)) == 1, code=setting in _LITERAL)


def _facts(record: AuditRecord) -> dict[str, dict[str, str]]:
    return {
        "Model": _model(record),
        "Images": _images(record),
        "Attacks": {attack_name(attack.name): _pairs(attack.params) for attack in record.attacks},
        "Protocol": _protocol(record),
        "Cost": _cost(record),
        "Environment": _environment(record),
    }


def _model(record: AuditRecord) -> dict[str, str]:
    model = record.model
    facts = {
        "file": model.path,
        "SHA-256": model.sha256,
        **({"own code, SHA-256": model.code_sha256} if model.code_sha256 else {}),
        "architecture": model.arch,
        "classes": ", ".join(model.classes),
        "input": f"{model.input.channels} × {model.input.height} × {model.input.width}"
        + (f" ({model.input.source})" if model.input.source else ""),
        "normalisation": f"mean {_numbers(model.normalization.mean)}, std {_numbers(model.normalization.std)} "
        f"({model.normalization.source})",
        "outputs": model.outputs,
        **_loading(model),
        "retrofit": model.front.modules if model.front else "none",
    }
    if model.front:
        facts |= {"made from": model.front.vanilla.path, "made from, SHA-256": model.front.vanilla.sha256}
    if record.surrogate:
        facts |= {"surrogate": record.surrogate.path, "surrogate, SHA-256": record.surrogate.sha256}
    return facts


def _loading(model: ModelInfo) -> dict[str, str]:
    """How the network came out of its file, as far as somebody chose it or must know it."""
    loading = model.loading
    if loading is None:
        return {}
    facts = {
        "weights taken from": loading.weights,
        "answer taken": loading.output,
        "finding audited": None if loading.label_index is None else f"number {loading.label_index}, counted from 0",
        "threshold": None if loading.threshold is None else f"{loading.threshold:g}, for the second class",
        "code from outside robaudit": "has run" if loading.runs_code else None,
        "left out of the file": ", ".join(loading.left_out),
    }
    return {name: fact for name, fact in facts.items() if fact}


def _images(record: AuditRecord) -> dict[str, str]:
    data = record.data
    return {
        "folder": data.path,
        "images, SHA-256": data.sha256,
        "images": number(data.n_images),
        **({"shown with": " ".join(data.shown)} if data.shown else {}),
        **({"left out": left_out} if (left_out := _left_out(data)) else {}),
        "per class": ", ".join(f"{name} {number(count)}" for name, count in data.per_class.items()),
        "positive class": data.positive or "not named",
        "attacked channels": "one (grey)" if record.threat_model.image_channels == "grey" else "three (RGB)",
    }


def _left_out(data: DataInfo) -> str:
    """What was left out of the images as they were asked for, where anything was."""
    counts = {"that could not be read": data.n_skipped, "that were learnt from": data.n_learnt_skipped}
    return ", ".join(f"{number(count)} {why}" for why, count in counts.items() if count)


def _protocol(record: AuditRecord) -> dict[str, str]:
    return {
        "protocol": {
            "nested": "nested: once fooled, fooled at every larger eps",
            "paper": "paper: each eps judged on its own",
        }[record.protocol],
        "seed": str(record.seed),
        "status": record.status,
        "robaudit": record.robaudit_version,
        "created": created(record),
    }


def created(record: AuditRecord) -> str:
    """When an audit was made, as its page says it."""
    return record.created.isoformat(sep=" ", timespec="seconds")


def _cost(record: AuditRecord) -> dict[str, str]:
    cost = record.cost
    return {
        "wall time": duration(cost.seconds),
        "image gradients": number(cost.gradients),
        "image forward passes": number(cost.forwards),
        "checks": f"{duration(cost.checks.seconds)}, {number(cost.checks.gradients)} gradients, "
        f"{number(cost.checks.forwards)} forward passes",
        "device": cost.device,
    }


def _environment(record: AuditRecord) -> dict[str, str]:
    environment = record.environment
    return {
        "command": environment.command,
        "python": environment.python,
        "platform": environment.platform,
        "versions": _pairs(environment.versions),
        "threads": str(environment.n_threads),
        "padded batch": str(environment.batch_size),
        "gradient precision": environment.precision,
        "engine": _pairs(environment.settings),
    }


def _pairs(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name} {_scalar(value)}" for name, value in values.items()) or "none"


def _scalar(value: Scalar) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else "none" if value is None else str(value)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
