"""A table as people's programs write it: CSV with any usual separator and encoding, or Parquet; rows of text."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from robaudit.data.regular import read_at_most, require_regular
from robaudit.data.remote import Location
from robaudit.errors import DataError, first_line

MAX_ROWS = 10_000_000
MAX_BYTES = 2**28
"""Of a CSV file (256 MiB): some millions of rows."""
Rows = list[tuple[int, Mapping[str, str]]]
"""(line or row number, text by column name in lower case) of every row that is not empty."""

_PARQUET_MAGIC = b"PAR1"
_SEPARATORS = (",", ";", "\t", "|")
"""Excel writes semicolons where the comma is a decimal point."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_table(path: Location, wanted: Sequence[str], needed: Collection[str], exact: str) -> Rows:
    """Every row of a table, without spaces around its values.

    Args:
        path: CSV or Parquet, seen from its first bytes.
        wanted: columns to read; those that are not there are empty.
        needed: columns without which it is no table of images.
        exact: column of tables that no other program has written: a space is part of a value there.

    Raises:
        DataError: no table, or one of the needed columns is missing or there twice.
    """
    try:
        require_regular(path, remedy="list fewer images")
        with path.open("rb") as file:
            is_parquet = file.read(4) == _PARQUET_MAGIC
        rows = (_parquet_rows if is_parquet else _csv_rows)(path, wanted, needed)
        trimmed = ((n, row if exact in row else {name: row[name].strip() for name in row}) for n, row in rows)
        return [(number, row) for number, row in trimmed if any(row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a manifest ({error}); pass a folder of classes") from None


def _csv_rows(path: Location, wanted: Sequence[str], needed: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    text = _text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text, needed))
    header = next(reader, [])
    places = _places(path, header, wanted, needed)
    for cells in reader:
        if len(cells) > len(header) and any(cells[len(header) :]):
            raise DataError(
                f"{path}: line {reader.line_num} has {len(cells)} cells under {len(header)} column names; "
                'quote those that hold a separator, as in "a,b"'
            )
        yield reader.line_num, {name: cells[at] if at < len(cells) else "" for name, at in places.items()}


def _text(path: Location) -> str:
    """UTF-8, or what older Windows programs write: UTF-16 as it says itself, else the Western code page."""
    data = read_at_most(path, MAX_BYTES, "list fewer images, or save it as Parquet")
    if data.startswith(_UTF16):
        return data.decode("utf-16")
    if b"\0" in data:
        raise DataError(
            f"{path}: cannot be read as a manifest (is no text); save the table as CSV in UTF-8 or as Parquet, "
            "or pass a folder of classes"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _separator(text: str, needed: Collection[str]) -> str:
    first = re.split("[\r\n]", text, maxsplit=1)[:1]
    for separator in _SEPARATORS:
        if set(needed) <= {_plain(name) for name in next(csv.reader(first, delimiter=separator), [])}:
            return separator
    return ","


def _parquet_rows(
    path: Location, wanted: Sequence[str], needed: Collection[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException
    except ImportError:
        raise DataError(f"{path}: is Parquet; pip install 'robaudit[parquet]', or save it as CSV") from None
    try:
        with path.open("rb") as file:
            opened = parquet.ParquetFile(file)
            names = opened.schema_arrow.names
            places = _places(path, names, wanted, needed)
            if opened.metadata.num_rows > MAX_ROWS:
                raise DataError(
                    f"{path}: claims {opened.metadata.num_rows} rows, more than images can be audited; list fewer"
                )
            table: list[dict[str, Any]] = opened.read(columns=[names[at] for at in places.values()]).to_pylist()
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: is damaged Parquet ({first_line(error)}); write it again") from None
    for number, row in enumerate(table, start=1):
        yield number, {name: _cell(row.get(names[at])) for name, at in places.items()}


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _places(path: Location, header: Sequence[str], wanted: Sequence[str], needed: Collection[str]) -> dict[str, int]:
    """Column name -> where it stands."""
    names = [_plain(name) for name in header]
    if not set(needed) <= set(names):
        shown = in_one_line(", ".join(name for name in header if name)) or "none"
        others = ", ".join(name for name in wanted if name not in needed)
        raise DataError(
            f"{path}: has columns {shown}, wanted {' and '.join(needed)} ({others}); name them so in its first line"
        )
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise DataError(f"{path}: has {names.count(twice[0])} columns {twice[0]}; keep one")
    return {name: names.index(name) for name in wanted if name in names}


def _plain(name: str) -> str:
    return name.strip().lower()


def in_one_line(text: str) -> str:
    """Text of a cell as a refusal may quote it: cells in quotes may hold lines."""
    return " ".join(text.split())[:300]


def as_whole(rows: Rows, column: str, exact: str) -> Callable[[str], str]:
    """How to read a column's numbers: pandas writes 1 as 1.0 where another row has none.

    Only where all are such: among others, `1.0` may be a name, as it is in a table with the column `exact`.
    """
    found: Iterable[str] = (row.get(column, "") for _, row in rows)
    is_exact = any(exact in row for _, row in rows)
    if not is_exact and all(re.fullmatch(r"-?\d+\.0+", text) for text in found if text):
        return lambda text: text.partition(".")[0]
    return lambda text: text
