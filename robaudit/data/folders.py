"""A folder of classes, or a folder of train, val and test folders of classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from robaudit.data.decoding import is_image, is_image_name
from robaudit.data.dicom import is_dicom, is_dicom_name
from robaudit.data.listed import SPLIT_NAMES, Listed, part_named
from robaudit.data.masks import masks_among
from robaudit.data.nifti import is_nifti_name
from robaudit.data.regular import is_regular
from robaudit.data.remote import Location, Remote
from robaudit.errors import DataError

_START = 132
"""Bytes: DICOM says what it is behind 128 of anything, all others at once."""


@dataclass
class Found:
    """What lies in class folders."""

    images: list[Listed] = field(default_factory=list)
    left_out: list[Listed] = field(default_factory=list)
    """Files that are no images that are read."""
    masks: dict[Listed, Listed] = field(default_factory=dict)
    """Files that are by name masks of images, and of which."""
    _by_true_path: dict[str, Listed] = field(default_factory=dict)

    def add(self, listed: Listed, true: str) -> None:
        """Take a file, which truly lies at `true`, for what it is.

        Raises:
            DataError: an image that is in another class already.
        """
        if not _is_picture(listed.path):
            self.left_out.append(listed)
            return
        _refuse_two_labels(self._by_true_path.setdefault(true, listed), listed)
        self.images.append(listed)

    def part_from_masks(self) -> None:
        """Take the masks from among the images, once all files are there."""
        self.masks = masks_among(self.images)
        self.images = [item for item in self.images if item not in self.masks]


def read_folder(path: Location) -> Found:
    """Every file, labelled by its class folder; parts, where there are any, by the folder above.

    Raises:
        DataError: no such folder, a link that leads back to a folder it lies in, one file in two classes, or parts
            below the classes.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; pass a folder with one sub-folder of images per class")
    found = _read_remote(path) if isinstance(path, Remote) else _read_here(path)
    _refuse_parts_in_classes(path, found)
    found.part_from_masks()
    return found


def _read_here(path: Path) -> Found:
    parts = [folder for folder in _subfolders(path) if part_named(folder.name) in SPLIT_NAMES]
    _refuse_one_part_twice(path, [folder.name for folder in parts])
    found = Found()
    for folder, split in [(part, part_named(part.name)) for part in parts] or [(path, "")]:
        for class_folder in _subfolders(folder):
            for file, true in _files(class_folder, (path.resolve(),), set()):
                found.add(Listed(file.relative_to(path).as_posix(), file, class_folder.name, split), true)
    return found


def _read_remote(root: Remote) -> Found:
    """The same from one listing: asking a store folder by folder would take a request for each."""
    names = [PurePosixPath(name) for name in root.files()]
    shown = [file for file in names if not any(part.startswith(".") for part in file.parts)]
    parts = {file.parts[0] for file in shown if len(file.parts) > 2 and part_named(file.parts[0]) in SPLIT_NAMES}
    _refuse_one_part_twice(root, sorted(parts))
    found = Found()
    for file in shown:
        split = part_named(file.parts[0]) if file.parts[0] in parts else ""
        folders = file.parts[1:-1] if split else file.parts[:-1]
        if folders and bool(split) == bool(parts):
            found.add(Listed(str(file), root / str(file), folders[0], split), str(file))
    return found


def _refuse_parts_in_classes(path: Location, found: Found) -> None:
    """Parts below the classes would be taken as one, and a model be audited on what it has learnt from."""
    if len({item.label for item in found.images}) < 2:
        return  # the folder above the one that is meant, perhaps
    for item in found.images:
        class_name, *inner = PurePosixPath(item.id).parts[:-1]
        if not item.split and inner and part_named(inner[0]) in SPLIT_NAMES:
            raise DataError(
                f"{path}: has parts inside its classes, such as {class_name}/{inner[0]}, wanted classes inside parts; "
                f"move its images to {inner[0]}/{class_name}, or list them in a manifest with a column split"
            )


def _refuse_one_part_twice(path: Location, folders: Sequence[str]) -> None:
    named: dict[str, str] = {}
    for folder in folders:
        if (other := named.setdefault(part_named(folder), folder)) != folder:
            raise DataError(
                f"{path}: {other} and {folder} both name the {part_named(folder)} part; join them, or move one away"
            )


def _is_picture(file: Location) -> bool:
    """Whether a file is an image by name or, of those without a suffix, by its first bytes, as DICOM with any is."""
    if is_image_name(file) or is_nifti_name(file) or is_dicom_name(file):
        return True
    start = _start(file)
    return is_dicom(start) or (not file.suffix and is_image(start))


def _refuse_two_labels(first: Listed, listed: Listed) -> None:
    if first.label != listed.label:
        raise DataError(
            f"{listed.path}: is by a link the same file as {first.id}, of class {first.label}; "
            "remove one of the two, or the link"
        )


def _files(folder: Path, above: tuple[Path, ...], seen: set[Path]) -> Iterator[tuple[Path, str]]:
    """Every file below, and where it truly lies; links are followed, as images are often linked from elsewhere.

    Args:
        folder: where to look.
        above: the true folders it lies in.
        seen: the true folders of this class so far.
    """
    here = folder.resolve()
    if here in above:
        raise DataError(f"{folder}: is a link to a folder it lies in; remove the link")
    if here in seen:
        raise DataError(f"{folder}: is a folder of this class that a link leads to as well; remove the link")
    seen.add(here)
    for entry in _visible(folder):
        if _is_folder(entry):
            yield from _files(folder / entry.name, (*above, here), seen)
        else:
            true = here / entry.name
            yield folder / entry.name, os.path.realpath(true) if entry.is_symlink() else str(true)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, but for `._scan.png` of macOS, `.ipynb_checkpoints` and the like."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); make it readable, or move it away") from None


def is_dicom_file(file: Location) -> bool:
    """Whether a file is DICOM by name or, since many have none, by its first bytes."""
    if is_image_name(file) or is_nifti_name(file):
        return False
    return is_dicom_name(file) or is_dicom(_start(file))


def _start(file: Location) -> bytes:
    """As much of a file as tells what it is; nothing of what is no true file, or cannot be read."""
    if not is_regular(file):
        return b""
    try:
        with file.open("rb") as opened:
            start: bytes = opened.read(_START)
    except OSError:
        return b""
    return start


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.glob("*") if child.is_dir() and not child.name.startswith("."))
