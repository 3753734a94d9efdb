"""Where images lie: a folder of classes, a folder of train/val/test parts, or a CSV manifest."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from robaudit.errors import DataError

Split = Literal["train", "val", "test"]
SPLIT_NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
MANIFEST_COLUMNS = ("path", "label", "split", "patient_id")


@dataclass(frozen=True, order=True)
class Listed:
    """An image that was found, before anyone looks inside."""

    id: str
    """Path relative to the data folder, with forward slashes."""
    path: Path
    label: str
    split: str = ""
    patient: str | None = None
    """Hash of the patient's identifier, see `patient_key`; None where unknown."""


def patient_key(identifier: str) -> str | None:
    """A patient's identifier as a hash, so that the identifier itself goes no further; None for an empty one."""
    identifier = identifier.strip()
    if not identifier or _PATIENT_KEY.fullmatch(identifier):
        return identifier or None
    return f"patient-{hashlib.sha256(identifier.encode()).hexdigest()[:16]}"


_PATIENT_KEY = re.compile(r"patient-[0-9a-f]{16}")
"""A key stays as it is: a manifest that robaudit wrote names the same patients as the one it was made from."""


def has_splits(path: Path) -> bool:
    """Whether `path` is divided into train, val and test parts (by folders, or by a manifest's split column)."""
    if path.is_file():
        return any(row.split for row in _manifest_rows(path))
    return any(_split_folder(path, split) for split in SPLIT_NAMES)


def list_images(path: Path, split: Split | None) -> list[Listed]:
    """Every image file of a part, or of all, sorted by id.

    Raises:
        DataError: nothing there, a missing part, or a faulty manifest.
    """
    if path.is_file():
        return _list_manifest(path, split)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; pass a folder with one sub-folder of images per class")
    folder = path
    if split and has_splits(path):
        chosen = _split_folder(path, split)
        if chosen is None:
            present = ", ".join(name for name in SPLIT_NAMES if _split_folder(path, name))
            raise DataError(f"{path}: has {present} but no {split} folder; add it, or pass a folder of classes")
        folder = chosen
    suffixes = Image.registered_extensions()
    return sorted(
        Listed(file.relative_to(path).as_posix(), file, class_folder.name)
        for class_folder in _subfolders(folder)
        for file in class_folder.rglob("*")
        if file.suffix.lower() in suffixes and file.is_file() and not _is_hidden(file.relative_to(class_folder))
    )


def _is_hidden(path: Path) -> bool:
    """Whether a file, or a folder it lies in, is hidden: `._scan.png` of macOS, `.ipynb_checkpoints`."""
    return any(part.startswith(".") for part in path.parts)


def _list_manifest(path: Path, split: Split | None) -> list[Listed]:
    rows = _manifest_rows(path)
    if split and any(row.split for row in rows):
        rows = [row for row in rows if row.split.lower() in SPLIT_NAMES[split]]
        if not rows:
            raise DataError(f"{path}: has no row with split {split}; add some, or drop the split column")
    counts = Counter(row.id for row in rows)
    if twice := [id_ for id_, count in counts.items() if count > 1]:
        raise DataError(f"{path}: lists {twice[0]} {counts[twice[0]]} times; keep one row per image")
    return sorted(rows)


def _manifest_rows(path: Path) -> list[Listed]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: has columns {reader.fieldnames}, wanted path and label (split, patient_id)")
            rows = []
            for row in reader:
                id_, label = row["path"], row["label"]
                if not id_ or not label or "\0" in id_:
                    raise DataError(f"{path}: line {reader.line_num} names no path or no label; correct or remove it")
                split, patient = (row.get("split") or "").strip(), patient_key(row.get("patient_id") or "")
                rows.append(Listed(id_, path.parent / id_, label, split, patient))
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a CSV manifest ({error}); pass a folder of classes") from None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.glob("*") if child.is_dir() and not child.name.startswith("."))


def _split_folder(path: Path, split: Split) -> Path | None:
    return next((child for child in _subfolders(path) if child.name.lower() in SPLIT_NAMES[split]), None)
