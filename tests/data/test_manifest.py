"""Tables of images: written here as a person would, read back as images."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robaudit.data import stored
from robaudit.data.images import open_images
from robaudit.data.listing import has_splits
from robaudit.data.manifest import read_manifest
from robaudit.data.patients import patient_key
from robaudit.errors import DataError, ModelError
from robaudit.load.classes import class_names


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8), dtype=np.uint8)).save(path)
    return path


def pictures(root: Path, n: int) -> list[Path]:
    return [picture(root / f"{index}.png", index) for index in range(n)]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pictures(tmp_path, 3)
    csv = write(
        tmp_path / "m.csv",
        "path,label,split,patient_id,age",
        "0.png,1,train,17,70",
        "1.png,0,test,,80",
        "2.png,0,val,18,",
    )
    columns = {
        "path": ["0.png", "1.png", "2.png"],
        "label": [1, 0, 0],
        "split": ["train", "test", "val"],
        "patient_id": [17, None, 18],
        "age": [70, 80, None],
    }
    # As pandas writes whole numbers where one is missing: as such, the two tables agree.
    columns["patient_id"] = pyarrow.array(columns["patient_id"], pyarrow.int64())
    parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet") == read_manifest(csv)
    assert has_splits(tmp_path / "m.parquet")


def test_damaged_parquet_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "m.parquet").write_bytes(b"PAR1" + bytes(range(100)))
    with pytest.raises(DataError, match="is damaged Parquet"):
        read_manifest(tmp_path / "m.parquet")


@pytest.mark.parametrize("path", ["../secret/0.png", "a/../../secret/0.png", "{root}/secret/0.png"])
def test_a_path_that_leaves_the_manifests_folder_is_refused(tmp_path: Path, path: str) -> None:
    """A table from a stranger must not decide which of the auditor's images end up in a report."""
    pictures(tmp_path / "secret", 2)
    lines = ["path,label", f"{path.format(root=tmp_path)},a"]
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=r"line 2 leaves its folder .*move the manifest above the images"):
        read_manifest(write(tmp_path / "data" / "m.csv", *lines))


def test_who_knows_the_bytes_may_name_a_file_anywhere(tmp_path: Path) -> None:
    first, second = pictures(tmp_path / "elsewhere", 2)
    (tmp_path / "data").mkdir()
    lines = ["path,label,sha256", f"../elsewhere/0.png,a,{sha256(first)}", f"{second},b,{sha256(second).upper()}"]
    manifest = write(tmp_path / "data" / "m.csv", *lines)
    assert len(open_images(manifest)) == 2
    picture(second, 99)
    with pytest.raises(DataError, match=r"1\.png: is not the file that the manifest means"):
        open_images(manifest)


def test_what_a_row_does_not_mean_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path, 2)
    decoded: list[Path] = []
    monkeypatch.setattr(stored, "decode", lambda data, file: decoded.append(file))
    manifest = write(tmp_path / "m.csv", "path,label,sha256", f"0.png,a,{'0' * 64}", f"1.png,b,{'0' * 64}")
    with pytest.raises(DataError, match=r"0\.png: is not the file that the manifest means"):
        open_images(manifest)
    assert not decoded


def test_an_absolute_path_below_the_manifest_is_its_own(tmp_path: Path) -> None:
    first, second = pictures(tmp_path / "x", 2)
    assert len(open_images(write(tmp_path / "m.csv", "path,label", f"{first},a", f"{second},b"))) == 2


def test_a_patient_in_training_and_test_stops_everything(tmp_path: Path) -> None:
    pictures(tmp_path, 6)
    rows = [
        "0.png,a,train,Mustermann",
        "1.png,b,train,B",
        "2.png,a,test,C",
        "3.png,b,test,Mustermann",
        "4.png,a,val,",
        "5.png,b,val,B",
    ]
    manifest = write(tmp_path / "m.csv", "path,label,split,patient_id", *rows)
    for part in ("train", "val", "test"):
        with pytest.raises(
            DataError, match=r"1 patient\(s\) are in test and in train or val, such as 3\.png"
        ) as refusal:
            open_images(manifest, part)
        assert "Mustermann" not in str(refusal.value)
    for nobody in ("", "unknown", "NaN", "None", "n/a"):
        unknown = (row.replace("Mustermann", nobody) for row in rows)
        without = write(tmp_path / "n.csv", "path,label,split,patient_id", *unknown)
        assert len(open_images(without, "test")) == 2, "unknown patients are not one patient"


# As other programs write them


ROWS = (("path", "label", "split"), ("x/0.png", "gutartig", "train"), ("x/ä b.png", "bösartig", "test"))


def table(separator: str = ",", newline: str = "\n", encoding: str = "utf-8") -> bytes:
    return "".join(separator.join(row) + newline for row in ROWS).encode(encoding)


