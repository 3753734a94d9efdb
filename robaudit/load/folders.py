"""A folder of classes, or a folder of train, val and test folders of classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from robaudit.errors import DataError
from robaudit.load.decoding import is_image_name
from robaudit.load.dicom import is_dicom, is_dicom_name
from robaudit.load.listed import SPLIT_NAMES, Listed, part_named
from robaudit.load.nifti import is_nifti_name
from robaudit.load.regular import is_regular
from robaudit.load.remote import Location, Remote


def read_folder(path: Location) -> list[Listed]:
    """Every image file, labelled by its class folder; parts, where there are any, by the folder above.

    Raises:
        DataError: no such folder, a link that leads back to a folder it lies in, or one file in two classes.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; pass a folder with one sub-folder of images per class")
    if isinstance(path, Remote):
        return _read_remote(path)
    parts = [folder for folder in _subfolders(path) if part_named(folder.name) in SPLIT_NAMES]
    _refuse_one_part_twice(path, [folder.name for folder in parts])
    seen: dict[str, Listed] = {}
    if not parts:
        return list(_images_of(path, path, "", seen))
    return [listed for part in parts for listed in _images_of(path, part, part_named(part.name), seen)]


def _read_remote(root: Remote) -> list[Listed]:
    """The same from one listing: asking a store folder by folder would take a request for each."""
    found = [PurePosixPath(name) for name in root.files()]
    shown = [file for file in found if not any(part.startswith(".") for part in file.parts)]
    parts = {file.parts[0] for file in shown if len(file.parts) > 2 and part_named(file.parts[0]) in SPLIT_NAMES}
    _refuse_one_part_twice(root, sorted(parts))
    listed = []
    for file in shown:
        split = part_named(file.parts[0]) if file.parts[0] in parts else ""
        folders = file.parts[1:-1] if split else file.parts[:-1]
        if folders and bool(split) == bool(parts) and _is_picture(where := root / str(file)):
            listed.append(Listed(str(file), where, folders[0], split))
    return listed


def _refuse_one_part_twice(path: Location, folders: Sequence[str]) -> None:
    named: dict[str, str] = {}
    for folder in folders:
        if (other := named.setdefault(part_named(folder), folder)) != folder:
            raise DataError(
                f"{path}: {other} and {folder} both name the {part_named(folder)} part; join them, or move one away"
            )


def _is_picture(file: Location) -> bool:
    return is_image_name(file) or is_nifti_name(file) or is_dicom_file(file)


def _images_of(root: Path, folder: Path, split: str, seen: dict[str, Listed]) -> Iterator[Listed]:
    """Every image of a part; `seen` are the true files of all parts so far."""
    for class_folder in _subfolders(folder):
        for file, true in _files(class_folder, (root.resolve(),), set()):
            if _is_picture(file):
                listed = Listed(file.relative_to(root).as_posix(), file, class_folder.name, split)
                _refuse_two_labels(seen.setdefault(true, listed), listed)
                yield listed


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
    if is_dicom_name(file):
        return True
    if not is_regular(file):
        return False
    try:
        with file.open("rb") as opened:
            return is_dicom(opened.read(132))
    except OSError:
        return False


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.glob("*") if child.is_dir() and not child.name.startswith("."))
