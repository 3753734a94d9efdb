"""MedMNIST files as their authors lay them out, and as nobody honest would."""

import errno
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from robaudit.data.images import open_images
from robaudit.data.listing import has_splits
from robaudit.data.view import View
from robaudit.errors import DataError, OutputError

N = {"train": 6, "val": 3, "test": 4}


def arrays(side: int = 28, *shape: int, n_classes: int = 3) -> dict[str, np.ndarray]:
    dice = np.random.default_rng(side)
    images = {f"{part}_images": dice.integers(0, 256, (n, side, side, *shape), dtype=np.uint8) for part, n in N.items()}
    labels = {f"{part}_labels": (np.arange(n) % n_classes).astype(np.uint8)[:, None] for part, n in N.items()}
    return images | labels


def write(path: Path, **content: np.ndarray) -> Path:
    np.savez_compressed(path, **content)
    return path


@pytest.mark.parametrize("side", [28, 64, 128, 224])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_rows_come_out_as_they_went_in(tmp_path: Path, side: int, shape: tuple[int, ...]) -> None:
    content = arrays(side, *shape)
    images = open_images(write(tmp_path / "x.npz", **content), "test")
    assert (len(images), images.classes, images.channels) == (4, ("0", "1", "2"), 3 if shape else 1)
    for index, ref in enumerate(images.refs):
        stored = np.atleast_3d(content["test_images"][index]) / 255
        np.testing.assert_allclose(images.load(ref, (side, side)).permute(1, 2, 0), stored, atol=1e-6)
        assert ref.label == str(index % 3)


@pytest.mark.parametrize("side", [28, 64])
@pytest.mark.parametrize(("axis", "index"), [(0, 3), (1, None), (2, 27)])
def test_a_slice_of_each_volume_is_an_image(tmp_path: Path, side: int, axis: int, index: int | None) -> None:
    """Of the 3-D sets, such as OrganMNIST3D."""
    content = arrays(side, side)
    path = write(tmp_path / "x.npz", **content)
    images = open_images(path, "test", view=View(slice=(axis, index)))
    assert (len(images), images.channels) == (4, 1)
    for volume, ref in zip(content["test_images"], images.refs, strict=True):
        expected = [volume[3], volume[:, side // 2], volume[..., 27]][axis] / 255
        np.testing.assert_allclose(images.load(ref, (side, side))[0], expected, atol=1e-6)
    with pytest.raises(DataError, match=f"has slices 0 to {side - 1} along axis 0, not {side}"):
        open_images(path, "test", view=View(slice=(0, side)))


def test_one_channel_written_as_an_axis_is_grey(tmp_path: Path) -> None:
    content = arrays(28, 1)
    images = open_images(write(tmp_path / "x.npz", **content), "test")
    assert images.channels == 1
    np.testing.assert_allclose(
        images.load(images.refs[0], (28, 28))[0], content["test_images"][0, ..., 0] / 255, atol=1e-6
    )


@pytest.mark.parametrize("on_bad_image", ["fail", "skip"])
def test_a_full_disk_is_not_blamed_on_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_bad_image: Any
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write(tmp_path / "x.npz", **arrays())
    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OutputError, match=r"cannot be unpacked to temporary files \(No space left .*; .*TMPDIR"):
        open_images(path, "test", on_bad_image=on_bad_image)


def test_other_arrays_are_no_medmnist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no MedMNIST arrays, wanted test_images and test_labels"):
        open_images(write(tmp_path / "x.npz", x=np.zeros(3), y=np.zeros(3)))


def test_each_part_is_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "x.npz", **arrays())
    assert has_splits(path)
    parts = {part: open_images(path, part) for part in ("train", "val", "test")}
    assert {part: len(images) for part, images in parts.items()} == N
    assert len({ref.sha256 for images in parts.values() for ref in images.refs}) == 13


