"""Damaged files of every kind: each outcome is an image, or one line; no traceback, no hang, no memory blown up.

CI tries a few of each with hypothesis. By hand, ten thousand of each: `pytest -m slow tests/data/test_fuzz.py`.
"""

import io
import random
import resource
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from test_decoding import encoded, png

from robaudit.data.images import open_images
from robaudit.data.listing import has_splits
from robaudit.data.manifest import read_manifest
from robaudit.data.stored import read_stored
from robaudit.data.view import View
from robaudit.errors import DataError

N_BY_HAND = 10_000
LENGTHS = (bytes(4), b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f")
VIEW = View(slice=(2, None), window=(0, 1000))
DICE = np.random.default_rng(0)
GREY = DICE.integers(0, 256, (12, 16), dtype=np.uint8)
COLOUR = DICE.integers(0, 256, (12, 16, 3), dtype=np.uint8)
DEEP = DICE.integers(0, 65536, (12, 16, 3), dtype=np.uint16)


def by_pillow(form: str, mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    return lambda: encoded(Image.fromarray(COLOUR).convert(mode), form, **options)


def deep_tiff() -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, DEEP, photometric="rgb", compression="deflate")
    return stream.getvalue()


def shipped_dicom(name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        data = pytest.importorskip("pydicom.data")
        found = data.get_testdata_file(name, download=False)
        return Path(str(found)).read_bytes() if found else pytest.skip(f"this version of pydicom does not ship {name}")

    return read


def nifti(suffix: str) -> Callable[[], bytes]:
    def write() -> bytes:
        nibabel = pytest.importorskip("nibabel")
        volume = nibabel.Nifti1Image(DICE.integers(0, 1000, (12, 16, 8)).astype(np.int16), np.eye(4))
        data: bytes = volume.to_bytes()
        if suffix.endswith(".gz"):
            import gzip

            return gzip.compress(data)
        return data

    return write


def medmnist() -> bytes:
    stream = io.BytesIO()
    labels = np.arange(4, dtype=np.uint8)[:, None] % 2
    np.savez_compressed(stream, test_images=DICE.integers(0, 256, (4, 28, 28), dtype=np.uint8), test_labels=labels)
    return stream.getvalue()


def parquet() -> bytes:
    pyarrow, written = pytest.importorskip("pyarrow"), io.BytesIO()
    table = pyarrow.table({"path": ["a.png", "b.png"], "label": ["a", "b"], "patient_id": ["1", "2"]})
    pytest.importorskip("pyarrow.parquet").write_table(table, written)
    return written.getvalue()


def one_picture(file: Path) -> None:
    pixels = read_stored(file, "", VIEW).picture.pixels
    assert pixels.dtype == np.float32
    assert pixels.ndim == 3
    assert pixels.shape[2] in (1, 3)
    assert pixels.size == 0 or (pixels.min() >= 0 and pixels.max() <= 1), "and so no NaN"


def every_row(file: Path) -> None:
    assert has_splits(file)
    open_images(file, "test")


KINDS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], object]]] = {
    "png": (".png", by_pillow("PNG", "P"), one_picture),
    "png-16": (".png", lambda: png(DEEP), one_picture),
    "jpeg": (".jpg", by_pillow("JPEG"), one_picture),
    "tiff": (".tiff", by_pillow("TIFF", compression="tiff_lzw"), one_picture),
    "tiff-16": (".tiff", deep_tiff, one_picture),
    "gif": (".gif", by_pillow("GIF", "P"), one_picture),
    "webp": (".webp", by_pillow("WEBP"), one_picture),
    "bmp": (".bmp", by_pillow("BMP"), one_picture),
    "ppm": (".ppm", by_pillow("PPM"), one_picture),
    "jpeg2000": (".jp2", by_pillow("JPEG2000"), one_picture),
    "dicom": (".dcm", shipped_dicom("MR_small.dcm"), one_picture),
    "dicom-palette": (".dcm", shipped_dicom("examples_palette.dcm"), one_picture),
    "dicom-rle": (".dcm", shipped_dicom("MR_small_RLE.dcm"), one_picture),
    "dicom-jpeg2000": (".dcm", shipped_dicom("MR_small_jp2klossless.dcm"), one_picture),
    "dicom-jpeg-ls": (".dcm", shipped_dicom("MR_small_jpeg_ls_lossless.dcm"), one_picture),
    "dicom-jpeg": (".dcm", shipped_dicom("SC_rgb_jpeg_dcmtk.dcm"), one_picture),
    "dicom-jpeg-lossless": (".dcm", shipped_dicom("SC_rgb_jpeg_gdcm.dcm"), one_picture),
    "nifti": (".nii", nifti(".nii"), one_picture),
    "nifti-gz": (".nii.gz", nifti(".nii.gz"), one_picture),
    "medmnist": (".npz", medmnist, every_row),
    "csv": (
        ".csv",
        lambda: b"path,label,split,patient_id,weight\na.png,x,train,1,0.5\nb.png,y,test,2,1\n",
        read_manifest,
    ),
    "csv-utf16": (".csv", lambda: "Path;Label\r\na\\b.png;ä\r\nc.png;1.0\r\n".encode("utf-16"), read_manifest),
    "parquet": (".parquet", parquet, read_manifest),
}


@cache
def original(kind: str) -> bytes:
    return KINDS[kind][1]()


def outcome(kind: str, data: bytes, folder: Path) -> str:
    suffix, _, read = KINDS[kind]
    file = folder / f"x{suffix}"
    file.write_bytes(data)
    try:
        read(file)
    except DataError as error:
        return "refused" if "\n" not in str(error) else pytest.fail(f"of several lines: {error}")
    return "read"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_whole_is_read(kind: str, tmp_path: Path) -> None:
    assert outcome(kind, original(kind), tmp_path) == "read"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_read_or_refused(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(original(kind))
    head = data.draw(st.sampled_from([400, len(damaged)]), "within the first bytes")
    places = st.integers(0, min(head, len(damaged)) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8), "changes"):
        damaged[place] = byte
    end = data.draw(st.one_of(st.none(), st.integers(0, len(damaged))), "cut off at")
    outcome(kind, bytes(damaged[:end]), tmp_path_factory.mktemp("damaged"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_damaged_files_are_read_or_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dice, outcomes = random.Random(kind), Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(N_BY_HAND):
        outcomes[outcome(kind, mutated(original(kind), dice), tmp_path)] += 1
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    with capsys.disabled():
        print(f"\n{kind}: {dict(outcomes)}, memory grew by {grown_mib:.0f} MiB")
    assert outcomes["refused"] > 0
    assert grown_mib < 2000


def mutated(data: bytes, dice: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled or set to what lengths overflow by."""
    damaged = bytearray(data)
    head = dice.choice([64, 400, len(damaged)])
    for _ in range(dice.choice([1, 1, 2, 4, 16])):
        place = dice.randrange(min(head, len(damaged)))
        kind = dice.randrange(4)
        if kind == 0:
            damaged[place] = dice.randrange(256)
        elif kind == 1:
            damaged[place] ^= 1 << dice.randrange(8)
        elif kind == 2:
            damaged[place : place + 4] = dice.choice(
                [b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]
            )
        else:
            span = dice.randrange(1, 64)
            damaged[place : place + span] = damaged[place : place + span] * dice.choice([0, 2])
        if not damaged:
            break
    return bytes(damaged[: dice.choice([None, None, None, dice.randrange(len(damaged) + 1)])])
