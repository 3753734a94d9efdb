"""What a retrofit has learnt from, kept beside its weights: an audit of it must not meet the same patients again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robaudit.data.images import Images
from robaudit.data.patients import met_again
from robaudit.errors import DataError, ModelError
from robaudit.files import write_text

LEARNT_FILE = "learnt-from.json"


@dataclass(frozen=True)
class Learnt:
    """Patients and pictures of a training, as hashes."""

    patients: frozenset[str] = frozenset()
    pictures: frozenset[str] = frozenset()
    """`ImageRef.pixel_sha256` of each."""


def write_learnt(folder: Path, parts: Sequence[Images], before: Learnt = Learnt()) -> None:
    """Keep hashes of the patients and pictures that training and validation saw, and of those `before` them.

    Raises:
        OutputError: the folder cannot be written.
    """
    refs = [ref for images in parts for ref in images.refs]
    patients = before.patients | {ref.patient for ref in refs if ref.patient}
    pictures = before.pictures | {ref.pixel_sha256 for ref in refs}
    text = json.dumps({"patients": sorted(patients), "pictures": sorted(pictures)}, indent=1)
    write_text(folder / LEARNT_FILE, text + "\n")


def read_learnt(model: Path) -> Learnt:
    """What a model folder says it has learnt from; nothing, where it does not say.

    Raises:
        ModelError: the file is damaged.
    """
    path = model / LEARNT_FILE
    if not path.is_file():
        return Learnt()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Learnt(*(frozenset(map(str, found[name])) for name in ("patients", "pictures")))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise ModelError(f"{path}: is damaged; assimilate again, or remove it and know what that hides") from None


def refuse_learnt_patients(images: Images, learnt: Learnt, model: Path) -> None:
    """Stop where a patient of the audit was in the training.

    Raises:
        DataError: naming an image.
    """
    patients = met_again((ref.patient for ref in images.refs), learnt.patients)
    known = [ref for ref in images.refs if ref.patient in patients]
    if known:
        raise DataError(
            f"{images.root}: {len(known)} of {len(images)} images are of patients that {model} has learnt from, "
            f"such as {known[0].id}; audit it on other patients"
        )
