"""DICOM images as a viewer shows them: rescale, then VOI LUT or window, MONOCHROME1 turned last (PS3.4 annex N).

pydicom does the work. Of all tags, only those of the pixels are used, and a patient's identifier as a hash: nothing
else of a header gets into an error, a record or a report.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robaudit.data.dicom_image import require_all_frames, require_image
from robaudit.data.listed import Listed
from robaudit.data.patients import patient_key
from robaudit.data.picture import Picture
from robaudit.data.refusing import SKIP, refusing
from robaudit.data.regular import read_bytes
from robaudit.data.remote import Location
from robaudit.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

_SUFFIXES = (".dcm", ".dicom", ".ima")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
"""A transfer syntax that packs the whole data set: what it unpacks to is bounded by nothing."""
_DECODERS = {
    "1.2.840.10008.1.2.5": "pydicom",  # RLE; pylibjpeg's, where it is installed, panics on damaged ones
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000, by OpenJPEG
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
}
"""Transfer syntax -> the plug-in of pydicom that is asked, so that pixels do not depend on what else is installed:
lossy JPEG differs by up to 3 grey levels. GDCM is left to lossless JPEG, which nothing else in the extra decodes."""
_ANONYMOUS = "0"
"""Of a DICOM file this is nobody's identifier; in a table somebody may have counted patients from 0."""
_MAY_BE_EMPTY = ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "VOILUTSequence")
_MAX_LEVELS = 65535
_STRIP = 1024
"""Rows shown at a time: pydicom computes in several copies of eight bytes a pixel."""
_DAMAGED_HEADER = "its header is damaged or cut short"
_DAMAGED_PIXELS = "its pixels are damaged, cut short, or packed in a way that no decoder here reads"
_DAMAGED_SCALE = "its rescale, window or table of greys or colours makes no sense"


