"""One picture as its file holds it: decoded by what the file is, and pinned by a hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from robaudit.data.decoding import decode
from robaudit.data.dicom import decode_dicom, is_dicom, is_dicom_name
from robaudit.data.medmnist import is_row, read_row
from robaudit.data.nifti import decode_nifti, is_nifti_name
from robaudit.data.picture import Picture
from robaudit.data.regular import read_bytes
from robaudit.data.remote import Location, on_disk
from robaudit.data.view import View

_SLICE, _WINDOW = frozenset({"--slice"}), frozenset({"--window"})


@dataclass(frozen=True)
class Stored:
    """A picture, and the hash of the bytes it was decoded from."""

    picture: Picture
    sha256: str
    """Of the file; of a picture among several in a file, its own."""
    follows: frozenset[str] = frozenset()
    """Which of --slice and --window say what is seen of it."""


def read_stored(file: Location, member: str, view: View, pinned: str | None = None) -> Stored:
    """Read and decode one picture.

    Args:
        file: an image file, or a file of several.
        member: which picture of it, as it was listed; empty for the only one.
        view: which slice of a volume, and which of its values are black and white.
        pinned: what the file's bytes must hash to, where a manifest says so: nothing else is decoded.

    Raises:
        DataError: gone, damaged, absurd, or not the file that is meant.
    """
    if is_row(member):
        picture, row, is_volume = read_row(on_disk(file, "a MedMNIST file"), member, view)
        return Stored(picture, hashlib.sha256(row).hexdigest(), _SLICE if is_volume else frozenset())
    data = read_bytes(file, pinned)
    sha256 = pinned or hashlib.sha256(data).hexdigest()  # a pin has been compared already
    if is_dicom(data[:132]) or is_dicom_name(file):
        return Stored(decode_dicom(data, file, member, view.window), _of_member(sha256, member), _WINDOW)
    if is_nifti_name(file):
        return Stored(decode_nifti(on_disk(file, "a NIfTI volume"), view), sha256, _SLICE | _WINDOW)
    return Stored(decode(data, file), sha256)


def _of_member(sha256: str, member: str) -> str:
    """The hash of a file's only picture is the file's; one of several has its own."""
    return hashlib.sha256(f"{sha256}#{member}".encode()).hexdigest() if member else sha256
