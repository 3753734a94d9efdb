"""Whether a DICOM file holds an image that can be shown, seen from its header: each refusal in words of ours.

Nothing of the file is quoted but numbers, and names that DICOM itself gives to kinds of objects and of compression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from robaudit.data.refusing import LARGE, MAX_PIXELS_PER_BYTE, SKIP, require_plausible
from robaudit.data.remote import Location
from robaudit.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_FRAMES = 100_000
_NEEDED = (
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation",
)  # fmt: skip
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1} | dict.fromkeys(_COLOURS, 3)
"""Photometric interpretation -> numbers per pixel."""
_NO_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.481.2": "a grid of radiation doses",
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation, drawn for another image",
}
"""Kinds of objects that have pixels and are no image of a patient."""
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_UNPACKED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Transfer syntaxes in which every pixel takes its bytes."""
_MIN_FRAME = 8
"""Bytes of a frame that is packed to nothing: its item's tag and length."""
_EXPORT = "export it uncompressed or as PNG, or"


def require_image(header: Dataset, file: Location, member: str, n_bytes: int) -> None:
    """Refuse a file that holds no image, or none that can be shown.

    Args:
        header: all of the file, its pixels still packed.
        file: where it is from.
        member: number of the frame asked for; empty for the only one.
        n_bytes: size of the file.

    Raises:
        DataError: in one line, without a word of the header.
    """
    _require_picture(header, file)
    _require_complete(header, file)
    _require_lowest_bits(header, file)
    require_all_frames(header, file, n_bytes)
    _require_one_frame(header, file, member)
    # As many as are held at once: greys at two and four bytes beside the file's own, colours converted in copies.
    n_channels = 2 if str(header.PhotometricInterpretation).startswith("MONOCHROME") else 4
    require_plausible(file, int(header.Columns), int(header.Rows), n_bytes, n_channels)
    _require_scale(header, file)
    _require_decoder(header, file)
    _require_all_bytes(header, file)


def require_all_frames(header: Dataset, file: Location, n_bytes: int) -> None:
    """Refuse a file that cannot hold the frames it claims, as a whole: each would be refused by a line of its own.

    Raises:
        DataError: before they are listed.
    """
    from pydicom.pixels.utils import get_expected_length

    n_frames = int(header.get("NumberOfFrames") or 1)
    if n_frames > MAX_FRAMES:
        raise DataError(f"{file}: claims {n_frames} frames, more than any file; {SKIP}")
    if n_frames <= 1:
        return
    if header.file_meta.TransferSyntaxUID in _UNPACKED:
        is_possible = get_expected_length(header) <= n_bytes
    else:
        n_pixels = n_frames * int(header.Rows) * int(header.Columns)
        is_possible = n_frames * _MIN_FRAME <= n_bytes and n_pixels <= max(LARGE, MAX_PIXELS_PER_BYTE * n_bytes)
    if not is_possible:
        raise DataError(
            f"{file}: claims {n_frames} frames of {int(header.Columns)} x {int(header.Rows)} pixels in {n_bytes} "
            f"bytes, which cannot hold them; copy it again, or {SKIP}"
        )


def _require_picture(header: Dataset, file: Location) -> None:
    kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID")
    if what := _NO_PICTURES.get(str(kind)):
        raise DataError(f"{file}: is {what}; {SKIP}")
    if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
        raise DataError(
            f"{file}: holds numbers with a point and no word on which is white; export it as PNG, or {SKIP}"
        )
    if "PixelData" not in header:
        raise DataError(f"{file}: is a DICOM file without an image{_known(kind, ' ({})')}; {SKIP}")
    if str(header.get("BurnedInAnnotation") or "").upper() == "YES":
        raise DataError(f"{file}: says that text is burned into its pixels, which a report would show; {SKIP}")


