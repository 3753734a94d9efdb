"""Patients of a training, met again in an audit."""

from dataclasses import replace
from pathlib import Path

import pytest

from robaudit.data.images import ImageRef, Images
from robaudit.data.learnt import LEARNT_FILE, Learnt, read_learnt, refuse_learnt_patients, write_learnt
from robaudit.errors import DataError, ModelError


def images(*patients: str | None) -> Images:
    refs = (
        ImageRef(f"{index}.png", Path(), "ab"[index % 2], str(index), f"pixels {patient}-{index}", patient=patient)
        for index, patient in enumerate(patients)
    )
    return Images(Path("data"), tuple(refs), ("a", "b"), 1)


def test_what_was_learnt_from_comes_back(tmp_path: Path) -> None:
    write_learnt(tmp_path, (images("p", None), images("q", "p")))
    learnt = read_learnt(tmp_path)
    assert learnt.patients == {"p", "q"}
    assert len(learnt.pictures) == 4
    assert read_learnt(tmp_path / "a model that says nothing") == Learnt()
    write_learnt(tmp_path, (images("r"),), learnt)
    assert read_learnt(tmp_path) == Learnt(learnt.patients | {"r"}, learnt.pictures | {"pixels r-0"})


def test_an_audit_on_a_patient_of_the_training_stops() -> None:
    learnt = Learnt(patients=frozenset({"p"}))
    refuse_learnt_patients(images("r", None, "s"), learnt, Path("model"))
    with pytest.raises(DataError, match=r"1 of 3 images are of patients that model has learnt from, such as 1\.png"):
        refuse_learnt_patients(images("r", "p", None), learnt, Path("model"))


def test_unknown_patients_are_nobody() -> None:
    unknown = replace(images(None, None), root=Path("other"))
    refuse_learnt_patients(unknown, Learnt(), Path("model"))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"patients": 1, "pictures": []}', "\x00"])
def test_a_damaged_list_is_not_taken_for_an_empty_one(tmp_path: Path, content: str) -> None:
    (tmp_path / LEARNT_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match="is damaged; assimilate again"):
        read_learnt(tmp_path)