def test_the_same_picture_as_png_is_recognised(tmp_path: Path) -> None:
    content = arrays()
    npz = open_images(write(tmp_path / "x.npz", **content), "test")
    for index, picture in enumerate(content["test_images"]):
        folder = tmp_path / "png" / str(index % 3)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{index}.png")
    png = open_images(tmp_path / "png")
    assert {ref.pixel_sha256 for ref in png.refs} == {ref.pixel_sha256 for ref in npz.refs}


def test_numbers_become_the_models_classes(tmp_path: Path) -> None:
    """Also where a class has no image in this part, and beyond the tenth."""
    content = arrays(n_classes=2)
    content["train_labels"][0] = 11
    images = open_images(write(tmp_path / "x.npz", **content), "test")
    assert images.classes == tuple(map(str, range(12)))
    named = images.ordered_as([f"class {index}" for index in range(12)])
    assert [ref.label for ref in named.refs] == ["class 0", "class 1", "class 0", "class 1"]
    with pytest.raises(DataError, match="the model knows a, b"):
        images.ordered_as(["a", "b"])


def test_a_row_that_changes_is_refused(tmp_path: Path) -> None:
    content = arrays()
    images = open_images(write(tmp_path / "x.npz", **content), "test")
    content["test_images"] = content["test_images"][::-1]
    write(tmp_path / "x.npz", **content)
    with pytest.raises(DataError, match="changed while robaudit was running"):
        images.load(images.refs[0], (28, 28))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"test_labels": np.zeros((4, 14), np.uint8)}, r"14 labels per image \(multi-label\)"),
        ({"test_labels": np.zeros((3, 1), np.uint8)}, "wanted one number per image"),
        ({"test_labels": np.zeros((4, 1), np.float32)}, "wanted one number per image"),
        ({"test_labels": np.array([[-1], [0], [1], [2]])}, "has labels from -1 to 2"),
        ({"test_labels": np.array([[2**40], [0], [1], [2]])}, "has labels from 0 to 1099511627776"),
        (
            {"test_images": np.zeros((4, 28, 28, 28), np.uint8)},
            r"is a volume of \(28, 28, 28\); say which slice with --slice",
        ),
        ({"test_images": np.zeros((4, 28, 28, 2), np.uint8)}, r"\(4, 28, 28, 2\) uint8, wanted bytes: .*volumes"),
        ({"test_images": np.zeros((4, 28, 28), np.float32)}, "float32, wanted"),
        ({"test_images": np.zeros((4, 0, 28), np.uint8)}, "wanted"),
        ({"test_images": np.array([{}] * 4)}, "holds pickled objects"),
    ],
)
def test_what_is_no_medmnist_is_explained(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    path = write(tmp_path / "x.npz", **arrays() | change)
    with pytest.raises(DataError, match=expected) as refusal:
        open_images(path, "test")
    assert "\n" not in str(refusal.value)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("canary"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.npz", **arrays() | {"test_images": np.array([Bomb()] * 4)})
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("test_images.npy", pickle.dumps(Bomb()))
        archive.writestr("test_labels.npy", pickle.dumps(Bomb()))
    for name in ("x.npz", "y.npz"):
        with pytest.raises(DataError):
            open_images(tmp_path / name, "test")
    assert not (tmp_path / "canary").exists()


def npy(shape: tuple[int, ...], content: bytes) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


@pytest.mark.parametrize("content", [b"", bytes(100)])
def test_a_claim_of_50_gb_in_1_kb_is_refused_at_once(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test_images.npy", npy((50_000, 1000, 1000), content))
        archive.writestr("test_labels.npy", npy((50_000, 1), bytes(50_000)))
    with pytest.raises(DataError, match="claims 50000000000 bytes and has"):
        open_images(tmp_path / "x.npz", "test")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test_images.npy", npy((64, 1000, 1000), bytes(64_000_000)))
        archive.writestr("test_labels.npy", npy((64, 1), bytes(64)))
    with pytest.raises(DataError, match=r"claims 64000000 bytes, packed into \d{5}\b"):
        open_images(tmp_path / "x.npz", "test")
