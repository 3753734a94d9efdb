"""Images behind a URL are the same images; fsspec's own file:// and memory:// stand for every store."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robaudit.data import regular
from robaudit.data.images import Images, open_images
from robaudit.data.listing import has_splits
from robaudit.data.remote import Remote, located
from robaudit.data.splitting import write_split
from robaudit.errors import DataError

fsspec = pytest.importorskip("fsspec", reason="the extra [remote] is not installed")


def png(index: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(index).integers(0, 256, (8, 8), np.uint8)).save(content, "PNG")
    return content.getvalue()


FOLDER = {f"{label}/{sub}{index}.png": png(10 * len(label) + index) for label in ("ill", "well") for index, sub in
          enumerate(("", "deeper/", "a b/ü#"))}  # fmt: skip
PARTS = {
    f"{part}/{name}": png(index) for part in ("train", "test") for index, name in enumerate(("ill/1.png", "well/2.png"))
}
HIDDEN = {"ill/.hidden.png": png(90), ".git/ill/x.png": png(91), "ill/notes.txt": b"no picture", "loose.png": png(92)}


@pytest.fixture
def memory() -> Iterator[str]:
    """A store that no other test sees."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield "memory://bucket/data"
    store.store.clear()


def on_disk(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def in_memory(root: str, files: dict[str, bytes]) -> str:
    fsspec.filesystem("memory").pipe({f"{root}/{name}": content for name, content in files.items()})
    return root


def seen(images: Images) -> list[tuple[str, str, str, bytes]]:
    return [
        (ref.id, ref.label, ref.sha256, images.load(ref, (8, 8)).numpy().tobytes()) for ref in images.refs
    ]  # fmt: skip


BARE = {"ill/bare": png(94), "ill/x.npy": b"no picture"}


@pytest.mark.parametrize(
    "files", [FOLDER | HIDDEN | BARE, PARTS | {"well/stray.png": png(93)}], ids=["classes", "parts"]
)
def test_a_folder_elsewhere_is_the_folder_here(files: dict[str, bytes], tmp_path: Path, memory: str) -> None:
    here = on_disk(tmp_path, files)
    expected = open_images(here, "test")
    for url in (f"file://{here}", in_memory(memory, files), f"{memory}/"):
        images = open_images(located(url), "test")
        assert seen(images) == seen(expected)
        assert images.sha256 == expected.sha256
        assert has_splits(located(url)) == has_splits(here)
    assert str(images.root) == memory


def test_parts_inside_classes_are_not_pooled_there_either(memory: str) -> None:
    files = {f"{name}/{part}/0.png": png(1) for name in ("ill", "well") for part in ("train", "test")}
    with pytest.raises(DataError, match="parts inside its classes, such as ill/test"):
        open_images(located(in_memory(memory, files)), "test")


def manifest(names: list[str], *, parquet: bool = False) -> bytes:
    rows = {"path": names, "label": [name.split("/")[-2] for name in names], "split": ["test"] * len(names)}
    if not parquet:
        lines = [",".join(rows), *(",".join(row) for row in zip(*rows.values(), strict=True))]
        return "\n".join(lines).encode()
    pyarrow = pytest.importorskip("pyarrow")
    content = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(rows), content)
    return content.getvalue()


@pytest.mark.parametrize("parquet", [False, True], ids=["csv", "parquet"])
def test_a_manifest_elsewhere_is_the_manifest_here(parquet: bool, tmp_path: Path, memory: str) -> None:
    files = FOLDER | {"table": manifest(list(FOLDER), parquet=parquet)}
    expected = open_images(on_disk(tmp_path, files) / "table", "test")
    assert seen(open_images(located(f"{in_memory(memory, files)}/table"), "test")) == seen(expected)
    assert seen(open_images(located(f"file://{tmp_path}/table"), "test")) == seen(expected)


