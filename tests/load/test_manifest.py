"""Tables of images: written here as a person would, read back as images."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robaudit.errors import DataError
from robaudit.load.images import open_images
from robaudit.load.listing import has_splits
from robaudit.load.manifest import read_manifest


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
        "path,label,split,patient_id,weight",
        "0.png,1,train,17,0.5",
        "1.png,0,test,,2",
        "2.png,0,val,18,",
    )
    columns = {
        "path": ["0.png", "1.png", "2.png"],
        "label": [1, 0, 0],
        "split": ["train", "test", "val"],
        "patient_id": [17, None, 18],
        "weight": [0.5, 2.0, None],
        "age": [70, 80, 90],
    }
    # As pandas writes whole numbers where one is missing: as such, the two tables agree.
    columns["patient_id"] = pyarrow.array(columns["patient_id"], pyarrow.int64())
    parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet") == read_manifest(csv)
    assert [row.weight for row in read_manifest(csv)] == [0.5, 2.0, 1.0]
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


def test_an_absolute_path_below_the_manifest_is_its_own(tmp_path: Path) -> None:
    first, second = pictures(tmp_path / "x", 2)
    assert len(open_images(write(tmp_path / "m.csv", "path,label", f"{first},a", f"{second},b"))) == 2


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "heavy"])
def test_a_weight_is_a_number(tmp_path: Path, weight: str) -> None:
    with pytest.raises(DataError, match=f"line 2 has weight {weight}; wanted a number from 0"):
        read_manifest(write(tmp_path / "m.csv", "path,label,weight", f"0.png,a,{weight}"))


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
    unknown = write(tmp_path / "n.csv", "path,label,split,patient_id", *(row.replace("Mustermann", "") for row in rows))
    assert len(open_images(unknown, "test")) == 2, "unknown patients are not one patient"
