"""Where images lie: a folder of classes, a folder of train/val/test parts, or a CSV manifest."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
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
MANIFEST_COLUMNS = ("path", "label", "split")


def has_splits(path: Path) -> bool:
    """Whether `path` is divided into train, val and test parts (by folders, or by a manifest's split column)."""
    if path.is_file():
        return any(split for _, _, _, split in _manifest_rows(path))
    return any(_split_folder(path, split) for split in SPLIT_NAMES)


def list_images(path: Path, split: Split | None) -> list[tuple[str, Path, str]]:
    """(id, file, label) of every image file, sorted by id."""
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
        (file.relative_to(path).as_posix(), file, class_folder.name)
        for class_folder in _subfolders(folder)
        for file in class_folder.rglob("*")
        if file.suffix.lower() in suffixes and file.is_file() and not _is_hidden(file.relative_to(class_folder))
    )


def _is_hidden(path: Path) -> bool:
    """Whether a file, or a folder it lies in, is hidden: `._scan.png` of macOS, `.ipynb_checkpoints`."""
    return any(part.startswith(".") for part in path.parts)


def _list_manifest(path: Path, split: Split | None) -> list[tuple[str, Path, str]]:
    rows = _manifest_rows(path)
    if split and any(part for *_, part in rows):
        rows = [row for row in rows if row[3].lower() in SPLIT_NAMES[split]]
        if not rows:
            raise DataError(f"{path}: has no row with split {split}; add some, or drop the split column")
    counts = Counter(id_ for id_, *_ in rows)
    if twice := [id_ for id_, count in counts.items() if count > 1]:
        raise DataError(f"{path}: lists {twice[0]} {counts[twice[0]]} times; keep one row per image")
    return sorted((id_, file, label) for id_, file, label, _ in rows)


def _manifest_rows(path: Path) -> list[tuple[str, Path, str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: has columns {reader.fieldnames}, wanted path and label (and split)")
            rows = []
            for row in reader:
                id_, label = row["path"], row["label"]
                if not id_ or not label or "\0" in id_:
                    raise DataError(f"{path}: line {reader.line_num} names no path or no label; correct or remove it")
                rows.append((id_, path.parent / id_, label, (row.get("split") or "").strip()))
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a CSV manifest ({error}); pass a folder of classes") from None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.glob("*") if child.is_dir() and not child.name.startswith("."))


def _split_folder(path: Path, split: Split) -> Path | None:
    return next((child for child in _subfolders(path) if child.name.lower() in SPLIT_NAMES[split]), None)