@pytest.mark.parametrize("outside", ["../data/ill/0.png", "/bucket/data/ill/0.png", "memory://bucket/data/ill/0.png"])
def test_a_manifest_elsewhere_is_bound_to_its_folder_too(outside: str, memory: str) -> None:
    table = manifest(list(FOLDER)) + f"\n{outside},ill,test".encode()
    in_memory(memory, FOLDER | {"table.csv": table})
    with pytest.raises(DataError, match="leaves its folder"):
        open_images(located(f"{memory}/table.csv"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every URL that fsspec is given."""
    urls: list[str] = []
    reached = fsspec.core.url_to_fs

    def reach(url: str) -> object:
        urls.append(url)
        return reached(url)

    monkeypatch.setattr(fsspec.core, "url_to_fs", reach)
    return urls


ELSEWHERE = (
    "ftp://127.0.0.1:9/x.png", "http://127.0.0.1:9/x.png", "file:///dev/zero", "simplecache::ftp://127.0.0.1:9/x.png",
    "s3://bucket/x::ftp://127.0.0.1:9/x.png", "http://me:secret@127.0.0.1:9/x.png", "S3://bucket/x.png",
)  # fmt: skip


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_manifest_on_disk_connects_to_no_host_of_its_own_choice(url: str, tmp_path: Path, asked: list[str]) -> None:
    (tmp_path / "m.csv").write_text(f"path,label,sha256\n{url},ill,{'0' * 64}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2 names .*download it, or put the manifest beside the images") as caught:
        open_images(tmp_path / "m.csv")
    assert not asked
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [*ELSEWHERE, "memory://bucket/x::ftp://h/x.png", "memory://bucket2/data/ill/0.png", "s3://bucket/data/ill/0.png"],
)
def test_a_manifest_elsewhere_names_images_of_its_own_store_alone(url: str, memory: str, asked: list[str]) -> None:
    table = f"path,label,sha256\nmemory://bucket/other.png,ill,{'0' * 64}\n{url},ill,{'0' * 64}\n"
    in_memory(memory, {"table.csv": table.encode()})
    with pytest.raises(DataError, match=r"line 3 names .*wanted an image on its own store"):
        open_images(located(f"{memory}/table.csv"))
    assert set(asked) == {f"{memory}/table.csv"}


def test_a_name_in_a_store_is_not_taken_for_another_store(memory: str, asked: list[str]) -> None:
    fsspec.filesystem("memory").pipe("/bucket/data/ill/a::ftp.png", png(1))
    images = open_images(located(in_memory(memory, FOLDER)), on_bad_image="skip")
    assert (len(images), images.n_skipped) == (len(FOLDER), 1)
    assert not any("ftp" in url for url in asked)
    with pytest.raises(DataError, match=r"is a chain of URLs \(::\), wanted one"):
        located("simplecache::s3://bucket/data")


def test_a_split_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    data = on_disk(tmp_path / "data", FOLDER)
    with pytest.raises(DataError, match=r"may only name images at s3, .*divide it there"):
        write_split(located(f"file://{data}"), tmp_path / "split.csv", seed=0)


def test_a_split_that_is_written_here_finds_its_images_there(tmp_path: Path, memory: str) -> None:
    files = {f"{label}/{index}.png": png(100 * len(label) + index) for label in ("ill", "well") for index in range(6)}
    write_split(located(in_memory(memory, files)), tmp_path / "split.csv", seed=0)
    parts = [open_images(tmp_path / "split.csv", part) for part in ("train", "val", "test")]
    assert sorted(ref.id for images in parts for ref in images.refs) == sorted(files)


def test_an_image_that_changes_there_is_noticed(memory: str) -> None:
    images = open_images(located(in_memory(memory, FOLDER)))
    in_memory(memory, {images.refs[0].id: png(99)})
    with pytest.raises(DataError, match="changed while robaudit was running"):
        images.load(images.refs[0], (8, 8))


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_a_huge_file_elsewhere_is_not_fetched(known: bool, monkeypatch: pytest.MonkeyPatch, memory: str) -> None:
    location = located(in_memory(memory, FOLDER | {"ill/huge.png": bytes(5000)}))
    store = fsspec.filesystem("memory")
    told, fetched = store.info, store.cat_file

    def fetch(path: str) -> bytes:
        assert "huge" not in path
        content: bytes = fetched(path)
        return content

    monkeypatch.setattr(regular, "MAX_BYTES", 4000)
    monkeypatch.setattr(regular.require_regular, "__defaults__", (4000, "remove it"))
    monkeypatch.setattr(store, "info", lambda path: told(path) | ({} if known else {"size": None}))
    monkeypatch.setattr(store, "cat_file", fetch)
    with pytest.raises(DataError, match=r"huge\.png: has (5000|more than 4000) bytes"):
        open_images(location)
    assert open_images(location, on_bad_image="skip").n_skipped == 1


def test_a_device_behind_a_url_is_no_file(tmp_path: Path) -> None:
    (on_disk(tmp_path, FOLDER) / "ill" / "x.png").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"x\.png: cannot be read \(is no file\)"):
        open_images(located(f"file://{tmp_path}"))


def test_a_worker_is_sent_where_images_lie_not_the_images(memory: str) -> None:
    images = open_images(located(in_memory(memory, FOLDER)))
    sent = pickle.dumps(images)
    assert len(sent) < 1000 * len(images)
    assert seen(pickle.loads(sent)) == seen(images)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nothing", "no such folder"),
        ("images.npz", "is a MedMNIST file, which is read from disk alone; copy it here"),
    ],
)
def test_what_cannot_be_read_elsewhere_is_refused(name: str, expected: str, memory: str) -> None:
    in_memory(memory, FOLDER)
    with pytest.raises(DataError, match=rf"{memory}/{name}: .*{expected}"):
        open_images(located(f"{memory}/{name}"))


def test_a_volume_elsewhere_is_refused(memory: str) -> None:
    in_memory(memory, FOLDER | {"ill/v.nii.gz": b"volume"})
    with pytest.raises(DataError, match=r"v\.nii\.gz: is a NIfTI volume, which is read from disk alone"):
        open_images(located(memory))


@pytest.mark.parametrize("url", ["ftp://me:secret@host/data", "https://host/data?token=secret"])
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(DataError, match="holds a password or a query") as caught:
        located(url)
    assert "secret" not in str(caught.value)


def test_a_store_without_its_package_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(DataError, match=r"s3://bucket/data: .*s3fs"):
        open_images(located("s3://bucket/data"))


def test_a_store_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, memory: str) -> None:
    images = open_images(located(in_memory(memory, FOLDER)))

    def refuse(*args: object, **options: object) -> bytes:
        raise RuntimeError("503 Slow Down\nrequest id 1234")

    monkeypatch.setattr(fsspec.filesystem("memory"), "cat_file", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(503 Slow Down\)"):
        images.load(images.refs[0], (8, 8))


def test_a_remote_place_reads_as_a_path_does() -> None:
    place = Remote("s3://bucket/data/ill/1.PNG")
    path = Path("/bucket/data/ill/1.PNG")
    assert (place.name, place.suffix, str(place.parent)) == (path.name, path.suffix, f"s3:/{path.parent}")
    assert place.parent / "2.png" == Remote("s3://bucket/data/ill/2.png")
    assert located("data/ill") == Path("data/ill")
