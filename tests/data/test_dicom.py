"""DICOM: pydicom's own test files against its own decoders step by step, and files made here for each rule."""

import io
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robaudit.data.dicom import decode_dicom, list_frames
from robaudit.data.images import open_images
from robaudit.data.listed import Listed
from robaudit.data.picture import Picture
from robaudit.data.splitting import write_split
from robaudit.errors import DataError

pydicom = pytest.importorskip("pydicom")

from pydicom.data import get_testdata_file as pydicom_file  # noqa: E402
from pydicom.data import get_testdata_files as pydicom_files  # noqa: E402
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.pixels import pixel_array  # noqa: E402
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut  # noqa: E402
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless  # noqa: E402

COUNTS = np.random.default_rng(0).integers(0, 4096, (6, 8), dtype=np.uint16)


def dicom(counts: np.ndarray = COUNTS, bits: int = 12, lacking: Iterable[str] = (), **tags: Any) -> bytes:
    """A DICOM file of unsigned grey counts, (H, W) or (N, H, W)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.7"), UID("1.2.3.4")
    header = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    header.Rows, header.Columns = counts.shape[-2:]
    if counts.ndim == 3:
        header.NumberOfFrames = len(counts)
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit = 8 * counts.itemsize, bits, bits - 1
    header.PixelRepresentation = 1 if counts.dtype.kind == "i" else 0
    header.PixelData = counts.tobytes()
    if meta.TransferSyntaxUID.startswith(("1.2.840.10008.1.2.4", "1.2.840.10008.1.2.5")):
        header["PixelData"].VR, header["PixelData"].is_undefined_length = "OB", True
        header.PixelData = encapsulate([counts.tobytes()])
    for name, value in tags.items():
        setattr(header, name, value)
    for name in lacking:
        delattr(header, name)
    stream = io.BytesIO()
    header.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def without(*lacking: str, **tags: Any) -> bytes:
    """A DICOM file that lacks some tags."""
    return dicom(lacking=lacking, **tags)


def shipped(name: str) -> Path:
    """A test file of pydicom's own package; nothing is fetched."""
    found = pydicom_file(name, download=False)
    return Path(str(found)) if found else pytest.skip(f"this version of pydicom does not ship {name}")


def decoded(data: bytes, member: str = "") -> Picture:
    return decode_dicom(data, Path("file.dcm"), member)


def grey(data: bytes, member: str = "") -> np.ndarray:
    return decoded(data, member).pixels[..., 0]


# The order of things: rescale, window, inversion


def test_without_a_window_the_stored_range_is_shown_whole() -> None:
    found = decoded(dicom())
    np.testing.assert_allclose(found.pixels[..., 0], COUNTS / 4095, atol=1e-6)
    assert found.levels == 4095


def test_signed_counts_begin_below_zero() -> None:
    hounsfield = (COUNTS.astype(np.int16) - 2048).astype(np.int16)
    np.testing.assert_allclose(grey(dicom(hounsfield)), COUNTS / 4095, atol=1e-6)


@pytest.mark.parametrize("signed", [False, True])
def test_a_window_is_of_rescaled_values(signed: bool) -> None:
    """Worked by hand from PS3.3 C.11.2.1.2.1: a lung window, slope 2, intercept -1024."""
    counts = (COUNTS.astype(np.int16) - 2048).astype(np.int16) if signed else COUNTS
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": -600, "WindowWidth": 1500}
    found = decoded(dicom(counts, **tags))
    hounsfield = counts.astype(float) * 2 - 1024
    expected = np.clip((hounsfield - (-600 - 0.5)) / (1500 - 1) + 0.5, 0, 1)
    np.testing.assert_allclose(found.pixels[..., 0], expected, atol=1e-6)
    assert found.levels == 750, "a step of the file is two Hounsfield units"
    assert 0 < np.mean((expected > 0) & (expected < 1)) < 1


def test_the_first_of_several_windows_is_taken() -> None:
    two = dicom(WindowCenter=[1000, 3000], WindowWidth=[400, 100])
    np.testing.assert_array_equal(grey(two), grey(dicom(WindowCenter=1000, WindowWidth=400)))


