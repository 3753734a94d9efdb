"""Where images lie: folders of classes, a manifest, or a MedMNIST file; and which part of them is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from robaudit.data.dicom import list_frames
from robaudit.data.folders import Found, is_dicom_file, read_folder
from robaudit.data.listed import SPLIT_NAMES, Listed, Split
from robaudit.data.manifest import read_manifest
from robaudit.data.medmnist import is_medmnist, read_medmnist
from robaudit.data.patients import met_again
from robaudit.data.remote import Location
from robaudit.errors import DataError


@dataclass(frozen=True)
class Listing:
    """The images asked for, sorted by id."""

    items: tuple[Listed, ...]
    labels: frozenset[str]
    """Of all parts."""
    numbered: int | None = None
    """How many classes there are, where labels are the numbers of the model's outputs; None where they are names."""
    left_out: tuple[Listed, ...] = ()
    """Files in class folders that are no images that are read."""
    masks: Mapping[Listed, Listed] = field(default_factory=dict)
    """Files in class folders that are by name masks of images, and of which."""


def has_splits(path: Location) -> bool:
    """Whether `path` is divided into train, val and test parts (by folders, or by a manifest's split column)."""
    return any(item.split for item in (read_medmnist(path) if is_medmnist(path) else _files(path).images))


def list_images(path: Location, split: Split | None) -> Listing:
    """Every image of a part, or of all.

    Raises:
        DataError: nothing there, a missing part, a faulty manifest, or a patient of the test part in another.
    """
    found = _all(path)
    items, left_out, masks = found.images, found.left_out, found.masks
    labels = frozenset(item.label for item in items)
    numbered = 1 + max(map(int, labels)) if labels and is_medmnist(path) else None
    _refuse_shared_patients(path, items)
    divided = {item.split for item in items} - {""}
    if split and divided:
        items, left_out = ([item for item in these if item.split == split] for these in (items, left_out))
        masks = {mask: image for mask, image in masks.items() if mask.split == split}
        if not items:
            present = ", ".join(part for part in SPLIT_NAMES if part in divided) or "other words"
            raise DataError(f"{path}: has {present} but no {split} part; add it, or pass images without parts")
    return Listing(tuple(sorted(items, key=lambda item: item.id)), labels, numbered, tuple(left_out), masks)


def _all(path: Location) -> Found:
    """Every image, and the files in class folders that are none."""
    if is_medmnist(path):
        return Found(read_medmnist(path))
    found = _files(path)
    return replace(found, images=[picture for item in found.images for picture in _pictures_of(item)])


def _files(path: Location) -> Found:
    if path.suffix == ".npz" and path.is_file():
        raise DataError(
            f"{path}: holds no MedMNIST arrays, wanted test_images and test_labels (or train, val); save them so"
        )
    if path.is_file():
        return Found(read_manifest(path))
    return read_folder(path)


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
