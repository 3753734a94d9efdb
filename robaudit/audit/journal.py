"""The append-only log of a scan: a line per finished image or probe, so that a kill loses only what was under way.

The first line says what the rows belong to; a log of anything else is refused. A torn last line is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import Field

from robaudit.checks.evidence import GradientCounts, Probe
from robaudit.errors import OutputError
from robaudit.records import JOURNAL_FILE, GalleryItem, ImageRow, Observed, Record, Spent

T = TypeVar("T")
CHUNK_BYTES = 2**16


class Amendment(Record):
    """What an attack that was added for a check found for one image."""

    attack: str
    found_255: int | None
    spent: Spent = Spent()
    gradients: GradientCounts = GradientCounts()
    unfinished: dict[str, bool] = Field(default_factory=dict)
    """Attack -> whether its last climb was still rising, where it was resisted."""
    refused: dict[str, bool] = Field(default_factory=dict)
    """Attack -> whether that climb had fooled what it follows, and not the model."""
    excess: float = 0.0
    """How far the worst picture is outside its ball or [0, 1]."""
    realisable: bool | None = None
    """Whether a new picture survives rounding to the levels of the image's file; null where there is no new one."""
    batch_size: int | None = None
    """Padded batch shape that it was asked in at last; null where nothing was asked."""
    error: str | None = None
    """Why there is no answer, where no worker outlived the attack: then the image is an error altogether."""

    def of(self, row: ImageRow) -> ImageRow:
        """The row with what the attack found."""
        fooled_at = row.fooled_at | {self.attack: self.found_255}
        if self.error is None:
            return row.model_copy(update={"fooled_at": fooled_at})
        failed = {"prediction": None, "fooled_at": dict.fromkeys(fooled_at, 0), "error": self.error}
        return row.model_copy(update=failed)

    def seen_after(self, before: Observed) -> Observed:
        """What was seen of the image, with what the attack showed."""
        return before.model_copy(
            update={
                "climbed": (*before.climbed, *self.unfinished),
                "unfinished": (*before.unfinished, *(name for name, rising in self.unfinished.items() if rising)),
                "refused": (*before.refused, *(name for name, in_vain in self.refused.items() if in_vain)),
                "excess": max(before.excess, self.excess),
                "realisable": before.realisable if self.realisable is None else self.realisable,
            }
        )


class Entry(Record):
    """What is kept of one image."""

    row: ImageRow
    spent: Spent
    gradients: GradientCounts = GradientCounts()
    batch_size: int
    observed: Observed | None = None
    gallery: GalleryItem | None = None
    amended_in: frozenset[int] = frozenset()
    """Batch shapes of the amendments that are included; none are on disk."""
    amendments: tuple[Amendment, ...] = ()
    """In the order in which they were made; apart, so that a resumed scan can judge as the interrupted one did."""

    def is_amended_by(self, attack: str) -> bool:
        """Whether this added attack was run on the image."""
        return any(amendment.attack == attack for amendment in self.amendments)

    def including(self, attacks: Collection[str]) -> Entry:
        """The entry with what these of the added attacks found, and without the others."""
        row, total, gradients, observed = self.row, self.spent, self.gradients, self.observed
        amended_in = set()
        for amendment in self.amendments:
            if amendment.attack in attacks:
                row = amendment.of(row)
                total = total.plus(amendment.spent)
                gradients = gradients.plus(amendment.gradients)
                observed = observed and amendment.seen_after(observed)
                amended_in |= {amendment.batch_size} - {None}
        update = {"row": row, "spent": total, "gradients": gradients, "observed": observed, "amended_in": amended_in}
        return self.model_copy(update={**update, "amendments": ()})


class KeptEntries(Mapping[str, Entry]):
    """Entries by image, what was found last. They stay on disk: a long scan needs no more memory than a short one."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._starts: dict[str, int] = {}

    def keep(self, id_: str, start: int) -> None:
        """Take note of where an image's line begins, in bytes."""
        self._starts[id_] = start

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def __getitem__(self, id_: str) -> Entry:
        self._file.seek(self._starts[id_])
        return Entry.model_validate_json(self._file.readline())

    def __contains__(self, id_: object) -> bool:
        return id_ in self._starts

    def __iter__(self) -> Iterator[str]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)