@pytest.mark.parametrize(
    "content",
    [
        table(encoding="utf-8-sig"),
        table(";", "\r\n"),
        table("\t"),
        table("|"),
        table(encoding="utf-16"),
        table(";", "\r\n", "cp1252"),
        '"path","label","split"\n"x/0.png","gutartig","train"\n"x/ä b.png","bösartig","test"\n'.encode(),
        table().replace(b"path,label,split", b" Path ,LABEL,Split"),
        table().replace(b",", b" , "),
        table().replace(b"x/", b"x\\"),
        table() + b"\n\n,,\n",
        table().replace(b"path", b",path").replace(b"x/", b"7,x/"),
        table().replace(b"path", b"Unnamed: 0,path").replace(b"x/", b"7,x/"),
    ],
)
def test_a_table_of_any_program_says_the_same(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    rows = read_manifest(tmp_path / "m.csv")
    assert [(row.id, row.label, row.split) for row in rows] == list(ROWS[1:])
    assert [row.path for row in rows] == [tmp_path / "x" / "0.png", tmp_path / "x" / "ä b.png"]


def test_a_name_may_hold_what_separates(tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.csv", "path,label", '"a, b.png","left, ""upper"""', "c;d.png,e")
    assert [(row.id, row.label) for row in read_manifest(manifest)] == [
        ("a, b.png", 'left, "upper"'),
        ("c;d.png", "e"),
    ]


def test_a_backslash_may_be_part_of_a_name(tmp_path: Path) -> None:
    picture(tmp_path / "a\\b.png", 0)
    assert read_manifest(write(tmp_path / "m.csv", "path,label", "a\\b.png,x"))[0].path == tmp_path / "a\\b.png"


def test_whole_numbers_stay_whole_whatever_pandas_makes_of_them(tmp_path: Path) -> None:
    """A patient who is 17 in one table and 17.0 in another would not be found in both."""
    found = read_manifest(write(tmp_path / "m.csv", "path,label,patient_id", "0.png,1.0,17.0", "1.png,0.0,"))
    assert [(row.label, row.patient) for row in found] == [("1", patient_key("17")), ("0", None)]
    versions = read_manifest(write(tmp_path / "m.csv", "path,label", "0.png,1.0", "1.png,1.0.1"))
    assert [row.label for row in versions] == ["1.0", "1.0.1"], "names, not numbers"


def test_pandas_itself(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"Path": ["0.png", "1.png", "2.png"], "label": [True, False, True]})
    frame["patient_id"] = [17, None, 18]
    frame.to_csv(tmp_path / "m.csv")
    frame.to_parquet(tmp_path / "m.parquet")
    rows = read_manifest(tmp_path / "m.csv")
    assert rows == read_manifest(tmp_path / "m.parquet")
    assert [row.label for row in rows] == ["True", "False", "True"]
    assert [row.patient for row in rows] == [patient_key("17"), None, patient_key("18")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (('0.png,a,"t\nset"',), "line 3 has split t set, wanted one of"),
        (('"../a\nb.png",a,test',), r"line 3 leaves its folder \(\.\./a b\.png\)"),
        (("0.png,a,test", "1.png,b,", "2.png,b,"), "2 of 3 rows have no split, such as line 3, while others do"),
        (("0.png,a,tset",), "line 2 has split tset, wanted one of train, training, val,"),
        (("0.png,left, upper,test",), "line 2 has 4 cells under 3 column names; quote those that hold a separator"),
        (("0.png,a,", "", "./0.png,b,"), r"lists 0\.png 2 times \(lines 2, 4\); keep one row per image"),
        ((r"..\secret\0.png,a,",), "line 2 leaves its folder"),
        ((r"C:\data\0.png,a,", "1.png,b,"), r"line 2: .*C:/data/0\.png: cannot be read \(No such file"),
    ],
)
def test_a_faulty_row_is_named_by_its_number(tmp_path: Path, lines: tuple[str, ...], expected: str) -> None:
    picture(tmp_path / "1.png", 1)
    with pytest.raises(DataError, match=expected) as refusal:
        open_images(write(tmp_path / "m.csv", "path,label,split", *lines))
    assert "\n" not in str(refusal.value)


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    """A table that robaudit wrote says what they were called; of one name, one would stand for both."""
    rows = (f"{picture(tmp_path / name, 1).name},a,x" for name in ("0.png", "1.png"))
    with pytest.raises(DataError, match=r"lists x 2 times \(lines 2, 3\)"):
        read_manifest(write(tmp_path / "m.csv", "path,label,robaudit_id", *rows))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"path,label,Path\n0.png,a,b\n", "has 2 columns path; keep one"),
        ("path,label\n0.png,a\n".encode("utf-16-le"), r"\(is no text\); save the table as CSV in UTF-8 or as Parquet"),
        (b"", "has columns none, wanted path and label .*; name them so in its first line"),
        (b'"pa\nth",label\n0.png,a\n', "^[^\n]*has columns pa th, label, wanted path and label[^\n]*$"),
    ],
)
def test_what_is_no_table_of_images_is_said(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(DataError, match=expected):
        read_manifest(tmp_path / "m.csv")


def test_a_label_that_the_model_does_not_know_is_named_with_an_image(tmp_path: Path) -> None:
    pictures(tmp_path, 2)
    manifest = write(tmp_path / "m.csv", "path,label", "0.png,ill", "1.png,Well")
    with pytest.raises(DataError, match=r"holds class Well, the model knows ill, well; rename .*that of 1\.png"):
        open_images(manifest, classes=("ill", "well"))


def test_numbers_in_the_order_of_names_are_not_taken_for_the_order_of_outputs() -> None:
    sorted_as_names = ("0", "1", "10", "2")
    with pytest.raises(ModelError, match=r"pass --classes with the order of the outputs, such as 0,1,2,10"):
        class_names(Path("model.pt"), 4, None, (), sorted_as_names)
    assert class_names(Path("model.pt"), 4, sorted_as_names, (), sorted_as_names) == sorted_as_names
    assert class_names(Path("model.pt"), 3, None, (), ("0", "1", "2")) == ("0", "1", "2")
