"""Pictures are read back from disk and compared with the images and the budget."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_scans import CLASSES, GRID, pixels, small_scan, write_model

from robaudit.attack.batching import Work
from robaudit.attack.curve import Measured
from robaudit.audit.gallery import PICTURES_PER_CLASS, gallery_ids, to_image, write_pictures
from robaudit.data.images import ImageRef, Images, open_images
from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.load.model import load_model
from robaudit.records import AuditRecord, ImageRow
from robaudit.retrofit.model_folder import write_model as write_retrofit

Finished = tuple[AuditRecord, Path]


def levels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), dtype=int)


def test_a_few_images_of_each_class_are_pictured(finished: Finished) -> None:
    record, out = finished
    labels = [item.label for item in record.artifacts]
    assert {name: labels.count(name) for name in CLASSES} == dict.fromkeys(CLASSES, PICTURES_PER_CLASS)
    files = [out / file for item in record.artifacts for file in item.files.values()]
    assert sorted(files) == sorted((out / "gallery").iterdir())
    assert all(not Path(file).is_absolute() for item in record.artifacts for file in item.files.values())


def test_the_original_is_the_image(finished: Finished, data: Path) -> None:
    record, out = finished
    for item in record.artifacts:
        assert (levels(out / item.files["original"]) == levels(data / item.id)).all()


def test_the_adversarial_picture_is_within_its_budget_and_the_difference_shows_it(finished: Finished) -> None:
    record, out = finished
    attacked = [item for item in record.artifacts if "adversarial" in item.files]
    assert attacked
    for item in attacked:
        original, adversarial = levels(out / item.files["original"]), levels(out / item.files["adversarial"])
        assert item.eps_255 in GRID
        assert 0 < abs(adversarial - original).max() <= item.eps_255
        assert item.attack in {attack.name for attack in record.attacks}
        assert item.adversarial_prediction not in (None, item.label)
        # Half a level is lost when the adversarial picture is rounded to 8 bits.
        expected = np.clip(127.5 + item.magnification * (adversarial - original), 0, 255)
        assert abs(levels(out / item.files["difference"]) - expected).max() <= item.magnification / 2 + 1


def test_the_attack_named_is_one_that_fooled_at_that_eps(finished: Finished) -> None:
    record, out = finished
    rows = {
        row.id: row for row in map(ImageRow.model_validate_json, (out / "images.jsonl").read_text().split("\n")[:-1])
    }
    for item in record.artifacts:
        if item.attack is not None:
            assert rows[item.id].fooled_at[item.attack] == item.eps_255
            assert item.eps_255 == min(at for at in rows[item.id].fooled_at.values() if at is not None)


def test_two_models_are_shown_on_the_same_images(finished: Finished, data: Path, tmp_path: Path) -> None:
    other = small_scan(write_model(tmp_path / "other", seed=1), data, tmp_path / "out", attacks=["fgsm"])
    assert other.model.sha256 != finished[0].model.sha256
    assert [item.id for item in other.artifacts] == [item.id for item in finished[0].artifacts]


@pytest.mark.parametrize("learnt_channels", [1, 3])
def test_a_retrofitted_model_is_shown_after_t_and_after_c(
    model: Path, data: Path, tmp_path: Path, learnt_channels: int
) -> None:
    """Learnt from grey images or from coloured ones, the images of the audit are grey."""
    vanilla = load_model(model)
    front = Front(learnt_channels, 3)
    whole = Classifier(vanilla.classifier.backbone, vanilla.classifier.normalization, in_chans=3, front=front)
    (tmp_path / "retrofit").mkdir()
    write_retrofit(tmp_path / "retrofit", whole, vanilla.info, image_channels=learnt_channels)
    record = small_scan(tmp_path / "retrofit", data, tmp_path / "out", attacks=["fgsm"])
    assert record.model.front is not None
    for item in record.artifacts:
        assert {"original", "texture", "colour"} <= item.files.keys()
        original = levels(tmp_path / "out" / item.files["original"])
        # T and C begin as no-ops: the picture after each is the image, in equal channels.
        for stage in ("texture", "colour"):
            shown = levels(tmp_path / "out" / item.files[stage])
            assert (shown.reshape(*original.shape, -1) == original[..., None]).all()


def refs(label: str, count: int) -> tuple[ImageRef, ...]:
    return tuple(
        ImageRef(f"{label}/{index}", Path(), label, f"{index * 7 % count:02d}{label}") for index in range(count)
    )


@pytest.mark.parametrize("n_classes", [2, 3, 8, 30])
def test_many_classes_do_not_make_many_pictures(n_classes: int) -> None:
    classes = tuple(f"class{index:02d}" for index in range(n_classes))
    images = Images(Path(), tuple(ref for name in classes for ref in refs(name, 5)), classes, 1)
    assert len(gallery_ids(images)) == {2: 4, 3: 6, 8: 8, 30: 8}[n_classes]


def test_which_images_are_shown_does_not_depend_on_their_order() -> None:
    every = refs("a", 9) + refs("b", 9)
    images, backwards = Images(Path(), every, ("a", "b"), 1), Images(Path(), every[::-1], ("a", "b"), 1)
    assert gallery_ids(images) == gallery_ids(backwards)


def test_an_image_that_was_not_fooled_shows_no_adversarial_picture(model: Path, data: Path, tmp_path: Path) -> None:
    images = open_images(data)
    row = ImageRow(id=images.refs[0].id, sha256="", label="ill", prediction="ill", fooled_at={"fgsm": None})
    item = write_pictures(tmp_path, load_model(model), images, images.refs[0], Measured(row, Work(), 8), GRID)
    assert item.files.keys() == {"original"}
    assert (item.attack, item.eps_255, item.adversarial_prediction) == (None, None, None)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_rounded_to_the_nearest_level_and_clipped(channels: int) -> None:
    picture = torch.tensor([-0.2, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 1.3]).expand(channels, 2, 6)
    found = np.asarray(to_image(picture))
    assert found.shape == ((2, 6) if channels == 1 else (2, 6, 3))
    assert found.reshape(2, 6, -1)[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


def test_names_of_pictures_are_safe_whatever_the_class_is_called(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for index, label in enumerate(("<img src=x onerror=alert(1)>", "a b%20&'\"")):
        (root / label).mkdir(parents=True)
        Image.fromarray(pixels(index)).save(root / label / "x y.png")
    record = small_scan(
        model, root, tmp_path / "out", attacks=["fgsm"], classes=["<img src=x onerror=alert(1)>", "a b%20&'\""]
    )
    names = [file for item in record.artifacts for file in item.files.values()]
    assert all(name.replace("gallery/", "").replace("-", "").replace(".", "").isalnum() for name in names)
