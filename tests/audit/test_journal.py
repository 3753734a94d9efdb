"""The journal on its own: what a kill, another scan or a full disk does to it."""

import json
from pathlib import Path

import pytest

from robaudit.audit.journal import JOURNAL_FILE, Entry, Journal, KeptEntries, open_journal
from robaudit.errors import OutputError
from robaudit.records import ImageRow, Spent

IDENTITY = {"seed": 0, "attacks": {"pgd": {"steps": 40}}, "grid": (1, 2)}


def entry(id_: str) -> Entry:
    row = ImageRow(id=id_, sha256="0", label="a", prediction="a", fooled_at={"pgd": 4})
    return Entry(row=row, spent=Spent(gradients=3, forwards=4, seconds=0.5), batch_size=8)


def written(folder: Path, *ids: str) -> Path:
    with open_journal(folder, IDENTITY) as journal:
        for id_ in ids:
            journal.append(entry(id_))
    return folder / JOURNAL_FILE


def test_entries_come_back_as_they_went_in(tmp_path: Path) -> None:
    written(tmp_path, "a/1.png", "a/2.png")
    written(tmp_path, "a/3.png")
    with open_journal(tmp_path, IDENTITY) as journal:
        assert journal.entries == {id_: entry(id_) for id_ in ("a/1.png", "a/2.png", "a/3.png")}


def test_an_entry_is_on_disk_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with open_journal(tmp_path, IDENTITY) as journal:
        journal.append(entry("a/1.png"))
        lines = (tmp_path / JOURNAL_FILE).read_text().split("\n")
    assert json.loads(lines[1])["row"]["id"] == "a/1.png"


@pytest.mark.parametrize("id_", ["a/line\u2028separator.png", "a/next\x85line.png", "a/form\x0cfeed.png", "a/ü 🫁.png"])
def test_any_file_name_survives(tmp_path: Path, id_: str) -> None:
    written(tmp_path, id_, "a/2.png")
    with open_journal(tmp_path, IDENTITY) as journal:
        assert set(journal.entries) == {id_, "a/2.png"}


def test_a_torn_line_is_dropped_wherever_it_was_torn(tmp_path: Path) -> None:
    """Every prefix of the file is what a kill could leave."""
    whole = written(tmp_path, "a/1.png", "a/2.png").read_bytes()
    starts = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(0, len(whole) + 1, 7):
        (tmp_path / JOURNAL_FILE).write_bytes(whole[:length])
        n_whole = sum(start <= length for start in starts)
        with open_journal(tmp_path, IDENTITY) as journal:
            assert len(journal.entries) == max(0, n_whole - 1)
            journal.append(entry("a/9.png"))
        with open_journal(tmp_path, IDENTITY) as journal:
            assert list(journal.entries)[-1] == "a/9.png"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({**IDENTITY, "seed": 1}, r"seed was 0, is 1"),
        ({**IDENTITY, "attacks": {"pgd": {"steps": 10}}}, r"attacks\.pgd\.steps was 40, is 10"),
        ({**IDENTITY, "grid": (1, 3)}, r"grid\.1 was 2, is 3"),
        ({**IDENTITY, "more": True}, r"more was None, is True"),
    ],
)
def test_a_journal_of_another_scan_is_refused_and_left_alone(
    tmp_path: Path, other: dict[str, object], expected: str
) -> None:
    before = written(tmp_path, "a/1.png").read_bytes()
    with pytest.raises(OutputError, match=rf"{expected}.*--restart"), open_journal(tmp_path, other):
        pytest.fail("opened")
    assert (tmp_path / JOURNAL_FILE).read_bytes() == before


@pytest.mark.parametrize("content", [b"no json\n", b"[]\n", b'{"other": 1}\n', b"\xff\xfe\n"])
def test_a_damaged_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / JOURNAL_FILE).write_bytes(content)
    with pytest.raises(OutputError, match="is damaged; start again with --restart"), open_journal(tmp_path, IDENTITY):
        pytest.fail("opened")


def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a/1.png", "a/2.png")
    header, first, second, end = path.read_text().split("\n")
    path.write_text("\n".join([header, first[:-5], second, end]))
    with pytest.raises(OutputError, match="is damaged"), open_journal(tmp_path, IDENTITY):
        pytest.fail("opened")


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), OSError("x"), KeyboardInterrupt()])
def test_what_goes_wrong_while_it_is_open_is_not_blamed_on_it(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, open_journal(tmp_path, IDENTITY):
        raise error
    assert caught.value is error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_with_what_to_do() -> None:
    kept = KeptEntries(Path("/dev/null"))
    file = Path("/dev/full").open("wb")  # noqa: SIM115 (closing it fails, as it must)
    with pytest.raises(OutputError, match="free space, then the same command continues"):
        Journal(kept, [], file).append(entry("a/1.png"))
    kept.close()
    with pytest.raises(OSError, match="No space left"):
        file.close()
