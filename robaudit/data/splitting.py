"""Dividing undivided images into train, val and test parts, written out as a manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.cluster.hierarchy import DisjointSet

from robaudit.data.images import ImageRef, Images, open_images
from robaudit.data.listed import Listed, Split
from robaudit.data.listing import has_splits
from robaudit.data.manifest import COLUMNS
from robaudit.data.patients import without_issuer
from robaudit.data.regular import read_bytes
from robaudit.data.remote import STORES, Location, Remote, is_in_store
from robaudit.errors import DataError, OutputError
from robaudit.files import sha256_of, write_text
from robaudit.progress import Progress

SPLIT_SHARES: Mapping[Split, float] = {"train": 0.6, "val": 0.2, "test": 0.2}
_FIFTHS: Mapping[Split, int] = {"train": 3, "val": 4, "test": 5}
"""Where each part ends; whole numbers, so that no rounding decides."""

Group = list[ImageRef]
Row = tuple[str, str, Split, str, str, str]
"""`COLUMNS` of a manifest."""


def divided(
    path: Location, manifest: Path, *, seed: int, keep: bool = False, progress: Progress, **options: Any
) -> Location:
    """Where the parts of images are: the data itself, or a manifest of a fresh split.

    Raises:
        DataError, OutputError: as for `write_split`.
    """
    if has_splits(path):
        return path
    write_split(path, manifest, seed=seed, keep=keep, progress=progress, **options)
    progress.say(
        f"{path} is not divided: split 60/20/20 per class, written to {manifest.name} in the output folder; its test "
        "part, which training does not see, is the one to scan"
    )
    return manifest


def write_split(
    path: Location,
    manifest: Path,
    *,
    seed: int,
    keep: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Split an undivided data folder 60/20/20 per class and write the parts as a manifest, itself valid DATA.

    Images of one patient share a part where patients are known, and so do identical pictures, so no test image is seen
    in training; which part is decided by image hash and seed. Unreadable images that `on_bad_image` skips are listed
    as well.

    Args:
        path: the data folder.
        manifest: what to write.
        seed: of the draw.
        keep: results stand on a manifest that is there, so it must not become another.
        progress: told of every image.
        options: of `open_images`.

    Raises:
        DataError: as for `open_images`, or a class has too few images for three parts.
        OutputError: the manifest cannot be written, or is to be kept and would be another.
    """
    if isinstance(path, Remote) and not is_in_store(path.url):
        raise DataError(
            f"{path}: is not divided, and the manifest that would do it here may only name images at "
            f"{', '.join(STORES[:-1])}; divide it there into train, val and test folders, or copy it here"
        )
    images = open_images(path, progress=progress, **options)
    groups = _groups(images.refs)
    part_of = _parts(groups, seed)
    _require_all_parts(path, images, groups, part_of)
    rows = {_row(ref, part_of[ref.id], manifest.parent, sha256_of(ref.path)) for ref in images.refs}
    rows |= _rows_of_skipped(images, part_of, manifest.parent)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(sorted(rows))
    if keep and manifest.exists() and _meant(manifest.read_text(encoding="utf-8")) != _meant(text.getvalue()):
        raise OutputError(
            f"{manifest}: results beside it stand on another split (other images, classes or seed); choose another "
            "--out, or replace them with --restart"
        )
    write_text(manifest, text.getvalue())


def _meant(manifest: str) -> list[list[str]]:
    """What a manifest says beyond where the images lie: they may have moved."""
    return sorted(row[1:] for row in csv.reader(io.StringIO(manifest, newline="")))


def _groups(refs: Sequence[ImageRef]) -> list[Group]:
    """Images that must share a part: of one patient, from one file, or the same picture."""
    together: DisjointSet = DisjointSet(ref.id for ref in refs)
    first: dict[str, str] = {}
    for ref in refs:
        patient = ref.patient and without_issuer(ref.patient)  # two hospitals' 1 in one part harm nobody
        for tie in (patient, ref.sha256, ref.pixel_sha256, str(ref.path)):
            if tie:
                together.merge(ref.id, first.setdefault(tie, ref.id))
    by_id = {ref.id: ref for ref in refs}
    return [[by_id[id_] for id_ in subset] for subset in together.subsets()]


def _parts(groups: Iterable[Group], seed: int) -> dict[str, Split]:
    """Image id -> part: groups of the same classes are drawn by lot and shared out 60/20/20 by number of images."""
    strata: dict[frozenset[str], list[Group]] = defaultdict(list)
    for group in groups:
        strata[frozenset(ref.label for ref in group)].append(group)
    part_of: dict[str, Split] = {}
    for stratum in strata.values():
        n_images, n_before = sum(map(len, stratum)), 0
        for group in sorted(stratum, key=lambda group: min(ref.lot(seed) for ref in group)):
            # The part that the middle of the group falls into; twice the middle is a whole number.
            middle = 2 * n_before + len(group)
            part = next(part for part, end in _FIFTHS.items() if 5 * middle < 2 * end * n_images)
            part_of |= dict.fromkeys((ref.id for ref in group), part)
            n_before += len(group)
    return part_of


def _require_all_parts(path: Location, images: Images, groups: Sequence[Group], part_of: Mapping[str, Split]) -> None:
    for name in images.classes:
        if len({part_of[ref.id] for ref in images.refs if ref.label == name}) < len(SPLIT_SHARES):
            n_groups = sum(any(ref.label == name for ref in group) for group in groups)
            raise DataError(
                f"{path}: has {n_groups} different image(s) of class {name}, too few to split 60/20/20 (those of one "
                "patient count as one); "
                "add images, or divide it into train, val and test folders"
            )


def _rows_of_skipped(images: Images, part_of: Mapping[str, Split], folder: Path) -> set[Row]:
    """Rows of the images that could not be read, for whoever reads the manifest to meet and count them as well.

    They go to the test part, which is what audits report, unless their patient is in another. A table cannot hold a
    name that is no text, and a file that holds readable pictures too has its row.
    """
    parts = {without_issuer(ref.patient): part_of[ref.id] for ref in images.refs if ref.patient}
    there = {ref.path for ref in images.refs}
    return {
        _row(item, parts.get(without_issuer(item.patient or ""), "test"), folder, _pin(item.path))
        for item in images.skipped
        if item.path not in there and str(item.path).isprintable()
    }


def _pin(path: Location) -> str:
    """Hash of an unreadable image's bytes; of none, where not even these can be read."""
    try:
        data = read_bytes(path)
    except DataError:
        data = b""
    return hashlib.sha256(data).hexdigest()


def _row(image: ImageRef | Listed, part: Split, folder: Path, sha256: str) -> Row:
    """A row of the manifest; the hash of the file lets it lie outside the manifest's folder."""
    path = str(image.path) if isinstance(image.path, Remote) else Path(os.path.relpath(image.path, folder)).as_posix()
    of_file = image.id.rpartition("#")[0] if image.member else image.id  # which of its pictures, listing adds again
    return path, image.label, part, image.patient or "", sha256, of_file
