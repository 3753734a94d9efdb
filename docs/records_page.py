"""Writes the tables of docs/records.md from the sentences under the fields of robaudit/records.py.

    python docs/records_page.py

What stands above the marker in docs/records.md is written by hand. tests/test_readme.py fails where the tables are old.
"""

import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime

from robaudit.records import AuditRecord, ImageRow, Record, Scalar

PAGE = Path(__file__).with_name("records.md")
MARKER = "<!-- Written by docs/records_page.py; the text is in robaudit/records.py. -->\n"
WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    AwareDatetime: "time, ISO 8601",
    type(None): "null",
    Scalar: "text, number, true, false or null",
}

# Fields whose name says it in the source, and which a reader of the file alone may want explained.
PLAIN: dict[tuple[str, str], str] = {
    ("AuditRecord", "schema_version"): "Raised when a field changes its meaning; a newer file is refused by name.",
    ("AuditRecord", "status"): "`partial` while a scan is unfinished (audit.partial.json).",
    ("AuditRecord", "robaudit_version"): "The version that measured.",
    ("AuditRecord", "created"): "When the scan began, or was last continued; UTC.",
    ("AuditRecord", "threat_model"): "What the attacker may do.",
    ("AuditRecord", "protocol"): "See [what is exact](what-is-exact.md).",
    ("AuditRecord", "seed"): "Of random starts and of `--limit`.",
    ("AuditRecord", "verdict"): "The answer, or that there is none.",
    ("AuditRecord", "model"): "What was audited.",
    ("AuditRecord", "data"): "On which images.",
    ("AuditRecord", "clean"): "Without any attack.",
    ("AuditRecord", "attacks"): "One curve per attack, in the order they ran.",
    ("AuditRecord", "worst_case"): "The number to quote.",
    ("AuditRecord", "images"): "The file of per-image rows, beside this one.",
    ("AuditRecord", "checks"): "What was asked about the measurement itself.",
    ("AuditRecord", "artifacts"): "The gallery.",
    ("AuditRecord", "cost"): "What it took.",
    ("AuditRecord", "environment"): "What it takes to repeat it.",
    ("Tally", "n_correct"): "Images answered correctly.",
    ("AttackCurve", "name"): "As `--attacks` spells it.",
    ("WorstCase", "points"): "Ascending in eps.",
    ("ThreatModel", "norm"): "Largest change of any one pixel.",
    ("ThreatModel", "eps_255"): "The eps grid, ascending.",
    ("ThreatModel", "lower"): "Smallest value of a pixel.",
    ("ThreatModel", "upper"): "Largest value of a pixel.",
    ("ThreatModel", "sentence"): "The same in words, for a reader.",
    ("Verdict", "kind"): "`inconclusive` where a check failed: then the numbers are not to be believed.",
    ("Verdict", "sentence"): "For a person.",
    ("FileRef", "path"): "As it was given.",
    ("FileRef", "sha256"): "Of the file's bytes, or of the folder's configuration and weights.",
    ("Normalization", "mean"): "Per channel, in [0, 1] units.",
    ("Normalization", "std"): "Per channel, in [0, 1] units.",
    ("Normalization", "source"): "`given`, the file that said so, or `assumed: ...`.",
    ("InputSize", "channels"): "Of the backbone.",
    ("InputSize", "height"): "In pixels; images of another size are resized.",
    ("InputSize", "width"): "In pixels.",
    ("ModelInfo", "path"): "As it was given.",
    (
        "ModelInfo",
        "sha256",
    ): "Of the file's bytes; of a folder's configuration and weights; of an ONNX file with "
    "numbers in files beside it, of all of them.",
    ("ModelInfo", "arch"): "timm's name of the backbone, `torchvision:` and a name, a factory, or the kind of program.",
    ("ModelInfo", "n_classes"): "Outputs of the model.",
    ("ModelInfo", "classes"): "Names in the order of the outputs.",
    ("ModelInfo", "input"): "What the backbone takes.",
    ("ModelInfo", "normalization"): "Part of the attacked model.",
    ("ModelInfo", "front"): "Null for a model that was not retrofitted.",
    ("DataInfo", "path"): "As it was given.",
    ("DataInfo", "sha256"): "Of every image's id, label and bytes, and of `shown`; the order of images plays no part.",
    ("DataInfo", "n_images"): "After `--limit`, `--on-bad-image skip` and `--on-learnt-image skip`.",
    ("DataInfo", "per_class"): "Images of each class.",
    ("Check", "id"): "A policy asks for it by this.",
    ("Check", "status"): "A failed check makes the audit inconclusive; a warning is shown first.",
    ("Check", "value"): "What was found.",
    ("Check", "threshold"): "What it was compared with.",
    ("Check", "why"): "What the finding means.",
    ("Check", "remedy"): "What to do about it.",
    ("GalleryItem", "id"): "Of the image, as in images.jsonl.",
    ("GalleryItem", "label"): "The true class.",
    ("GalleryItem", "prediction"): "Without attack.",
    ("GalleryItem", "adversarial_prediction"): "Of the adversarial picture.",
    ("GalleryItem", "eps_255"): "The smallest eps found.",
    ("Spent", "gradients"): "Image-gradients.",
    ("Spent", "forwards"): "Image-forwards without a gradient.",
    ("Spent", "seconds"): "Wall time.",
    ("Cost", "device"): "Where it ran.",
    ("Cost", "checks"): "What the checks spent, not counted above.",
    ("Environment", "command"): "What the person typed.",
    ("Environment", "python"): "Version.",
    ("Environment", "platform"): "System and processor family; no host name.",
    ("Environment", "versions"): "Installed version of every package that can change a result.",
    ("Environment", "n_threads"): "Of torch.",
    ("ImageRow", "sha256"): "Of the file's bytes.",
    ("ImageRow", "label"): "The true class.",
    ("ImageRow", "error"): "Why there is no prediction; null where there is one.",
}


