"""A table of images, CSV or Parquet, with columns path and label, and split, patient_id, sha256 if known.

One that robaudit wrote also says what each image was called.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from robaudit.data.listed import SPLIT_NAMES, Listed, part_named
from robaudit.data.patients import patient_key
from robaudit.data.remote import CHAIN, STORES, Location, Remote, is_in_store, is_url, located
from robaudit.data.table import as_whole, in_one_line, read_table
from robaudit.errors import DataError

OWN_ID = "robaudit_id"
"""What an image was called where it was listed first: it keeps its name wherever manifest and data lie."""
COLUMNS = ("path", "label", "split", "patient_id", "sha256", OWN_ID)
"""Of a manifest that robaudit writes."""
_NEEDED = ("path", "label")


def read_manifest(path: Location) -> list[Listed]:
    """Every row, in the order of the table.

    Raises:
        DataError: no table, no path or label column, a row without either, twice the same image, a path that leaves
            the manifest's folder without saying which bytes it means, a URL that a manifest may not name, or a split in
            some rows only.
    """
    rows = read_table(path, COLUMNS, _NEEDED, exact=OWN_ID)
    label, patient = (as_whole(rows, name, exact=OWN_ID) for name in ("label", "patient_id"))
    listed = [
        _listed(path, number, {**row, "label": label(row["label"]), "patient_id": patient(row.get("patient_id", ""))})
        for number, row in rows
    ]
    numbers = [number for number, _ in rows]
    _refuse_twice(path, numbers, listed)
    _refuse_half_divided(path, numbers, listed)
    return listed


def _refuse_half_divided(path: Location, numbers: list[int], listed: list[Listed]) -> None:
    """Rows of no part would be left out of every audit, and nobody would know."""
    without = [number for number, item in zip(numbers, listed, strict=True) if not item.split]
    if 0 < len(without) < len(listed):
        raise DataError(
            f"{path}: {len(without)} of {len(listed)} rows have no split, such as line {without[0]}, while others do; "
            "name the part of each or remove it"
        )


def _refuse_twice(path: Location, numbers: list[int], listed: list[Listed]) -> None:
    lines: defaultdict[str, list[int]] = defaultdict(list)
    for number, item in zip(numbers, listed, strict=True):
        for name in _names(item):
            lines[name].append(number)
    for item in listed:
        if len(found := max(map(lines.__getitem__, _names(item)), key=len)) > 1:
            shown = ", ".join(map(str, found[:5]))
            raise DataError(
                f"{path}: lists {in_one_line(item.id)} {len(found)} times (lines {shown}); keep one row per image"
            )


def _names(item: Listed) -> tuple[str, str]:
    """By which it is another than the others: where it lies, and what it is called."""
    return f"path {os.path.normpath(str(item.path))}", f"id {item.id}"


def _listed(path: Location, number: int, row: Mapping[str, str]) -> Listed:
    id_, label, pinned = _posix(path, row["path"]), row["label"], row.get("sha256", "").lower()
    own_id = row.get(OWN_ID, "")
    if not id_ or not label or "\0" in id_ + own_id:
        raise DataError(f"{path}: line {number} names no path or no label; correct or remove it")
    if is_url(id_) and not _may_name(path, id_):
        places = "its own store" if isinstance(path, Remote) else f"disk or one of {', '.join(STORES[:-1])}"
        raise DataError(
            f"{path}: line {number} names {in_one_line(id_.partition('://')[0])}://..., wanted an image on {places}; "
            "download it, or put the manifest beside the images"
        )
    if not pinned and not _lies_below(path.parent, id_):
        raise DataError(
            f"{path}: line {number} leaves its folder ({in_one_line(id_)}); move the manifest above the images, "
            "or say in a column sha256 which bytes are meant"
        )
    return Listed(
        id=own_id or id_,
        path=located(id_) if is_url(id_) else path.parent / id_,
        label=label,
        split=_part(path, number, row.get("split", "")),
        patient=patient_key(row["patient_id"]),
        pinned=pinned or None,
        row=f"{path}: line {number}: ",
    )


def _posix(path: Location, id_: str) -> str:
    r"""A path as this system writes it: a\b, as Windows writes it, is elsewhere a name only where a file has it."""
    if "\\" not in id_ or "\0" in id_ or is_url(id_) or isinstance(path, Remote):
        return id_
    if os.path.exists(path.parent / id_):  # noqa: PTH110 - Path.exists raises for names too long
        return id_
    return id_.replace("\\", "/")


def _part(path: Location, number: int, word: str) -> str:
    part = part_named(word)
    if part and part not in SPLIT_NAMES:
        known = ", ".join(name for names in SPLIT_NAMES.values() for name in names)
        raise DataError(
            f"{path}: line {number} has split {in_one_line(word)}, wanted one of {known}; correct or remove it"
        )
    return part


def _may_name(path: Location, url: str) -> bool:
    """Whether a manifest from elsewhere could not make robaudit connect to, or open, what its user did not mean."""
    if isinstance(path, Remote):
        scheme, _, address = path.url.partition("://")
        return url.startswith(f"{scheme}://{address.partition('/')[0]}/") and CHAIN not in url
    return is_in_store(url)


def _lies_below(folder: Location, id_: str) -> bool:
    """Whether a manifest from elsewhere could not make robaudit open, and picture, what its owner did not mean."""
    if is_url(id_) or ".." in PurePosixPath(id_).parts or ".." in Path(id_).parts:
        return False
    if isinstance(folder, Remote):
        return not id_.startswith("/")
    return (folder / id_).absolute().is_relative_to(folder.absolute())