class InOrder(Collection[T]):
    """A part of the entries of some images, as far as some added attacks go, read anew in every pass.

    Args:
        kept: where the entries are.
        ids: of the images, in the order wanted.
        added: attacks beyond the plan whose findings are taken in.
        part: what is wanted of an entry.
    """

    def __init__(
        self, kept: KeptEntries, ids: Sequence[str], added: Collection[str], part: Callable[[Entry], T]
    ) -> None:
        self._kept, self._ids, self._added, self._part = kept, ids, added, part

    def __getitem__(self, id_: str) -> T:
        return self._part(self._kept[id_].including(self._added))

    def __iter__(self) -> Iterator[T]:
        return map(self.__getitem__, self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, part: object) -> bool:
        return any(part == each for each in self)


class Journal:
    """Entries and probes read back, and the file that further ones are appended to."""

    def __init__(self, entries: KeptEntries, probes: Iterable[Probe], file: BinaryIO) -> None:
        self.entries = entries
        self.probes = {_key(probe): probe for probe in probes}
        self._file = file

    def append(self, entry: Entry) -> None:
        """Write one entry, in place of an earlier one of the same image; it survives a kill from here on.

        Raises:
            OutputError: the disk is full.
        """
        start = self._file.tell()
        _write(self._file, entry.model_dump_json())
        self.entries.keep(entry.row.id, start)

    def append_probe(self, probe: Probe) -> None:
        """Write what one image was asked for a check; likewise."""
        _write(self._file, probe.model_dump_json())
        self.probes[_key(probe)] = probe

    def asked(self, check: str, name: str) -> dict[str, Probe]:
        """What images answered to one question, by image."""
        return {probe.id: probe for probe in self.probes.values() if (probe.check, probe.name) == (check, name)}


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
    try:
        _drop_torn_line(path)
        file = path.open("ab")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
    entries = KeptEntries(path)
    try:
        if not require_own_journal(folder, identity):
            _write(file, json.dumps({"identity": identity}, sort_keys=True))
        yield Journal(entries, _read_lines(path, entries), file)
    finally:
        entries.close()
        with suppress(OSError):  # what could not be written, `append` has told
            file.close()


def require_own_journal(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Make sure that a log in `folder` belongs to this scan; returns whether there is one.

    Raises:
        OutputError: it belongs to another, or is damaged.
    """
    path = folder / JOURNAL_FILE
    try:
        with path.open("rb") as file:
            header = file.readline()
    except OSError:
        return False
    if not header.endswith(b"\n"):
        return False  # a kill came before anything was written of it
    refuse_other(path, _read_identity(path, header), identity)
    return True


def _write(file: BinaryIO, line: str) -> None:
    try:
        file.write(line.encode() + b"\n")
        file.flush()  # `robaudit status` reads along
    except OSError as error:
        raise OutputError(
            f"{file.name}: cannot be written ({error.strerror}); free space, then the same command continues"
        ) from None


def _read_identity(path: Path, line: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)["identity"]
    except (ValueError, KeyError, TypeError):
        raise OutputError(f"{path}: is damaged; start again with --restart") from None
    return found


def _read_lines(path: Path, entries: KeptEntries) -> list[Probe]:
    """Take note of the entries, and return the probes; an image whose pictures were lost is measured again."""
    probes = []
    with path.open("rb") as file:
        start = len(file.readline())
        # Lines end with a line feed alone: a file name may hold a line separator of Unicode, which JSON leaves in.
        for line in file:
            try:
                if "row" not in json.loads(line):
                    probes.append(Probe.model_validate_json(line))
                elif _has_pictures(path.parent, entry := Entry.model_validate_json(line)):
                    entries.keep(entry.row.id, start)
            except (ValueError, TypeError):  # pydantic's ValidationError is a ValueError
                raise OutputError(f"{path}: is damaged; start again with --restart") from None
            start += len(line)
    return probes


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


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line that a kill left unfinished, so that appending starts a fresh one."""
    with path.open("a+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - CHUNK_BYTES)
            file.seek(start)
            chunk = file.read(end - start)
            if b"\n" in chunk:
                end = start + chunk.rindex(b"\n") + 1
                break
            end = start
        file.truncate(end)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {key: inner for name, item in value.items() for key, inner in _flat(item, f"{prefix}.{name}").items()}
    if isinstance(value, list | tuple):
        return {
            key: inner for index, item in enumerate(value) for key, inner in _flat(item, f"{prefix}.{index}").items()
        }
    return {prefix.removeprefix("."): value}
