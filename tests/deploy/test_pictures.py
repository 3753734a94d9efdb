"""What an audit stored is read as data: PNGs of the model's grid, inside the audit's folder, and nothing else."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robaudit.deploy.pictures import of_audit
from robaudit.errors import DataError, RecordError
from robaudit.records import AuditRecord, GalleryItem

SIZE = (6, 8)
SHADES = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(side: int) -> bytes:
    """A PNG that claims a grey square."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.fixture
def audit_with(audit_of: Callable[..., AuditRecord], tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes an audit of one picture: its bytes, and the name that the record gives it."""

    def write(content: bytes | None = None, name: str = "gallery/0-original.png") -> Path:
        folder = tmp_path / "audit"
        (folder / "gallery").mkdir(parents=True)
        if content is not None:
            (folder / "gallery/0-original.png").write_bytes(content)
        item = GalleryItem(id="a/0.png", label="a", prediction="a", files={"original": name})
        (folder / "audit.json").write_text(audit_of(artifacts=(item,)).model_dump_json(), encoding="utf-8")
        return folder / "audit.json"

    return write


def test_stored_pixels_come_out_as_they_went_in(audit_with: Callable[..., Path]) -> None:
    [picture] = of_audit(audit_with(encoded(SHADES)), 3, SIZE)
    assert torch.equal(picture, torch.from_numpy(SHADES.astype(np.float32) / 255).permute(2, 0, 1))


def test_no_program_is_started_for_a_stored_picture(audit_with: Callable[..., Path], ghostscript: Path) -> None:
    """Pillow would hand PostScript, which is a language, to Ghostscript."""
    with pytest.raises(DataError, match="no known format"):
        of_audit(audit_with(encoded(SHADES, "EPS")), 3, SIZE)
    assert not ghostscript.exists()


@pytest.mark.parametrize("side", [9, 8_000, 12_000, 30_000])
def test_a_picture_of_another_size_is_not_unpacked(audit_with: Callable[..., Path], side: int) -> None:
    """From a size upwards Pillow refuses a bomb by itself, in an exception of its own."""
    with pytest.raises(DataError, match=f"is {side}x{side}, wanted 6x8|decompression bomb"):
        of_audit(audit_with(bomb(side)), 3, SIZE)


@pytest.mark.parametrize("at", [0, 12, 37, 45, 60])
def test_a_damaged_picture_is_refused_in_one_line(audit_with: Callable[..., Path], at: int) -> None:
    damaged = bytearray(encoded(SHADES))
    damaged[at] ^= 0xFF
    with pytest.raises(DataError, match=r"^[^\n]*keep the folder of an audit[^\n]*$"):
        of_audit(audit_with(bytes(damaged)), 3, SIZE)


def test_a_missing_picture_is_named(audit_with: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"0-original\.png: cannot be read"):
        of_audit(audit_with(), 3, SIZE)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "gallery/../../secret.png", ".", "nul\0byte"])
def test_a_stored_picture_lies_inside_the_audit(audit_with: Callable[..., Path], tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(SHADES))
    with pytest.raises(RecordError, match="own folder"):
        of_audit(audit_with(name=name), 3, SIZE)


def test_the_same_by_a_link(audit_with: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(SHADES))
    audit = audit_with()
    (audit.parent / "gallery/0-original.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(RecordError, match="own folder"):
        of_audit(audit, 3, SIZE)
