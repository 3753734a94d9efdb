"""The append-only log of a scan: a line per finished image or probe, so that a kill loses only what was under way.

The first line says what the rows belong to; a log of anything else is refused. A torn last line is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from pydantic import Field

from robaudit.checks.evidence import GradientCounts, Probe
from robaudit.errors import OutputError
from robaudit.records import GalleryItem, ImageRow, Observed, Record, Spent

JOURNAL_FILE = "images.partial.jsonl"


class Amendment(Record):
    """What an attack that was added for a check found for one image."""

    attack: str
    found_255: int | None
    spent: Spent = Spent()
    gradients: GradientCounts = GradientCounts()
    unfinished: dict[str, bool] = Field(default_factory=dict)
    """Attack -> whether its last climb was still rising, where it was resisted."""


class Entry(Record):
    """What is kept of one image."""

    row: ImageRow
    spent: Spent
    gradients: GradientCounts = GradientCounts()
    batch_size: int
    observed: Observed | None = None
    gallery: GalleryItem | None = None
    amendments: tuple[Amendment, ...] = ()
    """In the order in which they were made; apart, so that a resumed scan can judge as the interrupted one did."""

    def is_amended_by(self, attack: str) -> bool:
        """Whether this added attack was run on the image."""
        return any(amendment.attack == attack for amendment in self.amendments)

    def including(self, attacks: Collection[str]) -> Entry:
        """The entry with what these of the added attacks found, and without the others."""
        row, total, gradients, observed = self.row, self.spent, self.gradients, self.observed
        for amendment in self.amendments:
            if amendment.attack in attacks:
                row = row.model_copy(update={"fooled_at": row.fooled_at | {amendment.attack: amendment.found_255}})
                total = total.plus(amendment.spent)
                gradients = gradients.plus(amendment.gradients)
                observed = observed and observed.after_climbs(amendment.unfinished)
        update = {"row": row, "spent": total, "gradients": gradients, "observed": observed, "amendments": ()}
        return self.model_copy(update=update)


class Journal:
    """Entries and probes read back, and the file that further ones are appended to."""

    def __init__(self, entries: Iterable[Entry], probes: Iterable[Probe], file: TextIO) -> None:
        self.entries = {entry.row.id: entry for entry in entries}
        """By image; what was found last."""
        self.probes = {_key(probe): probe for probe in probes}
        self._file = file

    def append(self, entry: Entry) -> None:
        """Write one entry, in place of an earlier one of the same image; it survives a kill from here on.

        Raises:
            OutputError: the disk is full.
        """
        self._write(entry)
        self.entries[entry.row.id] = entry

    def append_probe(self, probe: Probe) -> None:
        """Write what one image was asked for a check; likewise."""
        self._write(probe)
        self.probes[_key(probe)] = probe

    def asked(self, check: str, name: str) -> dict[str, Probe]:
        """What images answered to one question, by image."""
        return {probe.id: probe for probe in self.probes.values() if (probe.check, probe.name) == (check, name)}

    def _write(self, line: Record) -> None:
        try:
            self._file.write(line.model_dump_json() + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{self._file.name}: cannot be written ({error.strerror}); free space, then the same command continues"
            ) from None


def _key(probe: Probe) -> tuple[str, str, str]:
    return probe.check, probe.name, probe.id


@contextmanager
def open_journal(folder: Path, identity: Mapping[str, Any]) -> Iterator[Journal]:
    """Open the log in `folder` for appending, with what an earlier run of the same identity left in it.

    The caller is `alone_in` the folder.

    Raises:
        OutputError: the log belongs to another model, data set or settings, or cannot be written.
    """
    path = folder / JOURNAL_FILE
    header = json.dumps({"identity": identity}, sort_keys=True)
    try:
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
    try:
        lines = _whole_lines(path)
        if lines:
            refuse_other(path, _read_identity(path, lines[0]), json.loads(header)["identity"])
        else:
            file.write(header + "\n")
        yield Journal(*_read_lines(path, lines[1:]), file)
    finally:
        with suppress(OSError):  # what could not be written, `append` has told
            file.close()


def _read_identity(path: Path, line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)["identity"]
    except (ValueError, KeyError, TypeError):
        raise OutputError(f"{path}: is damaged; start again with --restart") from None
    return found


def _read_lines(path: Path, lines: list[str]) -> tuple[list[Entry], list[Probe]]:
    """Entries and probes; an image whose pictures were lost is left out, and so measured again."""
    entries, probes = [], []
    try:
        for line in lines:
            if "row" in json.loads(line):
                entries.append(Entry.model_validate_json(line))
            else:
                probes.append(Probe.model_validate_json(line))
    except (ValueError, TypeError):  # pydantic's ValidationError is a ValueError
        raise OutputError(f"{path}: is damaged; start again with --restart") from None
    return [entry for entry in entries if _has_pictures(path.parent, entry)], probes


def _has_pictures(folder: Path, entry: Entry) -> bool:
    return entry.gallery is None or all((folder / name).is_file() for name in entry.gallery.files.values())


def refuse_other(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Make sure that a result belongs to this scan.

    Raises:
        OutputError: naming the first thing that differs.
    """
    before, now = _flat(found), _flat(wanted)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise OutputError(
                f"{path}: belongs to another scan ({key} was {before.get(key)}, is {now.get(key)}); "
                "choose another --out, or replace it with --restart"
            )


def _whole_lines(path: Path) -> list[str]:
    """Complete lines of the log; a torn last one is cut off the file too, so that appending starts a fresh line."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    try:
        # Not splitlines: a file name may hold a line separator of Unicode, which JSON leaves as it is.
        return whole.decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError:
        raise OutputError(f"{path}: is damaged; start again with --restart") from None


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {key: inner for name, item in value.items() for key, inner in _flat(item, f"{prefix}.{name}").items()}
    if isinstance(value, list | tuple):
        return {
            key: inner for index, item in enumerate(value) for key, inner in _flat(item, f"{prefix}.{index}").items()
        }
    return {prefix.removeprefix("."): value}
