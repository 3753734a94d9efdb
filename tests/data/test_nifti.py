"""NIfTI volumes, written by nibabel or by hand, against the array that went in."""

import gzip
import math
import random
import resource
import struct
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from robaudit.data.images import open_images
from robaudit.data.nifti import decode_nifti
from robaudit.data.view import View
from robaudit.errors import DataError

nibabel = pytest.importorskip("nibabel")

VOLUME = np.random.default_rng(0).integers(-1000, 2000, (5, 6, 7)).astype(np.int16)
WINDOW = (-500.0, 700.0)


def write(path: Path, volume: np.ndarray = VOLUME, **header: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(volume, np.eye(4), dtype=volume.dtype)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def shown(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) / (high - low), 0, 1)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("axis", "index"), [(0, 1), (1, 5), (2, 0)])
def test_a_slice_is_that_of_the_array(tmp_path: Path, suffix: str, axis: int, index: int) -> None:
    found = decode_nifti(write(tmp_path / f"x{suffix}"), View(slice=(axis, index), window=WINDOW))
    np.testing.assert_allclose(found.pixels[..., 0], shown(VOLUME.take(index, axis), *WINDOW), atol=1e-6)
    assert found.levels == 1200


def test_the_middle_and_the_files_own_grey_scale(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nii", cal_min=-100, cal_max=400)
    found = decode_nifti(path, View(slice=(2, None)))
    np.testing.assert_allclose(found.pixels[..., 0], shown(VOLUME[..., 3], -100, 400), atol=1e-6)


def test_values_are_rescaled_before_the_window(tmp_path: Path) -> None:
    path = write(tmp_path / "x.nii")
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack("<ff", 0.5, 10)  # scl_slope, scl_inter
    path.write_bytes(data)
    found = decode_nifti(path, View(slice=(0, 2), window=WINDOW))
    np.testing.assert_allclose(found.pixels[..., 0], shown(VOLUME[2] * 0.5 + 10, *WINDOW), atol=1e-6)
    assert found.levels == 2400, "a step of the file is half a unit"


def test_bytes_need_no_window_and_nothing_is_black(tmp_path: Path) -> None:
    counts = (VOLUME & 255).astype(np.uint8)
    np.testing.assert_allclose(
        decode_nifti(write(tmp_path / "x.nii", counts), View(slice=(0, 0))).pixels[..., 0], counts[0] / 255, atol=1e-6
    )
    floats = VOLUME.astype(np.float32)
    floats[0, 0, 0] = np.nan
    assert decode_nifti(write(tmp_path / "y.nii", floats), View(slice=(0, 0), window=WINDOW)).pixels[0, 0, 0] == 0


@pytest.mark.parametrize(("slope", "inter"), [(1, -100), (-1, 0), (2, 0)])
def test_bytes_that_stand_for_other_values_have_no_black_of_their_own(tmp_path: Path, slope: int, inter: int) -> None:
    """From -100 to 155, say: what lies below 0 would all be black."""
    counts = np.arange(210, dtype=np.uint8).reshape(VOLUME.shape)
    path = tmp_path / "x.nii"
    image = nibabel.Nifti1Image(counts, np.eye(4))
    image.header.set_slope_inter(slope, inter)
    nibabel.save(image, path)
    with pytest.raises(DataError, match="does not say which value is black and which is white; pass --window LOW,HIGH"):
        decode_nifti(path, View(slice=(0, 0)))
    low, high = sorted((inter, 255 * slope + inter))
    found = decode_nifti(path, View(slice=(0, 0), window=(low, high))).pixels[..., 0]
    np.testing.assert_allclose(found, (counts[0] if slope > 0 else 255 - counts[0]) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("volume", "view", "expected"),
    [
        (VOLUME, View(), r"is a volume of \(5, 6, 7\); say which slice with --slice AXIS,INDEX"),
        (VOLUME, View(slice=(2, 7), window=WINDOW), "has slices 0 to 6 along axis 2, not 7"),
        (VOLUME, View(slice=(2, 0)), "pass --window LOW,HIGH"),
        (VOLUME[..., None], View(slice=(2, 0), window=WINDOW), r"has axes \(5, 6, 7, 1\), wanted three"),
        (VOLUME[0], View(slice=(0, 0), window=WINDOW), r"has axes \(6, 7\), wanted three"),
        (VOLUME.astype(np.complex64), View(slice=(0, 0), window=WINDOW), "holds complex64, wanted one number"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, volume: np.ndarray, view: View, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        decode_nifti(write(tmp_path / "x.nii", volume), view)


def test_volumes_are_data(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x.nii.gz")
    write(tmp_path / "b" / "y.nii", VOLUME[::-1])
    first, second = (open_images(tmp_path, view=View(slice=(0, index), window=WINDOW)) for index in (1, 2))
    assert [ref.id for ref in first.refs] == ["a/x.nii.gz", "b/y.nii"]
    assert first.load(first.refs[0], (6, 7)).shape == (1, 6, 7)
    assert first.sha256 != second.sha256, "another slice is other data"
    assert first.view.flags == ("--slice 0,1", "--window -500,700")


def test_without_nibabel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.nii")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(DataError, match=r"is NIfTI; pip install 'robaudit\[nifti\]'"):
        decode_nifti(path, View(slice=(0, 0)))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(30_000, 30_000, 30), (3, 30_000, 30_000)])
def test_a_claim_of_50_gb_in_1_kb_is_refused_at_once(tmp_path: Path, packed: bool, shape: tuple[int, ...]) -> None:
    path = write(tmp_path / "x.nii")
    data = bytearray(path.read_bytes())
    data[40:48] = struct.pack("<4h", 3, *shape)
    path = tmp_path / ("y.nii.gz" if packed else "y.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=r"claims \d+0000 bytes in a file of"):
        decode_nifti(path, View(slice=(0, 0), window=WINDOW))


def changed(at: int, form: str, *values: float) -> dict[int, bytes]:
    return {at: struct.pack(f"<{form}", *values)}


EXTENDED = changed(348, "b", 1) | changed(108, "f", 368)
HOSTILE = {
    "claims to begin after": [changed(108, "f", at) for at in (2.0**31, 1e30, -100, math.nan, math.inf, 2.0**25)],
    "claims an extension of": [EXTENDED | changed(352, "ii", size, 4) for size in (2**31 - 1, 0, -16, 32)],
    "has axes": [changed(40, "4h", 3, -5, 6, 7), changed(40, "4h", 3, 0, 6, 7), changed(40, "8h", 7, *[32767] * 7)],
    "is no readable NIfTI": [changed(112, "ff", 2, math.nan), changed(70, "h", 0), changed(40, "h", 200)],
}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("expected", "change"), [(words, one) for words, many in HOSTILE.items() for one in many])
def test_a_hostile_header_is_refused_before_anything_is_unpacked(
    tmp_path: Path, suffix: str, expected: str, change: dict[int, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """Behind it lie two gigabytes of zeros, packed into two megabytes: enough of them for any claim."""
    data = bytearray(write(tmp_path / "x.nii").read_bytes())
    for at, content in change.items():
        data[at : at + len(content)] = content
    path = tmp_path / f"y{suffix}"
    if suffix == ".nii":
        path.write_bytes(data)
    else:
        path.write_bytes(gzip.compress(data) + ZEROS * (expected != "is no readable NIfTI"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=rf"^[^\n]*y{suffix}: {expected}[^\n]*$"):
        decode_nifti(path, View(slice=(0, 2), window=WINDOW))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18, "a quarter of a gigabyte"
    assert capfd.readouterr() == ("", ""), "nibabel's remarks"


ZEROS = gzip.compress(bytes(2**23), mtime=0) * 256
"""Streams of gzip may follow each other."""


@pytest.mark.parametrize("slope", [math.nan, 0])
def test_without_a_slope_numbers_are_as_stored(tmp_path: Path, slope: float) -> None:
    """NaN is what nibabel writes itself."""
    path = write(tmp_path / "x.nii")
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack("<ff", slope, 50)
    path.write_bytes(data)
    found = decode_nifti(path, View(slice=(0, 2), window=WINDOW))
    np.testing.assert_allclose(found.pixels[..., 0], shown(VOLUME[2], *WINDOW), atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_extensions_and_the_second_version_are_read(tmp_path: Path, suffix: str) -> None:
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        image = kind(VOLUME, np.eye(4))
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"a comment"))
        path = tmp_path / f"{kind.__name__}{suffix}"
        nibabel.save(image, path)
        found = decode_nifti(path, View(slice=(0, 2), window=WINDOW))
        np.testing.assert_allclose(found.pixels[..., 0], shown(VOLUME[2], *WINDOW), atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_damage_of_any_kind_is_a_data_error_or_an_image(tmp_path: Path, suffix: str) -> None:
    dice = random.Random(0)
    original = write(tmp_path / f"x{suffix}").read_bytes()
    outcomes = Counter()
    for _ in range(150):
        damaged = bytearray(original)
        for _ in range(dice.choice([1, 2, 5])):
            damaged[dice.randrange(min(len(damaged), dice.choice([352, 10**9])))] = dice.randrange(256)
        path = tmp_path / f"bad{suffix}"
        path.write_bytes(damaged[: dice.choice([None, dice.randrange(len(damaged))])])
        try:
            outcomes[decode_nifti(path, View(slice=(2, None), window=WINDOW)).is_grey] += 1
        except DataError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 20
