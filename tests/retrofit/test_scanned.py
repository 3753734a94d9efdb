"""A retrofit is scanned by its folder alone: what was said of the model before it need not be said again."""

import pytest
import timm
import torch

from robaudit.audit.scan import scan
from robaudit.errors import ModelError
from robaudit.load import surrogate
from robaudit.load.model import load_model
from robaudit.load.surrogate import load_surrogate
from robaudit.progress import Silent
from robaudit.retrofit.assimilate import assimilate

QUICK = {"epochs": 1, "batch_size": 8, "trains": "front", "alpha": 1.0}
CHEAP = {"attacks": ["fgsm"], "eps": [4], "limit": 4, "check_sample": 2}


@pytest.fixture(scope="module")
def finding(data, tmp_path_factory):
    """A retrofit of one of four findings, present in images of the first class by name: and its folder."""
    folder = tmp_path_factory.mktemp("finding")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet", num_classes=4).state_dict(), folder / "four.pt")
    said = {"arch": "test_resnet", "label_index": 1, "classes": ["down", "across"], "input_size": (40, 40)}
    record = assimilate(folder / "four.pt", data, out=folder / "out", normalization="half", **said, **QUICK)
    return folder / "out", record


def test_a_finding_is_audited_in_its_own_order_with_the_model_before_as_surrogate(finding, data, tmp_path):
    folder, trained = finding
    audit = scan(folder, data / "val", out=tmp_path / "audit", **(CHEAP | {"limit": None}))
    assert audit.model.classes == ("down", "across")
    assert audit.clean.n_correct == trained.best.val.n_correct
    assert audit.surrogate.sha256 == trained.vanilla.sha256
    checks = {check.id: check.status for check in audit.checks}
    assert checks["transfer"] != "not_applicable"


def test_the_surrogate_answers_as_the_model_before_the_retrofit(finding):
    """On the retrofit's grid, by its normalisation, finding and classes."""
    pictures = torch.rand(4, 1, 40, 40)
    found = load_surrogate(None, load_model(finding[0]), pictures, Silent())
    network = timm.create_model("test_resnet", num_classes=4).eval()
    network.load_state_dict(torch.load(finding[0].parent / "four.pt"))
    with torch.no_grad():
        z = network((pictures.expand(-1, 3, -1, -1) - 0.5) / 0.5)[:, 1:2]
        torch.testing.assert_close(found.network(pictures), torch.cat([-z / 2, z / 2], 1))


def test_where_the_model_before_cannot_be_loaded_the_retrofit_is_audited_without_it(
    finding, data, tmp_path, monkeypatch, heard_lines
):
    """It may have taken words that a retrofit does not keep, such as --trust."""

    def refuse(*_, **__):
        raise ModelError("four.pt: is a pickled module")

    monkeypatch.setattr(surrogate, "load_model", refuse)
    audit = scan(finding[0], data / "val", out=tmp_path / "audit", progress=heard_lines, **CHEAP)
    assert audit.surrogate is None
    assert {check.id: check.status for check in audit.checks}["transfer"] == "not_applicable"
    assert any(line.startswith("four.pt: is a pickled module; no transfer check") for line in heard_lines.lines)