def _require_complete(header: Dataset, file: Location) -> None:
    if "TransferSyntaxUID" not in header.file_meta:
        raise DataError(
            f"{file}: does not say how its pixels are packed (Transfer Syntax UID); export it again, or {SKIP}"
        )
    if missing := [name for name in _NEEDED if header.get(name) in (None, "")]:
        raise DataError(
            f"{file}: its header lacks {', '.join(missing)}, which every image has; export it again, or {SKIP}"
        )
    n_samples = int(header.SamplesPerPixel)
    if (wanted := _SAMPLES.get(str(header.PhotometricInterpretation))) is None:
        known = ", ".join(_SAMPLES)
        raise DataError(
            f"{file}: has a photometric interpretation that is not read here, wanted one of {known}; {SKIP}"
        )
    if n_samples != wanted:
        raise DataError(
            f"{file}: has {n_samples} numbers per pixel, its photometric interpretation wants {wanted}; "
            f"export it again, or {SKIP}"
        )
    if not 0 < int(header.BitsStored) <= int(header.BitsAllocated):
        raise DataError(
            f"{file}: has {int(header.BitsStored)} bits in each {int(header.BitsAllocated)}; export it again, or {SKIP}"
        )


def _require_lowest_bits(header: Dataset, file: Location) -> None:
    """PS3.5 8.1.1 puts counts into the lowest bits, where pydicom reads them; old files may have them higher."""
    n_bits, high = int(header.BitsStored), header.get("HighBit")
    if high is not None and int(high) != n_bits - 1:
        raise DataError(
            f"{file}: has the highest of its {n_bits} bits at bit {int(high)} (High Bit), wanted {n_bits - 1}; "
            f"export it again, or {SKIP}"
        )


def _require_one_frame(header: Dataset, file: Location, member: str) -> None:
    n_frames = int(header.get("NumberOfFrames") or 1)
    if not member and n_frames > 1:
        raise DataError(f"{file}: holds {n_frames} frames; name it .dcm to have each taken as an image")


def _require_scale(header: Dataset, file: Location) -> None:
    """A window or a table would do; without them the stored range is shown, which of 32 bits is all black."""
    is_grey = str(header.PhotometricInterpretation).startswith("MONOCHROME")
    if is_grey and int(header.BitsStored) > 16:
        raise DataError(
            f"{file}: holds greys of {int(header.BitsStored)} bits, wanted at most 16; export it as PNG, or {SKIP}"
        )


def _require_decoder(header: Dataset, file: Location) -> None:
    from pydicom.pixels import get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    if not _known(syntax):
        raise DataError(f"{file}: its pixels are packed in a way that DICOM does not know; {_EXPORT} {SKIP}")
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise DataError(f"{file}: is compressed as {syntax.name}, which is not read here; {_EXPORT} {SKIP}") from None
    if syntax.is_compressed and not decoder.is_available:
        raise DataError(
            f"{file}: is compressed as {syntax.name} and its decoder is not installed; "
            f"pip install 'robaudit[dicom]', or {_EXPORT} {SKIP}"
        )
    if syntax == _JPEG_EXTENDED and int(header.BitsStored) > 8 and "pylibjpeg" not in decoder.available_plugins:
        raise DataError(
            f"{file}: is lossy JPEG of {int(header.BitsStored)} bits, whose one decoder is under GPL-3.0; "
            f"pip install pylibjpeg pylibjpeg-libjpeg, or {_EXPORT} {SKIP}"
        )


def _require_all_bytes(header: Dataset, file: Location) -> None:
    """Of pixels that are packed, only a decoder can tell."""
    from pydicom.pixels.utils import get_expected_length

    if header.file_meta.TransferSyntaxUID.is_compressed:
        return
    held, wanted = len(header.PixelData), get_expected_length(header)
    if held < wanted:
        raise DataError(
            f"{file}: is cut short: holds {held} bytes of pixels, wanted {wanted}; copy it again, or {SKIP}"
        )


def _known(uid: Any, form: str = "{}") -> str:
    """DICOM's own name for a kind of object or compression; empty for others, which only the file knows."""
    from pydicom.uid import UID_dictionary

    return form.format(UID_dictionary[uid][0]) if uid in UID_dictionary else ""