def test_monochrome1_is_turned_last() -> None:
    """Turned before its window, it would be windowed where nothing is."""
    tags = {"WindowCenter": 1000, "WindowWidth": 400}
    turned = grey(dicom(**tags, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(turned, 1 - grey(dicom(**tags)), atol=1e-6)
    both = dicom(**tags, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    np.testing.assert_allclose(grey(both), turned, atol=1e-6)


def test_a_table_of_values_of_interest() -> None:
    lut = Dataset()
    table = np.arange(1023, -1, -1, dtype=np.uint16).repeat(4)
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 10], table.tobytes()
    found = decoded(dicom(VOILUTSequence=[lut]))
    np.testing.assert_allclose(found.pixels[..., 0], (1023 - COUNTS // 4) / 1023, atol=1e-6)
    assert found.levels == 1023


@pytest.mark.parametrize("in_words", [True, False])
def test_a_table_of_bytes_has_an_entry_for_every_count(in_words: bool) -> None:
    """As computed radiography has it: 12 bits in, 8 out."""
    lut = Dataset()
    table = (255 - np.arange(4096) // 16).astype(np.uint16 if in_words else np.uint8)
    lut.LUTDescriptor, lut.LUTData = [4096, 0, 8], table.tobytes()
    found = decoded(dicom(VOILUTSequence=[lut]))
    np.testing.assert_allclose(found.pixels[..., 0], (255 - COUNTS // 16) / 255, atol=1e-6)


def test_values_beyond_a_table_have_its_first_and_last_entry() -> None:
    lut = Dataset()
    lut.LUTDescriptor, lut.LUTData = [1024, 1000, 16], np.arange(1024, dtype=np.uint16).tobytes()
    found = decoded(dicom(VOILUTSequence=[lut], RescaleSlope=20, RescaleIntercept=0))
    np.testing.assert_allclose(found.pixels[..., 0], np.clip(COUNTS * 20.0 - 1000, 0, 1023) / 65535, atol=1e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_shape_of_a_window(function: str) -> None:
    """By the formulas of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    found = grey(dicom(WindowCenter=1000, WindowWidth=400, VOILUTFunction=function))
    x = COUNTS.astype(float)
    expected = {
        "LINEAR": np.clip((x - 999.5) / 399 + 0.5, 0, 1),
        "LINEAR_EXACT": np.clip((x - 1000) / 400 + 0.5, 0, 1),
        "SIGMOID": 1 / (1 + np.exp(-4 * (x - 1000) / 400)),
    }
    np.testing.assert_allclose(found, expected[function], atol=1e-5)


def test_what_lies_above_the_stored_bits_is_no_brightness() -> None:
    """Old files keep an overlay there."""
    np.testing.assert_array_equal(grey(dicom(COUNTS | 0x5000)), grey(dicom()))


@pytest.mark.parametrize("lacking", [(), ("HighBit",)])
def test_counts_in_the_upper_bits_are_refused_and_not_read_from_the_lower(lacking: tuple[str, ...]) -> None:
    """Read from the lower ones, 2048 would be black."""
    np.testing.assert_array_equal(grey(dicom(lacking=lacking)), grey(dicom()))
    with pytest.raises(DataError, match=r"has the highest of its 12 bits at bit 15 \(High Bit\), wanted 11; export"):
        decoded(dicom(COUNTS << 4, HighBit=15))


def test_an_empty_window_is_none() -> None:
    empty = {"WindowCenter": None, "WindowWidth": None, "RescaleSlope": None, "RescaleIntercept": None}
    np.testing.assert_array_equal(grey(dicom(**empty)), grey(dicom()))


def test_every_frame_has_its_own_rescale_and_window() -> None:
    frames = np.stack([COUNTS, COUNTS])
    groups = []
    for intercept in (0, -1000):
        rescale, window, group = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, intercept, "US"
        window.WindowCenter, window.WindowWidth = 1000, 500
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [rescale], [window]
        groups.append(group)
    data = dicom(frames, PerFrameFunctionalGroupsSequence=groups)
    for frame, intercept in enumerate((0, -1000), start=1):
        alone = dicom(RescaleSlope=1, RescaleIntercept=intercept, WindowCenter=1000, WindowWidth=500)
        np.testing.assert_allclose(grey(data, str(frame)), grey(alone), atol=1e-6)


# Real files: pydicom ships them


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm"])
def test_real_files_give_what_their_counts_say(name: str) -> None:
    path = shipped(name)
    header = pydicom.dcmread(path)
    slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
    counts = header.pixel_array.astype(float) * slope + intercept
    if "WindowWidth" in header:
        centre, width = (float(np.atleast_1d(header[tag].value)[0]) for tag in ("WindowCenter", "WindowWidth"))
        expected = np.clip((counts - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    else:
        stored = header.pixel_array.astype(float)
        low = -(2 ** (header.BitsStored - 1)) if header.PixelRepresentation else 0
        expected = (stored - low) / (2**header.BitsStored - 1)
    np.testing.assert_allclose(grey(path.read_bytes()), np.clip(expected, 0, 1), atol=1e-5)


def every_file_of_pydicom() -> list[Path]:
    return sorted(path for path in map(Path, pydicom_files()) if path.is_file())


def by_pydicom(path: Path) -> np.ndarray:
    """Grey as pydicom shows the first frame, from the darkest to the brightest value it could have."""
    header, counts = pydicom.dcmread(path), pixel_array(path, index=0)
    shown = apply_voi_lut(apply_modality_lut(counts, header), header).astype(float)
    lowest = -(2 ** (header.BitsStored - 1)) if header.PixelRepresentation else 0
    ends = apply_modality_lut(np.array([lowest, lowest + 2**header.BitsStored - 1]), header)
    low, high = apply_voi_lut(np.array([-1e12, 1e12]), header) if "WindowWidth" in header else sorted(ends)
    unit = np.clip((shown - low) / (high - low), 0, 1)
    return 1 - unit if header.PhotometricInterpretation == "MONOCHROME1" else unit


@pytest.mark.filterwarnings("ignore")
def test_every_file_of_pydicom_is_an_image_or_refused_in_words() -> None:
    outcomes = Counter()
    for path in every_file_of_pydicom():
        data = path.read_bytes()
        [first, *_] = list_frames(Listed("x", path, "a"))
        try:
            found = decode_dicom(data, path, first.member)
        except DataError as refusal:
            words = str(refusal).removeprefix(f"{path}: ")
            assert re.search(r"\(\w*(Error|Exception|Warning)\)|\n", words) is None, words
            assert re.search(r"remove it|store it|export it", words), words
            outcomes["refused"] += 1
            continue
        assert np.isfinite(found.pixels).all()
        outcomes["shown"] += 1
        if pydicom.dcmread(path).PhotometricInterpretation.startswith("MONOCHROME"):
            np.testing.assert_allclose(found.pixels[..., 0], by_pydicom(path), atol=1e-4, err_msg=str(path))
            outcomes["grey"] += 1
    assert outcomes["refused"] > 20
    assert outcomes["grey"] > 20
    assert outcomes["shown"] > outcomes["grey"]


@pytest.mark.parametrize(
    ("compressed", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("SC_rgb_rle.dcm", "SC_rgb_jpeg_gdcm.dcm"),
    ],
)
def test_what_is_lossless_loses_nothing(compressed: str, plain: str) -> None:
    found, expected = (decoded(shipped(name).read_bytes()) for name in (compressed, plain))
    np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_the_extra_decodes_what_is_lossless_without_the_gpl() -> None:
    """pylibjpeg-libjpeg may be installed beside; here it is not asked."""
    pairs = {
        "MR_small_jp2klossless.dcm": "MR_small.dcm",
        "MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm",
        "SC_rgb_jpeg_gdcm.dcm": "SC_rgb_rle.dcm",
    }
    code = (
        "import sys; from pathlib import Path; from robaudit.data.dicom import decode_dicom\n"
        "from pydicom.pixels import get_decoder; from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless\n"
        "for syntax in (JPEGLosslessSV1, JPEGLSLossless):\n"
        "    if 'pylibjpeg' in get_decoder(syntax).available_plugins: get_decoder(syntax).remove_plugin('pylibjpeg')\n"
        "def read(name): return decode_dicom(Path(name).read_bytes(), Path(name), '').pixels\n"
        "for one, other in zip(sys.argv[1::2], sys.argv[2::2]): assert (read(one) == read(other)).all(), one"
    )
    paths = [str(shipped(name)) for pair in pairs.items() for name in pair]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name", ["SC_rgb_jpeg_dcmtk.dcm", "examples_ybr_color.dcm", "examples_palette.dcm", "SC_rgb_rle_16bit.dcm"]
)
def test_colours_are_colours(name: str) -> None:
    found = decoded(shipped(name).read_bytes(), "1" if "ybr_color" in name else "")
    assert found.pixels.shape[2] == 3
    assert not found.is_grey
    assert 0 <= found.pixels.min() < found.pixels.max() <= 1


def test_dicom_and_png_of_one_picture_are_the_same(tmp_path: Path) -> None:
    counts = (COUNTS >> 4).astype(np.uint8)
    for label, name, data in (("a", "x.dcm", dicom(counts, bits=8)), ("b", "y.dcm", dicom(counts.T.copy(), bits=8))):
        (tmp_path / label).mkdir()
        (tmp_path / label / name).write_bytes(data)
    Image.fromarray(counts).save(tmp_path / "a" / "x.png")
    first, second, other = open_images(tmp_path).refs
    assert (first.id, second.id) == ("a/x.dcm", "a/x.png")
    assert first.pixel_sha256 == second.pixel_sha256 != other.pixel_sha256


# As data


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def different(index: int, n_frames: int = 0, **tags: Any) -> bytes:
    shape = (n_frames, 6, 8) if n_frames else (6, 8)
    return dicom(np.random.default_rng(index).integers(0, 4096, shape, dtype=np.uint16), **tags)


def test_every_frame_is_an_image_and_files_need_no_suffix(tmp_path: Path) -> None:
    write(tmp_path, {"a/cine.dcm": different(1, n_frames=12), "b/IM-0001": different(2), "b/readme": b"no image"})
    images = open_images(tmp_path)
    assert [ref.id for ref in images.refs] == [*(f"a/cine.dcm#{frame:02d}" for frame in range(1, 13)), "b/IM-0001"]
    assert len({ref.sha256 for ref in images.refs}) == 13
    first = images.load(images.refs[0], (6, 8))
    assert first.shape == (1, 6, 8)
    assert not np.array_equal(first, images.load(images.refs[1], (6, 8)))


def test_patients_are_known_by_hash_and_stay_in_one_part(tmp_path: Path) -> None:
    files = {}
    for patient in range(20):
        for series in range(2):
            name = f"{'ab'[patient % 2]}/{patient:02d}-{series}.dcm"
            files[name] = different(2 * patient + series, PatientID=f"MRN-{patient}", PatientName="Doe^Jane")
    files["b/frames.dcm"] = different(100, n_frames=3, PatientID="MRN-frames")
    data = write(tmp_path / "data", files)
    write_split(data, tmp_path / "split.csv", seed=0)
    text = (tmp_path / "split.csv").read_text(encoding="utf-8")
    assert "MRN" not in text
    assert "Doe" not in text
    parts: dict[str, set[str]] = {}
    found_ids = set()
    for part in ("train", "val", "test"):
        for ref in open_images(tmp_path / "split.csv", part).refs:
            parts.setdefault(Path(ref.id).name[:2], set()).add(part)
            found_ids.add(ref.id)
    assert found_ids == {ref.id for ref in open_images(data).refs}, "frames included"
    assert {len(found) for found in parts.values()} == {1}


def test_one_patient_in_two_parts_stops(tmp_path: Path) -> None:
    parts = enumerate(("train", "test"))
    files = {
        f"{part}/{label}/{index}.dcm": different(index, PatientID=f"{part} {index}")
        for index, part in parts
        for label in "ab"
    }
    write(tmp_path, files)
    assert len(open_images(tmp_path, "test")) == 2
    write(tmp_path, {"test/a/again.dcm": different(9, PatientID="train 0")})
    with pytest.raises(DataError, match=r"1 patient\(s\) are in test and in train or val"):
        open_images(tmp_path, "test")


@pytest.mark.parametrize("issuer", [None, "Hospital A"])
def test_a_patient_of_a_table_is_met_again_in_dicom(tmp_path: Path, issuer: str | None) -> None:
    files = {f"{index}.dcm": different(index, PatientID=f"MRN-{index}", IssuerOfPatientID=issuer) for index in range(3)}
    folder = write(tmp_path, files)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "3.png")
    table = "path,label,split,patient_id\n0.dcm,a,train,\n1.dcm,b,train,\n2.dcm,a,test,\n3.png,b,test,{}\n"
    (folder / "m.csv").write_text(table.format("MRN-1"))
    with pytest.raises(
        DataError, match=r"1 patient\(s\) are in test and in train or val, such as 3\.png .* and 1\.dcm"
    ):
        open_images(folder / "m.csv", "test")
    (folder / "m.csv").write_text(table.format("MRN-7"))
    assert len(open_images(folder / "m.csv", "test")) == 2


def test_the_same_number_of_two_hospitals_is_two_patients(tmp_path: Path) -> None:
    files = {
        f"{part}/{label}/{index}.dcm": different(10 * at + index, PatientID=f"{label}{index}", IssuerOfPatientID=part)
        for at, part in enumerate(("train", "test"))
        for label in "ab"
        for index in range(2)
    }
    assert len(open_images(write(tmp_path, files), "test")) == 4


@pytest.mark.parametrize("nobody", ["", "ANONYMOUS", "0", " anon "])
def test_the_anonymisers_nobody_is_not_one_patient(tmp_path: Path, nobody: str) -> None:
    files = {
        f"{label}/{index}.dcm": different(index, PatientID=nobody, StudyInstanceUID=f"1.2.{index}")
        for index, label in enumerate("abab")
    }
    assert len({ref.patient for ref in open_images(write(tmp_path, files)).refs}) == 4


def test_no_tag_comes_out_of_a_refusal(tmp_path: Path) -> None:
    """A decoder's words may quote the header."""
    secret = dicom(PatientName="Doe^Jane", PatientID="MRN-1", WindowCenter=40, WindowWidth=400)
    damaged = secret.replace(b"400 ", b"DOE ").replace(b"MONOCHROME2", b"DOE^JANE   ")
    for data in (damaged, secret[:-20]):
        with pytest.raises(DataError) as refusal:
            decoded(data)
        assert "doe" not in str(refusal.value).lower()
        assert "mrn" not in str(refusal.value).lower()


# What cannot be read


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is no DICOM file"),
        (bytes(128) + b"DICM", "is a DICOM file without an image; remove it"),
        (dicom(RescaleSlope=0, RescaleIntercept=5), r"\(its rescale, window or table of greys .* makes no sense\)"),
        (dicom(WindowCenter=40, WindowWidth=0), r"\(its rescale, window or table of greys .* makes no sense\)"),
        (dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2"), "is a grid of radiation doses"),
        (dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"), "is a segmentation, drawn for another image"),
        (
            without("PixelData", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"),
            r"without an image \(Basic Text SR Storage\)",
        ),
        (without("PixelData", FloatPixelData=bytes(4)), "holds numbers with a point and no word on which is white"),
        (
            without("Columns", "BitsStored"),
            "its header lacks Columns, BitsStored, which every image has; export it again",
        ),
        (without("PixelRepresentation"), "its header lacks PixelRepresentation"),
        (dicom(BitsStored=17), "has 17 bits in each 16"),
        (dicom(SamplesPerPixel=3), "has 3 numbers per pixel, its photometric interpretation wants 1"),
        (dicom(PhotometricInterpretation="RGB"), "has 1 numbers per pixel, its photometric interpretation wants 3"),
        (dicom(COUNTS.astype(np.uint32), bits=32), "holds greys of 32 bits, wanted at most 16"),
        (
            dicom(PhotometricInterpretation="PALETTE COLOR"),
            r"\(its rescale, window or table of .* colours makes no sense\)",
        ),
        (dicom(syntax=UID("1.2.840.10008.1.2.4.100")), "is compressed as MPEG2 .*, which is not read here; export it"),
        (dicom(syntax=UID("1.2.840.10008.1.2.4.51")), "is lossy JPEG of 12 bits, whose one decoder is under GPL-3.0"),
        (dicom(syntax=UID("1.2.840.10008.1.2.4.90")), r"\(its pixels are damaged, cut short, or packed in a way"),
        (dicom(syntax=UID("1.2.840.10008.1.2.5")), r"\(its pixels are damaged, cut short, or packed in a way"),
        (dicom(syntax=UID("1.2.3.4")), "its pixels are packed in a way that DICOM does not know"),
        (dicom(BurnedInAnnotation="YES"), "says that text is burned into its pixels"),
        (dicom(Rows=60_000, Columns=60_000), "claims 60000 x 60000 pixels"),
        (dicom(Rows=5_000, Columns=5_000), "claims 5000 x 5000 pixels in"),
        (dicom(Rows=50, Columns=50), "is cut short: holds 96 bytes of pixels, wanted 5000; copy it again"),
        (dicom(np.stack([COUNTS] * 3)), "holds 3 frames"),
        (dicom(PhotometricInterpretation="HSV"), "interpretation that is not read here, wanted one of MONOCHROME1, M"),
        (dicom(syntax=DeflatedExplicitVRLittleEndian), "is a deflated DICOM file"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line(data: bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as refusal:
        decoded(data)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_frames_that_the_bytes_cannot_hold_are_refused_once(tmp_path: Path, syntax: UID) -> None:
    write(tmp_path, {"a/x.dcm": dicom(NumberOfFrames=90_000, syntax=syntax), "b/y.dcm": dicom(), "a/z.dcm": dicom()})
    with pytest.raises(DataError, match=r"x\.dcm: claims 90000 frames of 8 x 6 pixels in \d+ bytes, which cannot hold"):
        open_images(tmp_path)
    assert open_images(tmp_path, on_bad_image="skip").n_skipped == 1


def test_greys_are_the_same_however_many_rows_are_shown_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(PhotometricInterpretation="MONOCHROME1", WindowCenter=2000, WindowWidth=3000)
    whole = decode_dicom(data, Path("x"), "")
    monkeypatch.setattr("robaudit.data.dicom._STRIP", 4)
    in_strips = decode_dicom(data, Path("x"), "")
    np.testing.assert_array_equal(in_strips.pixels, whole.pixels)
    assert in_strips.levels == whole.levels


def test_a_claim_of_a_billion_frames_is_not_listed(tmp_path: Path) -> None:
    write(tmp_path, {"a/x.dcm": dicom(NumberOfFrames=10**9), "b/y.dcm": dicom()})
    with pytest.raises(DataError, match="claims 1000000000 frames"):
        open_images(tmp_path)


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a/x.dcm": dicom(), "b/y.dcm": dicom()})
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"is DICOM; pip install 'robaudit\[dicom\]'"):
        open_images(tmp_path)


def test_damage_of_any_kind_is_a_data_error_or_an_image() -> None:
    dice = random.Random(0)
    names = ("CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_rle.dcm", "examples_palette.dcm")
    originals = [shipped(name).read_bytes() for name in names]
    outcomes = Counter()
    for _ in range(150):
        damaged = bytearray(dice.choice(originals))
        for _ in range(dice.choice([1, 10, 100])):
            damaged[dice.randrange(min(len(damaged), dice.choice([2000, 10**9])))] = dice.randrange(256)
        try:
            outcomes[decoded(bytes(damaged[: dice.choice([None, dice.randrange(len(damaged))])])).is_grey] += 1
        except DataError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 20
    assert outcomes[True] + outcomes[False] > 20
