"""Files are made here, pixel by pixel; what comes out is compared with the pixels that went in."""

import errno
import io
import random
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import PIL
import pytest
import tifffile
from PIL import Image, ImageOps

from robaudit.data.decoding import decode
from robaudit.data.picture import Picture
from robaudit.data.true_depth import require_true_depth
from robaudit.errors import DataError


def noise(seed: int, *shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape or (6, 8), dtype=dtype)


def encoded(pixels: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(stream, form, **options)
    return stream.getvalue()


def decoded(data: bytes) -> Picture:
    return decode(data, Path("file"))


def test_what_the_machine_has_run_out_of_is_not_blamed_on_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --on-bad-image skip, a good image would be left out for it."""
    for error in (MemoryError(), OSError(errno.EMFILE, "Too many open files")):
        monkeypatch.setattr(Image, "open", Mock(side_effect=error))
        with pytest.raises(type(error)):
            decoded(encoded(noise(0)))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(counts: np.ndarray) -> bytes:
    """A PNG of (H, W, C) 16-bit counts, written from its specification: Pillow writes none."""
    height, width, channels = counts.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in counts)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def grey_tiff(counts: np.ndarray, bits: int, photometric: int = 1) -> bytes:
    """A little-endian grey TIFF of 12 or 16 bits, written from its specification."""
    height, width = counts.shape
    if bits == 12:  # two pixels in three bytes
        pairs = counts.reshape(-1, 2).astype(np.uint16)
        triples = [pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255]
        content = np.stack(triples, axis=1).astype(np.uint8).tobytes()
    else:
        content = counts.astype("<u2").tobytes()
    entries = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 8),
        (277, 1),
        (278, height),
    ]
    entries.append((279, len(content)))
    table = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + table + bytes(4)


PILLOW_READS_ITS_OWN = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="Pillow before 13 writes YCbCr TIFF that it cannot read itself"
)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        ("L", "PNG"),
        ("RGB", "PNG"),
        ("1", "PNG"),
        ("P", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("RGB", "TIFF"),
        ("CMYK", "TIFF"),
        pytest.param("YCbCr", "TIFF", marks=PILLOW_READS_ITS_OWN),
        ("1", "TIFF"),
        ("L", "BMP"),
        ("P", "GIF"),
        ("L", "PPM"),
    ],
)  # fmt: skip
def test_eight_bit_pixels_come_out_as_they_went_in(mode: str, form: str) -> None:
    picture = Image.fromarray(noise(5, 6, 8, 3)).convert(mode)
    seen = np.atleast_3d(np.asarray(picture.convert("L" if mode in ("1", "L", "LA") else "RGB")))
    found = decoded(encoded(picture, form)).pixels
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, seen / 255, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_close_to_what_went_in(mode: str) -> None:
    """CMYK, too: Photoshop's inverted inks, which a naive reader shows as a negative."""
    slope = np.repeat(np.linspace(20, 220, 64, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    picture = Image.fromarray(slope).convert(mode)
    found = decoded(encoded(picture, "JPEG", quality=95)).pixels
    np.testing.assert_allclose(found, np.broadcast_to(slope[..., :1] / 255, found.shape), atol=0.03)


# Depth


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_keep_their_depth(form: str) -> None:
    """Through 8 bits, neighbouring levels of a CT would fall together."""
    counts = np.arange(40000, 40048, dtype=np.uint16).reshape(6, 8)
    found = decoded(encoded(counts, form))
    np.testing.assert_allclose(found.pixels[..., 0], counts / 65535, rtol=1e-6)
    assert found.levels == 65535


def test_one_255th_is_257_counts_of_16_bits() -> None:
    grey = noise(1)
    shallow, deep = decoded(encoded(grey)), decoded(encoded(grey.astype(np.uint16) * 257))
    np.testing.assert_array_equal(shallow.pixels, deep.pixels)
    assert shallow.sha256 == deep.sha256


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_colour_is_not_cut_down_to_eight(channels: int) -> None:
    counts = noise(2, 6, 8, channels, dtype=np.uint16)
    for data in (png(counts), tiff(counts), tiff(counts, compression="deflate"), tiff(counts, byteorder=">")):
        found = decoded(data)
        np.testing.assert_allclose(found.pixels, counts / 65535, rtol=1e-6)
        assert found.levels == 65535


def tiff(counts: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, counts, photometric="rgb" if counts.shape[2] > 1 else "minisblack", **options)
    return stream.getvalue()


def test_sixteen_bit_colour_of_a_ppm_is_not_cut_down_to_eight() -> None:
    for white in (65535, 4095):
        counts = noise(14, 6, 8, 3, dtype=np.uint16) & white
        picture = decoded(b"P6 8 6 %d\n" % white + counts.astype(">u2").tobytes())
        np.testing.assert_array_equal(picture.pixels, counts / np.float32(white))
        assert picture.levels == white
    in_words = b"P3 8 6 65535\n" + b" ".join(b"%d" % count for count in counts.ravel())
    with pytest.raises(DataError, match="16-bit colour in words, which no reader here knows: save it as PNG"):
        decoded(in_words)


@pytest.mark.parametrize(
    ("magic", "channels", "white"),
    [
        *(
            (magic, 1, white)
            for magic in (b"P5", b"P2")
            for white in (1, 5, 100, 254, 255, 256, 4095, 65_501, 65_534, 65_535)
        ),
        *((magic, 3, white) for magic in (b"P6", b"P3") for white in (1, 100, 255)),
    ],
)
def test_every_white_of_a_ppm_is_white_and_its_steps_are_the_levels(magic: bytes, channels: int, white: int) -> None:
    counts = np.resize(np.arange(white + 1), (256, 257, channels))  # every one of them
    in_bytes = counts.astype(">u2" if white > 255 else np.uint8).tobytes()
    in_words = b" ".join(b"%d" % count for count in counts.ravel())
    picture = decoded(b"%b 257 256 %d\n" % (magic, white) + (in_bytes if magic in (b"P5", b"P6") else in_words))
    np.testing.assert_array_equal(picture.pixels, counts.astype(np.float32) / np.float32(white))
    assert picture.levels == white


@pytest.mark.parametrize(("magic", "channels"), [(b"P5", 1), (b"P6", 3)])
def test_a_count_above_white_is_white(magic: bytes, channels: int) -> None:
    assert (decoded(b"%b 1 1 4095\n" % magic + b"\x10\x10" * channels).pixels == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_of_a_deep_png_shows_black(channels: int) -> None:
    counts = noise(15, 6, 8, channels, dtype=np.uint16)
    counts[2, 3, -1] ^= 1  # a neighbour of the transparent one that 8 bits would not tell apart
    counts[4, 5] = counts[2, 3]
    counts[2, 3, -1] ^= 1
    data = png(counts)
    start = data.index(b"IDAT") - 4
    keyed = data[:start] + chunk(b"tRNS", counts[4, 5].astype(">u2").tobytes()) + data[start:]
    expected = counts / np.float32(65535)
    expected[4, 5] = 0
    np.testing.assert_array_equal(decoded(keyed).pixels, expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_transparent_grey_of_few_bits_shows_black(bits: int) -> None:
    white = 2**bits - 1
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8 // bits, 1, bits, 0, 0, 0, 0))
    row = chunk(b"IDAT", zlib.compress(b"\0\xe4")) + chunk(b"IEND", b"")
    opaque = decoded(start + row).pixels
    keyed = decoded(start + chunk(b"tRNS", struct.pack(">H", white)) + row).pixels
    np.testing.assert_array_equal(keyed, np.where(opaque == 1, 0, opaque))


def jpeg2000(counts: np.ndarray, bits: int, *, boxed: bool = True) -> bytes:
    openjpeg = pytest.importorskip("openjpeg.utils", reason="the extra [dicom] is not installed")
    data: bytes = openjpeg.encode_array(
        counts,
        bits_stored=bits,
        photometric_interpretation=1 if counts.ndim == 3 else 2,
        use_mct=False,
        codec_format=int(boxed),
    )
    return data


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_grey_of_jpeg_2000_is_scaled_by_its_own_depth(bits: int) -> None:
    counts = noise(16, 64, 64, dtype=np.uint16) >> (16 - bits)
    picture = decoded(jpeg2000(counts, bits))
    np.testing.assert_array_equal(picture.pixels[..., 0], counts / np.float32(2**bits - 1))
    assert picture.levels == 2**bits - 1


@pytest.mark.parametrize(("bits", "channels"), [(16, 3), (12, 3), (9, 1), (4, 1), (4, 3)])
def test_a_depth_of_jpeg_2000_that_would_be_wrapped_is_refused(bits: int, channels: int) -> None:
    white = np.full((64, 64, channels)[: 2 + (channels > 1)], 2**bits - 1, np.uint16 if bits > 8 else np.uint8)
    with pytest.raises(DataError, match=rf"has {bits} bits a channel, .*: save it as PNG or TIFF"):
        decoded(jpeg2000(white, bits))


def test_more_than_8_bits_of_avif_would_be_cut_and_are_refused() -> None:
    data = bytearray(encoded(noise(17, 32, 32, 3), "AVIF"))
    assert decoded(bytes(data)).levels == 255
    with Image.open(io.BytesIO(data)) as opened:
        data[data.index(b"av1C") + 6] |= 0x40  # AV1 in ISO files, 2.3: high_bitdepth; Pillow writes none such
        with pytest.raises(ValueError, match="has more than 8 bits a channel"):
            require_true_depth(opened, bytes(data))


def test_bytes_with_a_sign_are_refused() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, noise(18).astype(np.int8))
    with pytest.raises(DataError, match="has 8 bits with a sign"):
        decoded(stream.getvalue())


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_deep_colour_that_is_read_in_eight_bits_is_refused(compression: str | None) -> None:
    stream = io.BytesIO()
    planes = noise(2, 3, 6, 8, dtype=np.uint16)
    tifffile.imwrite(stream, planes, photometric="rgb", planarconfig="separate", compression=compression)
    with pytest.raises(DataError, match="16-bit colour in separate planes, which no reader here knows: save it as PNG"):
        decoded(stream.getvalue())
    multiplied = tiff(noise(2, 6, 8, 4, dtype=np.uint16), extrasamples=["assocalpha"], compression=compression)
    with pytest.raises(DataError, match="16-bit colour multiplied by its alpha, which no reader here knows"):
        decoded(multiplied)


@pytest.mark.parametrize("bits", [12, 16])
def test_grey_tiff_is_scaled_by_its_own_depth_and_turned_where_zero_is_white(bits: int) -> None:
    counts = noise(3, dtype=np.uint16) >> (16 - bits)
    white = 2**bits - 1
    found = decoded(grey_tiff(counts, bits))
    np.testing.assert_allclose(found.pixels[..., 0], counts / white, rtol=1e-6)
    assert found.levels == white
    if bits == 16:
        turned = decoded(grey_tiff(counts, bits, photometric=0)).pixels[..., 0]
        np.testing.assert_allclose(turned, 1 - counts / white, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_without_a_scale_are_refused(dtype: type) -> None:
    hounsfield = np.linspace(-1000, 1000, 48, dtype=dtype).reshape(6, 8)
    with pytest.raises(DataError, match=r"pixels from -1000 to 1000 and no word on which is white"):
        decoded(encoded(hounsfield, "TIFF"))


# As a person sees it


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_a_photograph_on_its_side_is_turned_upright(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(7), form, exif=exif)
    seen = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("L"))
    np.testing.assert_allclose(decoded(data).pixels[..., 0] * 255, seen, atol=1e-4)


UPRIGHT = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_deep_tiff_on_its_side_is_turned_upright_once(orientation: int, channels: int) -> None:
    counts = noise(5, 6, 8, channels, dtype=np.uint16)
    data = tiff(counts, extratags=[(274, 3, 1, orientation, True)])
    np.testing.assert_allclose(decoded(data).pixels, UPRIGHT[orientation](counts) / 65535, atol=1e-6)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("deep", [False, True])
def test_what_is_transparent_shows_black(channels: int, deep: bool) -> None:
    """Not the colours that happen to lie below, which nobody has seen."""
    counts = noise(4, 6, 8, channels, dtype=np.uint16 if deep else np.uint8)
    white = 65535 if deep else 255
    expected = counts[..., :-1] / white * (counts[..., -1:] / white)
    found = decoded(png(counts) if deep else encoded(counts)).pixels
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("transparent", [40, bytes([255] * 40 + [0] + [255] * 215)])
def test_a_transparent_colour_of_a_palette_shows_black(transparent: int | bytes) -> None:
    picture = Image.fromarray(noise(5, 20, 20)).convert("P")
    entry = np.asarray(picture) == 40
    found = decoded(encoded(picture, transparency=transparent)).pixels
    assert entry.any()
    assert (found[entry] == 0).all()
    np.testing.assert_allclose(found[~entry] * 255, np.asarray(picture.convert("RGB"))[~entry], atol=1e-4)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_a_file_of_several_pictures_is_refused(form: str) -> None:
    """Nobody but its owner knows which one the label is about."""
    first, *others = (Image.fromarray(noise(seed, 6, 8, 3)) for seed in range(3))
    data = encoded(first, form, save_all=True, append_images=others)
    with pytest.raises(DataError, match="holds several pictures, wanted one"):
        decoded(data)


def test_a_cameras_preview_is_no_picture_of_its_own() -> None:
    picture, preview = Image.fromarray(noise(1, 16, 16)), Image.fromarray(noise(2, 8, 8))
    assert decoded(encoded(picture, "MPO", save_all=True, append_images=[preview])).pixels.shape == (16, 16, 1)


# What cannot be read


@pytest.mark.parametrize("content", [b"", b"no image", noise(0).tobytes(), b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_image_is_said_in_one_line(content: bytes) -> None:
    with pytest.raises(DataError, match=r"file: is no readable image .*--on-bad-image skip") as refusal:
        decoded(content)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["x.png", "x.eps"])
def test_no_program_is_started_for_a_picture(tmp_path: Path, ghostscript: Path, name: str) -> None:
    """Pillow would hand PostScript, which is a language, to Ghostscript."""
    with pytest.raises(DataError, match="no known format"):
        decode(encoded(Image.fromarray(noise(1)), "EPS"), tmp_path / name)
    assert not ghostscript.exists()


def test_a_truncated_image_is_not_filled_up() -> None:
    with pytest.raises(DataError, match=r"is no readable image"):
        decoded(encoded(noise(1, 64, 64), "JPEG")[:-200])


def test_a_few_bytes_cannot_mean_millions_of_pixels() -> None:
    """Below the limit for any image, it would still be a gigabyte."""
    header = struct.pack(">IIBBBBB", 8000, 8000, 16, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    with pytest.raises(DataError, match=r"claims 8000 x 8000 pixels in \d+ bytes"):
        decoded(bomb)


def test_a_picture_that_would_fill_the_memory_is_not_unpacked() -> None:
    """A file of under 100 bytes that claims a million by a million pixels."""
    header = struct.pack(">IIBBBBB", 10**6, 10**6, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(DataError, match="exceeds limit"):
        decoded(bomb)


@pytest.mark.parametrize(("bits", "kind", "most"), [(16, 2, 46_666_666), (8, 6, 35_000_000)])
def test_a_picture_that_takes_gigabytes_once_decoded_is_not(bits: int, kind: int, most: int) -> None:
    """Half a megabyte of zeros, which a claim of a thousand pixels per byte or so does not give away."""
    header = struct.pack(">IIBBBBB", 9400, 9400, bits, kind, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    with pytest.raises(DataError, match=f"has 9400 x 9400 pixels, wanted at most {most} of this kind"):
        decoded(start + chunk(b"IDAT", bytes(500_000)) + chunk(b"IEND", b""))


def test_damage_of_any_kind_is_a_data_error_or_an_image() -> None:
    """A decoder's own exceptions never reach the user."""
    dice = random.Random(0)
    pictures = [
        encoded(Image.fromarray(noise(8, 9, 9, 3)).convert(mode), form)
        for form, mode in (("PNG", "P"), ("PNG", "LA"), ("JPEG", "L"), ("GIF", "L"), ("BMP", "L"), ("WEBP", "RGB"))
    ]
    originals = [*pictures, png(noise(2, 6, 8, 3, dtype=np.uint16)), tiff(noise(2, 6, 8, 3, dtype=np.uint16))]
    outcomes = Counter()
    for _ in range(400):
        damaged = bytearray(dice.choice(originals))
        for _ in range(dice.choice([1, 2, 10])):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            outcomes[decoded(bytes(damaged[: dice.choice([None, dice.randrange(len(damaged))])])).is_grey] += 1
        except DataError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 50
    assert outcomes[True] + outcomes[False] > 50
