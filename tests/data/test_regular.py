"""Pipes, devices, sockets, folders, huge files and links where images should be: one line each, at once."""

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robaudit.data.images import open_images
from robaudit.errors import DataError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    """Bound by a short name: the full one may be longer than an address can be."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(before)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(50 * 10**9)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


ODD = {
    pipe: "is a pipe, wanted a file",
    device: "is a device, wanted a file",
    listening: "is a socket, wanted a file",
    huge: "has 50000000000 bytes, wanted at most",
    link_to_itself: "cannot be read",
}


def _too_long(*_: object) -> None:
    raise TimeoutError


@pytest.fixture(autouse=True)
def _at_once_in_little_memory() -> Iterator[None]:
    """Whoever waits for a pipe, or fills the memory, fails here instead of hanging."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    usual = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, usual)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19, "half a gigabyte"


def data(root: Path) -> Path:
    for label in "ab":
        (root / label).mkdir()
        for index in range(2):
            seed = np.random.default_rng([ord(label), index])
            Image.fromarray(seed.integers(0, 256, (6, 8), dtype=np.uint8)).save(root / label / f"{index}.png")
    return root


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("name", ["x.png", "x.dcm", "x.nii"])
def test_in_a_folder(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    make(data(tmp_path) / "a" / name)
    with pytest.raises(DataError, match=rf"{name}: {ODD[make]}.*--on-bad-image skip") as refusal:
        open_images(tmp_path)
    assert "\n" not in str(refusal.value)
    assert open_images(tmp_path, on_bad_image="skip").n_skipped == 1


@pytest.mark.parametrize("make", [pipe, device, listening, link_to_itself])
def test_without_the_name_of_an_image_it_is_none(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(data(tmp_path) / "a" / "IM-0001")
    assert len(open_images(tmp_path)) == 4


@pytest.mark.parametrize("make", [*ODD, Path.mkdir])
def test_in_a_manifest(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(data(tmp_path) / "a" / "x.png")
    (tmp_path / "m.csv").write_text("path,label\na/0.png,a\na/x.png,a\nb/0.png,b\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"x\.png: {ODD.get(make, 'is a folder, wanted a file')}"):
        open_images(tmp_path / "m.csv")


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("name", ["m.npz", "m.csv", "data"])
def test_as_the_data(tmp_path: Path, make: Callable[[Path], None], name: str) -> None:
    make(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: (no such folder|{ODD[make]}|holds no MedMNIST arrays)") as refusal:
        open_images(tmp_path / name)
    assert "\n" not in str(refusal.value)


def test_a_folder_with_the_name_of_an_image_is_a_folder(tmp_path: Path) -> None:
    nested = data(tmp_path) / "a" / "x.png"
    nested.mkdir()
    (tmp_path / "a" / "0.png").rename(nested / "0.png")
    assert [ref.id for ref in open_images(tmp_path).refs][:2] == ["a/1.png", "a/x.png/0.png"]


def test_links_that_would_count_images_twice_are_refused(tmp_path: Path) -> None:
    """Thirty folders, each with two links to the next, would take a billion steps."""
    deep = data(tmp_path) / "a"
    for _ in range(30):
        (deep / "next").mkdir()
        (deep / "same").symlink_to("next")
        deep = deep / "next"
    with pytest.raises(DataError, match="is a folder of this class that a link leads to as well; remove the link"):
        open_images(tmp_path)


def test_one_file_in_two_classes_is_refused(tmp_path: Path) -> None:
    data(tmp_path)
    (tmp_path / "c").symlink_to("a")
    with pytest.raises(DataError, match=r"c/\d\.png: is by a link the same file as a/\d\.png, of class a; remove one"):
        open_images(tmp_path)
    (tmp_path / "c").unlink()
    (tmp_path / "b" / "again.png").symlink_to("../a/0.png")
    with pytest.raises(DataError, match=r"b/again\.png: is by a link the same file as a/0\.png"):
        open_images(tmp_path)
    (tmp_path / "b" / "again.png").unlink()
    (tmp_path / "a" / "again.png").symlink_to("0.png")
    assert len(open_images(tmp_path)) == 5, "of one class: its owner's way to count an image twice"
