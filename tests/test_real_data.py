"""The models and images this was built for; only where they are at hand."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from robaudit.audit.scan import scan
from robaudit.data.images import open_images
from robaudit.data.listing import has_splits
from robaudit.data.view import View
from robaudit.errors import SettingsError
from robaudit.job.run import run
from robaudit.load.model import load_model
from robaudit.preprocessing.check import check_preprocessing
from robaudit.progress import Silent
from robaudit.records import read_audit

SHARED = Path(__file__).parents[2] / "shared"
CHEST_CT = SHARED / "data" / "chest-ct"
RESNET18 = SHARED / "models" / "chest-ct-resnet18.pt"

pytestmark = pytest.mark.skipif(not CHEST_CT.is_dir(), reason="needs ../shared/data and ../shared/models")


def test_the_chest_ct_state_dict_is_recognised_and_answers_as_timm_does() -> None:
    loaded = load_model(RESNET18, folder_classes=("cancer", "no-cancer"))
    assert (loaded.info.arch, loaded.info.n_classes, loaded.size) == ("resnet18", 2, (224, 224))
    assert loaded.info.sha256 == hashlib.sha256(RESNET18.read_bytes()).hexdigest()
    network = timm.create_model("resnet18", num_classes=2).eval()
    network.load_state_dict(torch.load(RESNET18, weights_only=True))
    grey = torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    rgb = (grey.expand(-1, 3, -1, -1) - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(loaded.classifier(grey), network(rgb))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_leaked"), [("chest-ct", 10), ("breast-us", 0)])
def test_every_part_of_the_data_sets_is_read(name: str, n_leaked: int) -> None:
    """Of chest CT, ten test images are, byte for byte, in train or val too: whoever quotes a figure must know."""
    data = SHARED / "data" / name
    assert has_splits(data)
    parts = {part: open_images(data, part) for part in ("train", "val", "test")}
    for part, images in parts.items():
        assert len(images) == len([path for path in (data / part).rglob("*") if path.is_file()])
        assert images.classes == ("cancer", "no-cancer")
        assert images.channels == 1
    learned_from = {ref.sha256 for part in ("train", "val") for ref in parts[part].refs}
    assert sum(ref.sha256 in learned_from for ref in parts["test"].refs) == n_leaked


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TWICE = {"mean": [m * (1 + s) for m, s in zip(MEAN, STD, strict=True)], "std": [s * s for s in STD]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stated", "view", "named"),
    [
        ({}, View(), None),
        ({"mean": [0.0] * 3, "std": [1.0] * 3}, View(), r"pass --mean 0\.485,0\.456,0\.406 --std 0\.229,"),
        (TWICE, View(), r"pass --mean 0\.485,0\.456,0\.406 --std 0\.229,"),
        ({"classes": ("no-cancer", "cancer")}, View(), "--classes cancer,no-cancer"),
        ({}, View(invert=True), "pass .*no --invert"),
    ],
    ids=["right", "no normalisation", "twice", "class order", "negative"],
)
def test_a_planted_mistake_is_found_on_the_chest_ct_model(
    stated: dict[str, Any], view: View, named: str | None
) -> None:
    images = open_images(CHEST_CT / "test", view=view)
    loaded = load_model(RESNET18, folder_classes=images.classes, **stated)
    images = images.ordered_as(loaded.info.classes)
    if named is None:
        assert check_preprocessing(loaded, images, Silent()).status == "passed"
        return
    with pytest.raises(SettingsError, match=named) as refusal:
        check_preprocessing(loaded, images, Silent())
    print(refusal.value)


@pytest.mark.slow
def test_the_readmes_clean_accuracy_is_met(tmp_path: Path) -> None:
    """Clean accuracy by a plain loop, with timm's network and the images as decoded."""
    record = scan(RESNET18, CHEST_CT / "test", out=tmp_path, attacks=["fgsm"], eps=[8], limit=40)
    rows = [json.loads(line) for line in (tmp_path / "images.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    images = open_images(CHEST_CT / "test")
    loaded = load_model(RESNET18, folder_classes=images.classes)
    refs = {ref.id: ref for ref in images.refs}
    with torch.no_grad():
        for row in rows:
            logits = loaded.classifier(images.load(refs[row["id"]], (224, 224))[None])
            assert images.classes[int(logits.argmax())] == row["prediction"]
    assert record.clean.n_images == 40
    assert record.clean.n_correct > 24
    assert record.worst_case.points[0].n_correct < record.clean.n_correct


@pytest.mark.slow
def test_the_whole_job_on_a_few_slices(tmp_path: Path) -> None:
    page = run(
        RESNET18, CHEST_CT, out=tmp_path, reading={"limit": 12}, training={"epochs": 1, "batch_size": 4},
        scanning={"attacks": ["fgsm", "bim"], "eps": [1, 8], "positive": "cancer"},
    )  # fmt: skip
    assert page.is_file()
    before, after = (read_audit(tmp_path / stage / "audit.json") for stage in ("before", "after"))
    assert before.data.sha256 == after.data.sha256
    assert before.data.n_images == 12
    assert after.model.front is not None