def tables() -> str:
    """Every record reachable from an audit and from an image row, each as a table."""
    parts = ["# audit.json", *_sections(AuditRecord, set()), "# images.jsonl, one line per image"]
    parts += _sections(ImageRow, set())
    return "\n\n".join(part.replace("# ", "## ", 1) if part.startswith("# ") else part for part in parts) + "\n"


def _sections(record: type[Record], seen: set[type[Record]]) -> list[str]:
    seen.add(record)
    sections = [_table(record)]
    for field in record.model_fields.values():
        for inner in _records_in(field.annotation):
            if inner not in seen:
                sections += _sections(inner, seen)
    return sections


def _table(record: type[Record]) -> str:
    rows = [f"### {record.__name__}", "", _one_line(record.__doc__ or ""), "", "| field | type | |", "|---|---|---|"]
    for name, field in record.model_fields.items():
        text = field.description or _plain(record, name)
        rows.append(f"| `{name}` | {_type(field.annotation)} | {_one_line(text)} |")
    return "\n".join(rows)


def _plain(record: type[Record], name: str) -> str:
    """The explanation of the class that defines the field."""
    return next((PLAIN[cls.__name__, name] for cls in record.__mro__ if (cls.__name__, name) in PLAIN), "")


def _records_in(annotation: Any) -> list[type[Record]]:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return [annotation]
    return [record for part in get_args(annotation) for record in _records_in(part)]


def _type(annotation: Any) -> str:
    if annotation in WORDS:
        return WORDS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return f"{_type(parts[0])} → {_type(parts[1])}"
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in parts)
    return _type(parts[0])  # Annotated


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    by_hand = PAGE.read_text(encoding="utf-8").partition(MARKER)[0]
    PAGE.write_text(by_hand + MARKER + "\n" + tables(), encoding="utf-8")
