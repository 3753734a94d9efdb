"""Damaged model files of every kind: each ends in a loaded model or in one line. `tools/fuzz_models.py` runs longer."""

import random
import re
import struct
import zipfile
from pathlib import Path

import pytest
from damage import KINDS, damaged, intact, outcome

from robaudit.errors import ModelError
from robaudit.load.model import load_model

ROUNDS = 25


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_a_model_or_in_one_line(tmp_path: Path, kind: str) -> None:
    content = intact(kind, tmp_path)
    path = tmp_path / "damaged"
    for seed in range(ROUNDS):
        path.write_bytes(damaged(content, random.Random(seed)))
        assert outcome(path) in ("loaded", "refused"), seed


@pytest.mark.filterwarnings("ignore")
def test_a_legacy_file_that_lacks_one_of_its_storages(tmp_path: Path) -> None:
    """Found by the long fuzzing: torch's reader asserts what the file promises."""
    content = intact("legacy", tmp_path)
    path = tmp_path / "damaged"
    [*_, last] = re.finditer(rb"\d{8,}", content)
    path.write_bytes(content[: last.start()] + b"0" * len(last[0]) + content[last.end() :])
    with pytest.raises(ModelError, match=r"cannot be loaded \(storage key .*fetch or save it again"):
        load_model(path, input_size=(16, 16))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "module"])
def test_the_files_that_are_damaged_are_whole_before(tmp_path: Path, kind: str) -> None:
    intact(kind, tmp_path)
    assert outcome(tmp_path / kind) == "loaded"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["checkpoint", "torchscript", "exported"])
def test_a_flipped_bit_among_the_weights_of_an_archive_is_found(tmp_path: Path, kind: str) -> None:
    """By the archive's checksums, which torch.load does not look at: it gives wrong weights without a word."""
    path = tmp_path / kind
    content = bytearray(intact(kind, tmp_path))
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if re.search(r"/data/\d+$|/weight_\d+$", name)]
        entry = max(map(archive.getinfo, names), key=lambda each: each.file_size)
    # A local header has 30 bytes, then the name and an extra field, whose lengths are its last two numbers.
    lengths = struct.unpack_from("<HH", content, entry.header_offset + 26)
    content[entry.header_offset + 30 + sum(lengths) + entry.file_size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="Bad CRC-32"):
        load_model(path, input_size=(16, 16))