def is_dicom_name(file: Location) -> bool:
    """Whether a file's name is that of a DICOM file; many have none, and are told by their first bytes."""
    return file.suffix.lower() in _SUFFIXES


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins so is DICOM (PS3.10: 128 bytes of anything, then DICM)."""
    return start[128:132] == b"DICM"


def list_frames(item: Listed) -> Iterator[Listed]:
    """One entry per frame, each with its patient. A file that cannot be read is listed as one image, to be named later.

    Raises:
        DataError: pydicom is not installed.
    """
    try:
        with refusing(item.path, "DICOM image", words=_DAMAGED_HEADER):
            data = read_bytes(item.path, item.pinned)
            header = _read(data, item.path, stop_before_pixels=True)
            require_all_frames(header, item.path, len(data))
            n_frames, patient = int(header.get("NumberOfFrames") or 1), _patient(header)
    except DataError:
        if _pydicom_missing():
            raise
        n_frames, patient = 1, None
    known = replace(item, patient=item.patient or patient)
    if n_frames <= 1:
        yield known
        return
    for frame in range(1, n_frames + 1):
        yield replace(known, id=f"{item.id}#{frame:0{len(str(n_frames))}d}", member=str(frame))


def decode_dicom(data: bytes, file: Location, member: str, window: tuple[float, float] | None = None) -> Picture:
    """Decode a frame as a viewer shows it.

    Args:
        data: the bytes of the file.
        file: where they are from.
        member: number of the frame, from 1; empty for the only one.
        window: rescaled values that are black and white; None takes the file's own window.

    Raises:
        DataError: damaged, absurd, with text burned into the pixels, or compressed in a way no decoder here knows.
    """
    frame = int(member or 1) - 1
    with refusing(file, "DICOM image", words=_DAMAGED_HEADER):
        header = _read(data, file)
        _drop_empty(header)
        require_image(header, file, member, len(data))
        _apply_functional_groups(header, frame)
    with refusing(file, "DICOM image", words=_DAMAGED_PIXELS):
        counts = _counts(data, header, frame)
    with refusing(file, "DICOM image", words=_DAMAGED_SCALE):
        return _picture(counts, header, window)


def _read(data: bytes, file: Location, **options: Any) -> Dataset:
    if not is_dicom(data[:132]):
        raise DataError(f"{file}: is no DICOM file (no DICM after 128 bytes); write it again as DICOM, or {SKIP}")
    if _pydicom_missing():
        raise DataError(f"{file}: is DICOM; pip install 'robaudit[dicom]', or export the images as PNG")
    if _DEFLATED in data:
        raise DataError(f"{file}: is a deflated DICOM file, whose true size nobody knows; store it uncompressed")
    from pydicom import dcmread

    return dcmread(io.BytesIO(data), **options)


def _pydicom_missing() -> bool:
    try:
        import pydicom  # noqa: F401
    except ImportError:
        return True
    return False


def _patient(header: Dataset) -> str | None:
    """A key for the patient; where none is named, for the study, which is of one patient."""
    identifier = str(header.get("PatientID") or "").strip()
    key = None if identifier == _ANONYMOUS else patient_key(identifier, str(header.get("IssuerOfPatientID") or ""))
    return key or patient_key(str(header.get("StudyInstanceUID") or ""))


def _counts(data: bytes, header: Dataset, frame: int) -> NDArray[Any]:
    from pydicom.pixels import get_decoder, pixel_array

    syntax = header.file_meta.TransferSyntaxUID
    preferred = _DECODERS.get(syntax)
    chosen = {}
    if preferred and preferred in get_decoder(syntax).available_plugins:
        chosen = {"decoding_plugin": preferred}
    return np.asarray(pixel_array(io.BytesIO(data), index=frame, **chosen))


def _drop_empty(header: Dataset) -> None:
    """A tag without a value says as much as none: some writers leave an empty window."""
    for name in _MAY_BE_EMPTY:
        if name in header and header.get(name) in (None, ""):
            del header[name]


def _apply_functional_groups(header: Dataset, frame: int) -> None:
    """Enhanced files state rescale and window per frame, or once for all; put those of this one where pydicom looks."""
    groups = [*header.get("SharedFunctionalGroupsSequence", ())[:1]]
    groups += header.get("PerFrameFunctionalGroupsSequence", ())[frame : frame + 1]
    for group in groups:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name, ())[:1]:
                header.update(item)


def _picture(counts: NDArray[Any], header: Dataset, window: tuple[float, float] | None) -> Picture:
    kind = str(header.PhotometricInterpretation)
    if kind.startswith("MONOCHROME"):
        inverse = kind == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE"
        grey, levels = np.empty((*counts.shape, 1), np.float32), 0
        for start in range(0, len(counts), _STRIP):
            shown, levels = _shown(counts[start : start + _STRIP], header, window)
            grey[start : start + _STRIP, :, 0] = 1 - shown if inverse else shown
        return Picture(grey, levels)
    if kind == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        white = 2 ** int(header.RedPaletteColorLookupTableDescriptor[2]) - 1
        colours = apply_color_lut(counts, header)[..., :3]
    else:
        white, colours = 2 ** int(header.BitsStored) - 1, counts
    return Picture(np.divide(colours, np.float32(white), dtype=np.float32), min(white, _MAX_LEVELS))


def _shown(counts: NDArray[Any], header: Dataset, window: tuple[float, float] | None) -> tuple[NDArray[Any], int]:
    """Grey in [0, 1] before any inversion, and how many steps of the stored counts lead from black to white."""
    from pydicom.pixels.processing import apply_modality_lut, apply_windowing

    rescaled = apply_modality_lut(counts, header).astype(np.float64)
    if window:
        return _unit(rescaled, *window), _steps(window[1] - window[0], header)
    if tables := header.get("VOILUTSequence"):
        white = 2 ** int(tables[0].LUTDescriptor[2]) - 1
        shown = _looked_up(rescaled, tables[0], header.file_meta.TransferSyntaxUID.is_little_endian)
        return _unit(shown, 0, white), min(white, _n_steps(header))
    if "WindowCenter" in header and "WindowWidth" in header:
        # pydicom's windows end in the range of the stored counts: ask it which, at values beyond any window.
        low, high = apply_windowing(np.array([-1e12, 1e12]), header)
        width = float(np.atleast_1d(header.WindowWidth)[0])
        return _unit(apply_windowing(rescaled, header), low, high), _steps(width, header)
    low, high = _stored_range(header)
    return _unit(rescaled, low, high), _n_steps(header)


def _looked_up(values: NDArray[Any], table: Dataset, little_endian: bool) -> NDArray[Any]:
    """What a table of values of interest has for each value (PS3.3 C.11.2.1.1).

    pydicom 3.0 numbers the entries of a table of bytes in bytes: of 4096 it uses 256, over and over.
    """
    n_entries, first, bits = (int(number) for number in table.LUTDescriptor)
    n_entries = n_entries or 2**16
    stored = table.LUTData
    if not isinstance(stored, bytes):  # numbers already, or two bytes in each
        stored, little_endian = np.atleast_1d(stored).astype("<u2").tobytes(), True
    in_bytes = bits == 8 and len(stored) < 2 * n_entries
    entries = np.frombuffer(stored, np.uint8 if in_bytes else f"{'<' if little_endian else '>'}u2")
    found: NDArray[Any] = entries[np.clip(np.rint(values - first), 0, n_entries - 1).astype(np.int64)]
    return found


def _stored_range(header: Dataset) -> tuple[float, float]:
    """The least and the greatest value that a file can hold, rescaled."""
    from pydicom.pixels.processing import apply_modality_lut

    if tables := header.get("ModalityLUTSequence"):
        return 0.0, float(2 ** int(tables[0].LUTDescriptor[2]) - 1)
    lowest = -(2 ** (int(header.BitsStored) - 1)) if int(header.PixelRepresentation) else 0
    ends = apply_modality_lut(np.array([lowest, lowest + 2 ** int(header.BitsStored) - 1]), header)
    return float(ends.min()), float(ends.max())


def _n_steps(header: Dataset) -> int:
    """How many steps a file can tell apart; more than 65535 nobody can, in float32."""
    return min(_MAX_LEVELS, (1 << int(header.BitsStored)) - 1)


def _steps(width: float, header: Dataset) -> int:
    """How many stored counts a range of rescaled values spans."""
    return max(1, min(_MAX_LEVELS, round(width / abs(float(header.get("RescaleSlope") or 1)))))


def _unit(shown: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    if low == high or not np.isfinite([low, high]).all():
        raise ValueError("a grey scale without extent")
    unit: NDArray[Any] = np.subtract(shown, low, dtype=np.float64)
    unit /= high - low
    np.clip(unit, 0, 1, out=unit)
    return unit
