"""A table of images, CSV or Parquet, with columns path and label, and split, patient_id, weight, sha256 if known."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from robaudit.errors import DataError, first_line
from robaudit.load.listed import Listed, part_named, patient_key
from robaudit.load.regular import require_regular
from robaudit.load.remote import Location, Remote, is_url, located

COLUMNS = ("path", "label", "split", "patient_id", "sha256")
"""Of a manifest that robaudit writes."""
MAX_ROWS = 10_000_000
MAX_BYTES = 2**30
_PARQUET_MAGIC = b"PAR1"
_READ = (*COLUMNS, "weight")


def read_manifest(path: Location) -> list[Listed]:
    """Every row, in the order of the table.

    Raises:
        DataError: no table, no path or label column, a row without either, twice the same image, or a path that leaves
            the manifest's folder without saying which bytes it means.
    """
    rows = [_listed(path, number, row) for number, row in _rows(path)]
    counts = Counter(row.id for row in rows)
    if twice := [id_ for id_, count in counts.items() if count > 1]:
        raise DataError(f"{path}: lists {twice[0]} {counts[twice[0]]} times; keep one row per image")
    return rows


def _rows(path: Location) -> Iterable[tuple[int, Mapping[str, str]]]:
    """(line or row number, text by column) of every row."""
    try:
        require_regular(path, MAX_BYTES, "list fewer images")
        with path.open("rb") as file:
            is_parquet = file.read(4) == _PARQUET_MAGIC
        return list(_parquet_rows(path) if is_parquet else _csv_rows(path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a manifest ({error}); pass a folder of classes") from None


def _csv_rows(path: Location) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        _require_columns(path, reader.fieldnames or ())
        for row in reader:
            yield reader.line_num, {name: row.get(name) or "" for name in _READ}


def _parquet_rows(path: Location) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException
    except ImportError:
        raise DataError(f"{path}: is Parquet; pip install 'robaudit[parquet]', or save it as CSV") from None
    try:
        with path.open("rb") as file:
            opened = parquet.ParquetFile(file)
            names = opened.schema_arrow.names
            _require_columns(path, names)
            _require_rows(path, opened.metadata.num_rows)
            table: list[dict[str, Any]] = opened.read(columns=[n for n in _READ if n in names]).to_pylist()
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: is damaged Parquet ({first_line(error)}); write it again") from None
    for number, row in enumerate(table, start=1):
        yield number, {name: "" if row.get(name) is None else str(row[name]) for name in _READ}


def _require_rows(path: Location, n_rows: int) -> None:
    if n_rows > MAX_ROWS:
        raise DataError(f"{path}: claims {n_rows} rows, more than images can be audited; list fewer")


def _require_columns(path: Location, names: Iterable[str]) -> None:
    if not {"path", "label"} <= set(names):
        raise DataError(
            f"{path}: has columns {', '.join(names) or 'none'}, wanted path and label (split, patient_id, weight)"
        )


def _listed(path: Location, number: int, row: Mapping[str, str]) -> Listed:
    id_, label, pinned = row["path"], row["label"], row["sha256"].strip().lower()
    if not id_ or not label or "\0" in id_:
        raise DataError(f"{path}: line {number} names no path or no label; correct or remove it")
    if not pinned and not _lies_below(path.parent, id_):
        raise DataError(
            f"{path}: line {number} leaves its folder ({id_}); move the manifest above the images, or say in a column "
            "sha256 which bytes are meant"
        )
    return Listed(
        id=id_,
        path=located(id_) if is_url(id_) else path.parent / id_,
        label=label,
        split=part_named(row["split"]),
        patient=patient_key(row["patient_id"]),
        weight=_weight(path, number, row["weight"]),
        pinned=pinned or None,
    )


def _lies_below(folder: Location, id_: str) -> bool:
    """Whether a manifest from elsewhere could not make robaudit open, and picture, what its owner did not mean."""
    if is_url(id_) or ".." in PurePosixPath(id_).parts or ".." in Path(id_).parts:
        return False
    if isinstance(folder, Remote):
        return not id_.startswith("/")
    return (folder / id_).absolute().is_relative_to(folder.absolute())


def _weight(path: Location, number: int, text: str) -> float:
    try:
        weight = float(text or 1)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise DataError(f"{path}: line {number} has weight {text}; wanted a number from 0")
    return weight
