"""Images on disk are made here, pixel by pixel; what comes out is compared with the pixels that went in."""

import csv
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robaudit.data.images import Images, open_images
from robaudit.data.listing import has_splits
from robaudit.data.splitting import write_split
from robaudit.data.view import View
from robaudit.errors import DataError, OutputError, SettingsError
from robaudit.progress import Silent


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (6, 8), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def folder(root: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Write a folder of classes with that many different grey images each."""
    for label, count in counts.items():
        for index in range(count):
            seed += 1
            save(root / label / f"{index:02d}.png", noise(seed))
    return root


def ids(images: Images) -> list[str]:
    return [ref.id for ref in images.refs]


def labels(images: Images) -> dict[str, str]:
    return {ref.id: ref.label for ref in images.refs}


def pixels_of(images: Images, id_: str, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    return images.load(next(ref for ref in images.refs if ref.id == id_), size).numpy()


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (View(window=(0, 100)), "holds no DICOM or NIfTI, got --window, .*; leave it out"),
        (View(slice=(2, None)), "holds no volume .*, got --slice, .*; leave it out"),
    ],
)
def test_what_no_image_follows_is_not_recorded_as_shown(tmp_path: Path, view: View, said: str) -> None:
    with pytest.raises(DataError, match=said):
        open_images(folder(tmp_path, {"a": 1, "b": 1}), view=view)


# Where images lie


def test_a_folder_of_classes(tmp_path: Path) -> None:
    images = open_images(folder(tmp_path, {"well": 2, "ill": 1}))
    assert labels(images) == {"ill/00.png": "ill", "well/00.png": "well", "well/01.png": "well"}
    assert images.classes == ("ill", "well")
    assert images.per_class == {"ill": 1, "well": 2}
    assert [images.label_index(ref) for ref in images.refs] == [0, 1, 1]


def test_images_in_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 1, "b": 1})
    save(tmp_path / "b" / "patient 7" / "slice.png", noise(9))
    assert labels(open_images(tmp_path))["b/patient 7/slice.png"] == "b"


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("Train", "Validation", "TEST"),
        ("train", "dev", "test"),
        ("training_set", "Val-Data", "test images"),
        ("train2017", "val2017", "test2017"),
    ],
)
def test_the_parts_of_a_split_folder(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for count, name in enumerate(names, start=1):
        folder(tmp_path / name, {"a": count, "b": count})
    assert has_splits(tmp_path)
    for count, part in enumerate(("train", "val", "test"), start=1):
        images = open_images(tmp_path, part)
        assert images.per_class == {"a": count, "b": count}
        assert {id_.split("/")[0] for id_ in ids(images)} == {names[count - 1]}


def test_two_folders_for_one_part_are_not_joined_in_silence(tmp_path: Path) -> None:
    for name in ("train", "training", "test"):
        folder(tmp_path / name, {"a": 1, "b": 1})
    with pytest.raises(DataError, match="train and training both name the train part; join them, or move one away"):
        open_images(tmp_path, "test")


@pytest.mark.parametrize("names", [("tested", "controls"), ("test-positive", "test-negative"), ("trainee", "expert")])
def test_classes_that_only_begin_like_a_part_are_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    assert set(open_images(folder(tmp_path, dict.fromkeys(names, 1)), "test").classes) == set(names)


def test_a_folder_of_classes_is_taken_whole_whatever_part_is_asked_for(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 2, "b": 2})
    assert not has_splits(tmp_path)
    assert ids(open_images(tmp_path, "test")) == ids(open_images(tmp_path, "train")) == ids(open_images(tmp_path))


def test_parts_inside_classes_are_not_pooled(tmp_path: Path) -> None:
    for name in ("ill", "well"):
        folder(tmp_path / "data" / name, {"train": 1, "test": 1})
    with pytest.raises(
        DataError, match=r"parts inside its classes, such as ill/test, .* move its images to test/ill, or"
    ):
        open_images(tmp_path / "data", "test")
    with pytest.raises(DataError, match="holds only class data"):
        open_images(tmp_path, "test")


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder(tmp_path / "train", {"a": 1, "b": 1})
    with pytest.raises(DataError, match="has train but no test part"):
        open_images(tmp_path, "test")


def write_manifest(path: Path, *rows: tuple[str, ...], columns: str = "path,label,split") -> Path:
    path.write_text("\n".join([columns, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_a_manifest_names_images_relative_to_itself(tmp_path: Path) -> None:
    folder(tmp_path / "files", {"x": 2})
    manifest = write_manifest(
        tmp_path / "m.csv", ("files/x/00.png", "ill"), ("files/x/01.png", "well"), columns="path,label"
    )
    assert not has_splits(manifest)
    assert labels(open_images(manifest, "test")) == {"files/x/00.png": "ill", "files/x/01.png": "well"}


def test_the_split_column_of_a_manifest_and_its_synonyms(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 3, "b": 3})
    words = ("train", "Validation ", "TEST")
    manifest = write_manifest(
        tmp_path / "m.csv",
        *((f"{label}/{index:02d}.png", label, word) for label in "ab" for index, word in enumerate(words)),
    )
    assert has_splits(manifest)
    for index, part in enumerate(("train", "val", "test")):
        assert ids(open_images(manifest, part)) == [f"a/{index:02d}.png", f"b/{index:02d}.png"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "wanted path and label"),
        ("file,class\na,b\n", "wanted path and label"),
        ("path,label\na/00.png\n", "line 2 names no path or no label"),
        ("path,label\na/00.png,\n", "line 2 names no path or no label"),
        ("path,label\n,a\n", "line 2 names no path or no label"),
        ("path,label\na/\0.png,a\n", "line 2 names no path or no label|cannot be read as a manifest"),
        ("path,label,split\na/00.png,a,train\nb/00.png,b,train\n", "has train but no test part"),
        ("path,label\na/00.png,a\na/00.png,b\n", r"lists a/00\.png 2 times \(lines 2, 3\)"),
        ("path,label\na/00.png,a\nb/nowhere.png,b\n", r"m\.csv: line 3: .*nowhere\.png: cannot be read"),
        ("path,label\na/00.png,a\n", "holds only class a"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(tmp_path: Path, text: str, expected: str) -> None:
    folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        open_images(tmp_path / "m.csv", "test")


def test_a_picture_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        open_images(save(tmp_path / "a.png", noise(0)))


def test_what_is_hidden_is_not_data(tmp_path: Path) -> None:
    """MacOS leaves `._scan.png` beside every image, notebooks leave copies in `.ipynb_checkpoints`."""
    before = ids(open_images(folder(tmp_path, {"a": 1, "b": 1})))
    (tmp_path / "a" / "._00.png").write_bytes(b"no image")
    save(tmp_path / "a" / ".ipynb_checkpoints" / "00-checkpoint.png", noise(3))
    save(tmp_path / ".cache" / "x.png", noise(4))
    (tmp_path / "a" / "notes.txt").write_text("no image either")
    assert ids(open_images(tmp_path)) == before


WRITTEN = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM", "PCX", "AVIF")


def test_an_image_without_a_suffix_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    """Of every format that Pillow writes and that begins in a way of its own."""
    folder(tmp_path, {"b": 1})
    (tmp_path / "a").mkdir()
    for form in WRITTEN:
        Image.fromarray(noise(1, 32, 32, 3)).save(tmp_path / "a" / form, form)
    (tmp_path / "a" / "README").write_text("Pyramid of images; BMP and GIF are not among them")
    (tmp_path / "a" / "empty").touch()
    images = open_images(tmp_path)
    assert {ref.id for ref in images.refs if ref.label == "a"} == {f"a/{form}" for form in WRITTEN}


def test_what_is_no_image_that_is_read_is_counted_aloud(tmp_path: Path) -> None:
    """But for what lies beside images anywhere."""
    for part in ("test", "train"):
        folder(tmp_path / part, {"a": 1, "b": 1})
        for name in ("x.heic", "y.HEIC", "z.npy", "Thumbs.db", "notes.txt", ".DS_Store"):
            (tmp_path / part / "a" / name).write_bytes(b"no image")
        (tmp_path / part / "list.npy").write_bytes(b"in no class folder")
    (tmp_path / "train" / "b" / "w.nrrd").write_bytes(b"NRRD0004")
    told, told_of_all = Told(), Told()
    open_images(tmp_path, "test", progress=told)
    open_images(tmp_path, progress=told_of_all)
    [line] = told.lines
    assert line.startswith(
        "left out: 3 file(s) in class folders that robaudit cannot read as images (.heic 2, .npy 1);"
    )
    assert "7 file(s)" in told_of_all.lines[0]
    assert "(.heic 4, .npy 2, .nrrd 1)" in told_of_all.lines[0]


MASKS = ("b/c (1)_mask.png", "b/c (1)_Mask_2.tif", "b/c (1)-seg.png", "b/masks/7.png", "b/GT/8_gt.png", "b/p/q_gt.bmp")
MASKED = ("b/c (1).png", "b/images/7.png", "b/8.jpg", "b/p/q.png")
STRANGE = ("b/alone_mask.png", "b/gt/9.png", "b/c (1)_masked.png", "b/p/8_mask.png", "mask/1.png", "mask/7.png")


@pytest.mark.parametrize("part", ["", "test"])
def test_masks_beside_images_are_no_images_of_their_class_and_counted_aloud(tmp_path: Path, part: str) -> None:
    """As BUSI and COVID-19 Radiography have them. A mask of no image that is there is one; a class may be `mask`."""
    for number, name in enumerate((*MASKS, *MASKED, *STRANGE)):
        save(tmp_path / part / name, noise(number))
    if part:
        folder(tmp_path / "train", {"b": 1, "mask": 1})
        save(tmp_path / "train" / "b" / "00_mask.png", noise(99))
    told = Told()
    images = open_images(tmp_path, "test", progress=told)
    assert {ref.id.removeprefix("test/") for ref in images.refs} == {*MASKED, *STRANGE}
    [line] = told.lines
    assert line.startswith("left out: 6 file(s) in class folders that are by name masks of images beside them (")
    table = tmp_path / "table.csv"
    table.write_text("path,label\nb/c (1).png,b\nb/c (1)_mask.png,b\nmask/1.png,mask\n")
    if not part:
        told = Told()
        assert "b/c (1)_mask.png" in ids(open_images(table, progress=told)), "a manifest is taken to the letter"
        assert told.lines[0].startswith(
            "1 of the images listed are by name masks of others (b/c (1)_mask.png of b/c (1)."
        )


def test_many_kinds_of_what_is_no_image_take_one_line(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 1, "b": 1})
    for number in range(9):
        (tmp_path / "a" / f"x.{number}").touch()
    told = Told()
    open_images(tmp_path, progress=told)
    assert "(.0 1, .1 1, .2 1, .3 1, .4 1, others 4)" in told.lines[0]


def test_images_linked_from_elsewhere_are_data(tmp_path: Path) -> None:
    folder(tmp_path / "archive", {"x": 2, "y": 1})
    folder(tmp_path / "data", {"a": 1})
    (tmp_path / "data" / "b").mkdir()
    (tmp_path / "data" / "b" / "patient").symlink_to(tmp_path / "archive" / "x")
    (tmp_path / "data" / "a" / "linked.png").symlink_to(tmp_path / "archive" / "y" / "00.png")
    assert ids(open_images(tmp_path / "data")) == ["a/00.png", "a/linked.png", "b/patient/00.png", "b/patient/01.png"]


@pytest.mark.parametrize("link", ["a/loop", "loop"])
def test_a_link_that_leads_back_is_refused(tmp_path: Path, link: str) -> None:
    folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / link).symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"loop: is a link to a folder it lies in"):
        open_images(tmp_path)


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    """Left out in silence, images would be missing from the count."""
    folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png: cannot be read"):
        open_images(tmp_path)


def test_a_split_folder_asked_for_as_a_whole_has_the_classes_of_its_parts(tmp_path: Path) -> None:
    for part in ("train", "test"):
        folder(tmp_path / part, {"a": 1, "b": 1})
    assert open_images(tmp_path).per_class == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("counts", "expected"), [({}, "no readable image"), ({"a": 0}, "no readable image"), ({"a": 2}, "only class a")]
)
def test_fewer_than_two_classes_are_refused(tmp_path: Path, counts: dict[str, int], expected: str) -> None:
    for name in counts:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=f"{expected}; an audit needs"):
        open_images(folder(tmp_path, counts))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_images(tmp_path / "nowhere", "test")


# Classes


def test_class_order_is_the_models(tmp_path: Path) -> None:
    images = open_images(folder(tmp_path, {"a": 1, "b": 1}), classes=("b", "other", "a"))
    assert images.classes == ("b", "other", "a")
    assert [images.label_index(ref) for ref in images.refs] == [2, 0]
    assert images.per_class == {"b": 1, "other": 0, "a": 1}


def test_a_class_the_model_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds class b, the model knows a, c"):
        open_images(folder(tmp_path, {"a": 1, "b": 1}), classes=("a", "c"))


def test_a_name_is_the_same_however_its_accents_are_encoded(tmp_path: Path) -> None:
    """Folders of macOS have names the names of folders with two characters for it, keyboards and JSON one."""
    data = folder(tmp_path, {"gutartig a\u0308": 1, "krebs": 1, "tumor": 1})
    images = open_images(data, classes=["krebs", "gutartig \u00e4", "tumor"])
    assert images.per_class == {"krebs": 1, "gutartig \u00e4": 1, "tumor": 1}
    assert open_images(data, merge={"benign": ["gutartig \u00e4"]}).classes == ("benign", "krebs", "tumor")


def test_two_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    data = folder(tmp_path, {"cafe\u0301": 1, "caf\u00e9": 1, "tea": 1})
    if len(list(data.iterdir())) < 3:
        pytest.skip("this file system takes them for one")
    with pytest.raises(DataError, match=r"has classes 'cafe\\u0301' and 'caf\\xe9', one name .*; rename one"):
        open_images(data)


def test_the_same_picture_under_two_classes_is_said(tmp_path: Path) -> None:
    data, told = folder(tmp_path, {"a": 2, "b": 2}), Told()
    (data / "a" / "again.png").write_bytes((data / "a" / "01.png").read_bytes())
    open_images(data, progress=told)
    assert not told.lines
    (data / "b" / "copy.png").write_bytes((data / "a" / "00.png").read_bytes())
    open_images(data, progress=told)
    assert len(told.lines) == 1
    assert "1 picture(s) are under two classes, such as a/00.png and b/copy.png, and no answer" in told.lines[0]


def test_merging_joins_classes_and_keeps_ids(tmp_path: Path) -> None:
    folder(tmp_path, {"glioma": 2, "meningioma": 1, "none": 1})
    merged = open_images(tmp_path, merge={"tumor": ["glioma", "meningioma"]})
    assert merged.per_class == {"none": 1, "tumor": 3}
    assert ids(merged) == ids(open_images(tmp_path))


def test_a_class_to_merge_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder(tmp_path, {"glioma": 1, "none": 1})
    with pytest.raises(DataError, match="has no class menigioma to merge, it has glioma, none"):
        open_images(tmp_path, merge={"tumor": ["glioma", "menigioma"]})
    with pytest.raises(DataError, match="class none is merged into two"):
        open_images(tmp_path, merge={"a": ["glioma", "none"], "b": ["none"]})


def test_a_class_to_merge_may_be_absent_from_a_part(tmp_path: Path) -> None:
    folder(tmp_path / "train", {"glioma": 1, "meningioma": 1, "none": 1})
    folder(tmp_path / "test", {"glioma": 1, "none": 1})
    images = open_images(tmp_path, "test", merge={"tumor": ["glioma", "meningioma"]})
    assert images.per_class == {"none": 1, "tumor": 1}


# A part of them


@pytest.mark.parametrize("limit", [2, 3, 7, 8, 10, 19])
def test_a_limit_is_kept_and_shared_out_in_proportion(tmp_path: Path, limit: int) -> None:
    counts = {"a": 12, "b": 6, "c": 2}
    images = open_images(folder(tmp_path, counts), limit=limit)
    assert len(images) == limit
    for name, count in counts.items():
        share = limit * count / 20
        assert abs(images.per_class[name] - share) <= 1
        assert images.per_class[name] >= (limit >= 3), "no class vanishes while there is room for it"


def test_a_limit_above_what_is_there_takes_all(tmp_path: Path) -> None:
    assert len(open_images(folder(tmp_path, {"a": 2, "b": 2}), limit=99)) == 4


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(SettingsError, match=f"--limit {limit}: wanted 1 or more"):
        open_images(folder(tmp_path, {"a": 2, "b": 2}), limit=limit)


def test_a_limit_depends_on_seed_and_bytes_but_not_on_order(tmp_path: Path) -> None:
    images = open_images(folder(tmp_path, {"a": 20, "b": 20}))
    chosen = set(ids(images.limited(10, seed=0)))
    shuffled = list(images.refs)
    random.Random(3).shuffle(shuffled)
    other_order = Images(images.root, tuple(shuffled), images.classes, images.channels)
    assert set(ids(other_order.limited(10, seed=0))) == chosen
    assert set(ids(images.limited(10, seed=1))) != chosen
    assert chosen < set(ids(images.limited(20, seed=0))), "a larger limit only adds"


def test_the_hash_of_the_data_depends_on_ids_labels_and_bytes_but_not_on_order(tmp_path: Path) -> None:
    images = open_images(folder(tmp_path / "x", {"a": 2, "b": 2}))
    backwards = Images(images.root, images.refs[::-1], images.classes, images.channels)
    elsewhere = open_images(folder(tmp_path / "y", {"a": 2, "b": 2}))
    assert images.sha256 == backwards.sha256 == elsewhere.sha256
    relabelled = open_images(tmp_path / "x", merge={"c": ["b"]})
    save(tmp_path / "y" / "a" / "00.png", noise(99))
    assert len({images.sha256, relabelled.sha256, open_images(tmp_path / "y").sha256}) == 3


# Pixels


def test_grey_is_one_channel_even_when_stored_as_three(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 1, "b": 1})
    grey = noise(1)
    save(tmp_path / "b" / "rgb.png", np.repeat(grey[..., None], 3, axis=2))
    images = open_images(tmp_path)
    assert images.channels == 1
    np.testing.assert_allclose(pixels_of(images, "b/rgb.png")[0] * 255, grey, atol=1e-4)


def test_one_coloured_image_makes_the_set_coloured(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 1, "b": 1})
    grey = np.repeat(noise(1)[..., None], 3, axis=2)
    grey[0, 0, 2] ^= 1
    save(tmp_path / "b" / "tinted.png", grey)
    images = open_images(tmp_path)
    assert images.channels == 3
    plain = pixels_of(images, "a/00.png")
    assert plain.shape == (3, 6, 8)
    assert (plain[0] == plain[1]).all()
    assert (plain[0] == plain[2]).all()


@pytest.mark.parametrize("size", [(6, 8), (3, 4), (13, 5), (24, 32)])
def test_other_sizes_are_resized_as_pillow_does_in_floating_point(tmp_path: Path, size: tuple[int, int]) -> None:
    folder(tmp_path, {"a": 1, "b": 1})
    stored = np.asarray(Image.open(tmp_path / "a" / "00.png"), dtype=np.float32)
    expected = np.asarray(Image.fromarray(stored).resize(size[::-1], Image.Resampling.BILINEAR)) / 255
    found = pixels_of(open_images(tmp_path), "a/00.png", size)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(8, 6), (12, 5)])
def test_rows_for_columns_is_the_picture_that_monai_reads(tmp_path: Path, size: tuple[int, int]) -> None:
    transforms = pytest.importorskip("monai.transforms")
    path = save(folder(tmp_path, {"a": 1}) / "b" / "wide.png", noise(1))
    images = open_images(tmp_path, view=View(transpose=True))
    read = np.asarray(transforms.LoadImage("PILReader", image_only=True)(path), dtype=np.float32)
    assert read.shape == (8, 6) == images.size_of_first()
    expected = np.asarray(Image.fromarray(read).resize(size[::-1], Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(pixels_of(images, "b/wide.png", size)[0], expected, atol=1e-5)
    assert (images.view.flags, images.sha256 == open_images(tmp_path).sha256) == (("--transpose",), False)


# What is known of each image beside its pixels


def test_the_same_picture_is_recognised_in_any_file_depth_or_format(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 1, "b": 1})
    grey = noise(1)
    for name, pixels in (
        ("rgb.png", np.repeat(grey[..., None], 3, axis=2)),
        ("deep.png", grey.astype(np.uint16) * 257),
    ):
        save(tmp_path / "b" / name, pixels)
    save(tmp_path / "b" / "other.bmp", grey)
    turned = save(tmp_path / "b" / "turned.png", np.rot90(grey))
    refs = {ref.id: ref for ref in open_images(tmp_path).refs}
    hashes = {refs[f"{id_}"].pixel_sha256 for id_ in ("a/00.png", "b/rgb.png", "b/deep.png", "b/other.bmp")}
    assert len(hashes) == 1
    assert refs[turned.relative_to(tmp_path).as_posix()].pixel_sha256 not in hashes
    assert len({ref.sha256 for ref in refs.values()}) == 6, "the files' own bytes all differ"


def test_the_hash_of_pixels_knows_their_shape(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 1})
    grey = noise(1)
    save(tmp_path / "b" / "wide.png", grey.reshape(4, 12))
    first, second = (ref.pixel_sha256 for ref in open_images(tmp_path).refs)
    assert first != second


@pytest.mark.parametrize(("dtype", "levels"), [(bool, 1), (np.uint8, 255), (np.uint16, 65535)])
def test_levels_are_those_of_the_files_own_depth(tmp_path: Path, dtype: type, levels: int) -> None:
    """Every pixel of a file is a whole number of its levels; that is how an adversarial is rounded to what it holds."""
    folder(tmp_path, {"a": 1, "b": 1})
    pixels = noise(3).astype(np.int64) * 257 + 3 if dtype is np.uint16 else noise(3) > 99 if dtype is bool else noise(3)
    save(tmp_path / "b" / "deep.png", pixels.astype(dtype))
    images = open_images(tmp_path)
    ref = images.refs[-1]
    assert (ref.id, ref.levels) == ("b/deep.png", levels)
    counts = pixels_of(images, ref.id).astype(np.float64) * levels
    np.testing.assert_allclose(counts, counts.round(), atol=1e-2)


def test_the_patient_of_a_manifest_is_known_by_a_hash(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 2, "b": 2})
    rows = [
        ("a/00.png", "a", "Mustermann"),
        ("a/01.png", "a", ""),
        ("b/00.png", "b", "Mustermann "),
        ("b/01.png", "b", "7"),
    ]
    images = open_images(write_manifest(tmp_path / "m.csv", *rows, columns="path,label,patient_id"))
    first, unknown, again, other = (ref.patient for ref in images.refs)
    assert first == again != other
    assert unknown is None
    assert "Mustermann" not in repr(images)
    assert {ref.patient for ref in open_images(folder(tmp_path / "folder", {"a": 1, "b": 1})).refs} == {None}


# What cannot be read


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_an_unreadable_image_is_named_or_skipped_and_counted(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 2, "b": 1})
    (tmp_path / "a" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a/bad\.png: is no readable image .*--on-bad-image skip"):
        open_images(tmp_path)
    told = Told()
    images = open_images(tmp_path, on_bad_image="skip", progress=told)
    assert (len(images), images.n_skipped) == (3, 1)
    assert [line.split(":")[0] for line in told.lines] == ["skipped"]


def test_what_to_do_with_a_bad_image_is_one_of_two(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--on-bad-image ignore: wanted fail or skip"):
        open_images(folder(tmp_path, {"a": 2, "b": 2}), on_bad_image="ignore")


@pytest.mark.parametrize("change", [lambda path: save(path, noise(77)), lambda path: path.unlink()])
def test_an_image_that_changes_after_it_was_listed_is_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    images = open_images(folder(tmp_path, {"a": 1, "b": 1}))
    change(tmp_path / "a" / "00.png")
    with pytest.raises(DataError, match=r"a/00\.png: (changed while robaudit was running|cannot be read)"):
        images.load(images.refs[0], (6, 8))


# Splits


def parts_of(manifest: Path) -> dict[str, str]:
    """File name -> part, read without robaudit."""
    with manifest.open(newline="", encoding="utf-8") as file:
        return {f"{row['label']}/{Path(row['path']).name}": row["split"] for row in csv.DictReader(file)}


def test_a_split_is_stratified_60_20_20_and_complete(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"a": 20, "b": 10})
    write_split(data, tmp_path / "out" / "split.csv", seed=0)
    parts = parts_of(tmp_path / "out" / "split.csv")
    assert parts.keys() == set(ids(open_images(data)))
    counts = Counter((id_.split("/")[0], part) for id_, part in parts.items())
    assert counts == {
        ("a", "train"): 12, ("a", "val"): 4, ("a", "test"): 4, ("b", "train"): 6, ("b", "val"): 2, ("b", "test"): 2,
    }  # fmt: skip


def test_a_split_is_itself_data(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"a": 10, "b": 10})
    manifest = tmp_path / "out" / "split.csv"
    write_split(data, manifest, seed=0)
    assert has_splits(manifest)
    together = [ref for part in ("train", "val", "test") for ref in open_images(manifest, part).refs]
    assert sorted((ref.sha256, ref.label) for ref in together) == sorted(
        (ref.sha256, ref.label) for ref in open_images(data).refs
    )


def test_a_split_lists_what_could_not_be_read_so_that_audits_count_it(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"a": 5, "b": 5})
    (data / "a" / "bad.png").write_bytes(b"no image")
    (data / "a" / "no\x1ftext.png").write_bytes(b"nor this")
    (data / "b" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    manifest = tmp_path / "out" / "split.csv"
    write_split(data, manifest, seed=0, on_bad_image="skip")
    n_skipped = [open_images(manifest, part, on_bad_image="skip").n_skipped for part in ("train", "val", "test")]
    assert n_skipped == [0, 0, 2]
    with pytest.raises(DataError, match=r"bad\.png: is no readable image .*--on-bad-image skip"):
        open_images(manifest, "test")


def test_an_unreadable_image_stays_in_its_patients_part(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 10, "b": 10})
    for index in range(10):
        (tmp_path / "a" / f"bad-{index}.png").write_bytes(b"no image")
    names = ((name, label) for label, name in (("a", "a/{:02d}"), ("b", "b/{:02d}"), ("a", "a/bad-{}")))
    rows = [(f"{name.format(index)}.png", label, str(index)) for name, label in names for index in range(10)]
    data = write_manifest(tmp_path / "m.csv", *rows, columns="path,label,patient_id")
    write_split(data, tmp_path / "split.csv", seed=0, on_bad_image="skip")
    parts = parts_of(tmp_path / "split.csv")
    assert all(parts[f"a/bad-{index}.png"] == parts[f"a/{index:02d}.png"] for index in range(10))
    assert open_images(tmp_path / "split.csv", "train", on_bad_image="skip").n_skipped == 6


def test_a_split_keeps_the_names_of_images_wherever_it_and_they_lie(tmp_path: Path) -> None:
    data, moved = folder(tmp_path / "data", {"a": 10, "b": 10}), tmp_path / "else" / "where"
    shutil.copytree(data, moved)
    manifests = [tmp_path / "split.csv", tmp_path / "deeper" / "out" / "split.csv", tmp_path / "third.csv"]
    for source, manifest in zip((data, data, moved), manifests, strict=True):
        write_split(source, manifest, seed=0)
    found = [open_images(manifest, "test") for manifest in manifests]
    assert len({images.sha256 for images in found}) == 1
    assert {ref.id for ref in found[0].refs} < {ref.id for ref in open_images(data).refs}


@pytest.mark.parametrize("names", [("1.0", "2.0"), ("a ", " b"), ("=1+1", "x;y"), ("caf\u00e9", "cafe")])
def test_a_split_keeps_the_names_of_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    data = folder(tmp_path / "data", dict.fromkeys(names, 6))
    write_split(data, tmp_path / "split.csv", seed=0)
    parts = [open_images(tmp_path / "split.csv", part) for part in ("train", "val", "test")]
    assert {images.classes for images in parts} == {tuple(sorted(names))}
    assert sum(map(len, parts)) == 12


def test_a_split_that_is_to_be_kept_is_replaced_by_none_but_its_like(tmp_path: Path) -> None:
    data, moved, manifest = folder(tmp_path / "data", {"a": 10, "b": 10}), tmp_path / "moved", tmp_path / "split.csv"
    shutil.copytree(data, moved)
    write_split(data, manifest, seed=0, keep=True)
    write_split(moved, manifest, seed=0, keep=True)
    assert open_images(manifest, "train").refs[0].path.resolve().is_relative_to(moved)
    before = manifest.read_bytes()
    with pytest.raises(OutputError, match="stand on another split"):
        write_split(data, manifest, seed=1, keep=True)
    assert manifest.read_bytes() == before


def test_a_split_depends_on_bytes_and_seed_alone(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"a": 20, "b": 20})
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        write_split(data, tmp_path / f"{name}.csv", seed=seed)
    first = parts_of(tmp_path / "first.csv")
    assert first == parts_of(tmp_path / "again.csv")
    assert first != parts_of(tmp_path / "other.csv")
    # Renamed, an image stays in its part.
    renamed = tmp_path / "renamed"
    for index, ref in enumerate(reversed(open_images(data).refs)):
        target = renamed / ref.label / f"{index:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(ref.path.read_bytes())
    write_split(renamed, tmp_path / "renamed.csv", seed=0)
    by_bytes = {
        name: {ref.sha256: part for part in ("train", "val", "test") for ref in open_images(manifest, part).refs}
        for name, manifest in (("first", tmp_path / "first.csv"), ("renamed", tmp_path / "renamed.csv"))
    }
    assert by_bytes["first"] == by_bytes["renamed"]


def test_identical_files_stay_in_one_part_even_under_two_labels(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"a": 15, "b": 15})
    for index in range(10):
        content = (data / "a" / f"{index:02d}.png").read_bytes()
        (data / "a" / f"copy-{index}.png").write_bytes(content)
        (data / "b" / f"mislabelled-{index}.png").write_bytes(content)
    write_split(data, tmp_path / "split.csv", seed=0)
    seen: dict[str, set[str]] = {}
    for part in ("train", "val", "test"):
        for ref in open_images(tmp_path / "split.csv", part).refs:
            seen.setdefault(ref.sha256, set()).add(part)
    assert {len(parts) for parts in seen.values()} == {1}


def test_a_patient_stays_in_one_part(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 60, "b": 60})
    rows = [(f"{label}/{index:02d}.png", label, f"{index // 3}") for label in "ab" for index in range(60)]
    data = write_manifest(tmp_path / "m.csv", *rows, columns="path,label,patient_id")
    write_split(data, tmp_path / "out" / "split.csv", seed=0)
    patient_of = {id_: patient for id_, _, patient in rows}
    parts: dict[str, set[str]] = {}
    for id_, part in parts_of(tmp_path / "out" / "split.csv").items():
        parts.setdefault(patient_of[id_], set()).add(part)
    assert {len(found) for found in parts.values()} == {1}
    counts = Counter((id_[0], part) for id_, part in parts_of(tmp_path / "out" / "split.csv").items())
    assert counts == {(label, part): n for label in "ab" for part, n in (("train", 36), ("val", 12), ("test", 12))}
    known = {ref.patient for ref in open_images(tmp_path / "out" / "split.csv", "train").refs}
    assert known < {ref.patient for ref in open_images(data).refs}, "a split names the same patients"


def test_one_patient_for_all_cannot_be_split(tmp_path: Path) -> None:
    folder(tmp_path, {"a": 9, "b": 9})
    rows = [(f"{label}/{index:02d}.png", label, "same") for label in "ab" for index in range(9)]
    data = write_manifest(tmp_path / "m.csv", *rows, columns="path,label,patient_id")
    with pytest.raises(DataError, match=r"has 1 different image\(s\) of class a, too few to split"):
        write_split(data, tmp_path / "split.csv", seed=0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_class_too_small_to_split_is_named(tmp_path: Path, count: int) -> None:
    data = folder(tmp_path / "data", {"a": 10, "rare": count})
    with pytest.raises(DataError, match=rf"has {count} different image\(s\) of class rare, too few to split"):
        write_split(data, tmp_path / "split.csv", seed=0)
    assert not (tmp_path / "split.csv").exists()


def test_merged_classes_are_split_as_one(tmp_path: Path) -> None:
    data = folder(tmp_path / "data", {"a": 5, "b": 5, "c": 10})
    merge = {"ab": ["a", "b"]}
    write_split(data, tmp_path / "split.csv", seed=0, merge=merge)
    assert open_images(tmp_path / "split.csv", "train", merge=merge).per_class == {"ab": 6, "c": 6}


def test_the_picture_is_ready_for_a_network(tmp_path: Path) -> None:
    images = open_images(folder(tmp_path, {"a": 1, "b": 1}))
    picture = images.load(images.refs[0], (4, 4))
    assert (picture.dtype, picture.shape, picture.requires_grad) == (torch.float32, (1, 4, 4), False)
