"""Where images lie: folders of classes, a manifest, or a MedMNIST file; and which part of them is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from robaudit.errors import DataError
from robaudit.load.dicom import list_frames
from robaudit.load.folders import is_dicom_file, read_folder
from robaudit.load.listed import SPLIT_NAMES, Listed, Split
from robaudit.load.manifest import read_manifest
from robaudit.load.medmnist import is_medmnist, read_medmnist
from robaudit.load.patients import met_again
from robaudit.load.remote import Location


@dataclass(frozen=True)
class Listing:
    """The images asked for, sorted by id."""

    items: tuple[Listed, ...]
    labels: frozenset[str]
    """Of all parts."""
    numbered: int | None = None
    """How many classes there are, where labels are the numbers of the model's outputs; None where they are names."""


def has_splits(path: Location) -> bool:
    """Whether `path` is divided into train, val and test parts (by folders, or by a manifest's split column)."""
    return any(item.split for item in (read_medmnist(path) if is_medmnist(path) else _files(path)))


def list_images(path: Location, split: Split | None) -> Listing:
    """Every image of a part, or of all.

    Raises:
        DataError: nothing there, a missing part, a faulty manifest, or a patient of the test part in another.
    """
    items = _all(path)
    labels = frozenset(item.label for item in items)
    numbered = 1 + max(map(int, labels)) if labels and is_medmnist(path) else None
    _refuse_shared_patients(path, items)
    divided = {item.split for item in items} - {""}
    if split and divided:
        items = [item for item in items if item.split == split]
        if not items:
            present = ", ".join(part for part in SPLIT_NAMES if part in divided) or "other words"
            raise DataError(f"{path}: has {present} but no {split} part; add it, or pass images without parts")
    return Listing(tuple(sorted(items, key=lambda item: item.id)), labels, numbered)


def _all(path: Location) -> list[Listed]:
    if is_medmnist(path):
        return read_medmnist(path)
    return [picture for item in _files(path) for picture in _pictures_of(item)]


def _files(path: Location) -> list[Listed]:
    if path.suffix == ".npz" and path.is_file():
        raise DataError(
            f"{path}: holds no MedMNIST arrays, wanted test_images and test_labels (or train, val); save them so"
        )
    return read_manifest(path) if path.is_file() else read_folder(path)


def _pictures_of(item: Listed) -> Iterable[Listed]:
    """The pictures a file holds: one, but for frames of a DICOM file."""
    return list_frames(item) if is_dicom_file(item.path) else (item,)


def _refuse_shared_patients(path: Location, items: Sequence[Listed]) -> None:
    """Images of one patient are alike: a test part that shares patients with training flatters the model."""
    by_part = {part: {item.patient for item in items if item.split == part} for part in SPLIT_NAMES}
    shared = met_again(by_part["test"], by_part["train"] | by_part["val"])
    if shared:
        first = min(shared)
        examples = {item.split: item.id for item in items if met_again([item.patient], [first])}
        shown = " and ".join(f"{id_} ({part})" for part, id_ in sorted(examples.items()))
        raise DataError(
            f"{path}: {len(shared)} patient(s) are in test and in train or val, such as {shown}; "
            "keep each patient in one part, or remove the split column to have it divided anew"
        )
