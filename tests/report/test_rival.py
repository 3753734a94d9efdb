"""What T and C add over the same training without them, where the folders of both models tell how they were made."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_audits import audit_of_folder, make_model, make_record, make_rows, make_training, write_audit

from robaudit.records import AuditRecord, Verdict
from robaudit.report.comparison import read_comparison
from robaudit.report.history import read_history
from robaudit.report.retrofit_folder import recorded_training
from robaudit.report.rival import rivals

SETTINGS = {"robust": "fgsm", "epochs": 9, "seed": 0, "alpha": 0.9, "front": "T+C", "patch": 20}


def trained(folder: Path, *, front: bool, modules: str = "T+C", **changes: Any) -> AuditRecord:
    """A model folder with its training.json; the audit record of it, without images."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"front": front}))
    (folder / "model.safetensors").write_bytes(folder.name.encode())
    alone = {} if front else {"front": "none", "alpha": 1.0}
    told: dict[str, Any] = {
        "settings": SETTINGS | alone | changes.pop("settings", {}),
        "modules": modules if front else "none",
        "seconds": 420.0 if front else 300.0,
    }
    (folder / "training.json").write_text(json.dumps(make_training(**told | changes)))
    record = audit_of_folder(folder)
    return record if front else record.model_copy(update={"model": record.model.model_copy(update={"front": None})})


def audit(folder: Path, resistance: float, *, front: bool, verdict: str = "measured", **changes: Any) -> Path:
    """An audit of such a model."""
    model = trained(folder / "model", front=front, **changes).model
    rows = make_rows(resistance=resistance, seed=1 + front, n_per_class=40)
    record = make_record(rows, model=model, verdict=Verdict(kind=verdict, sentence="Made up."))
    return write_audit(folder / "audit", record, rows)


def sentence(alone: Path, with_front: Path) -> str:
    return read_comparison(alone, with_front).verdict.sentences[0]


TOOK = " Training took 7 min 00 s with T and C and 5 min 00 s without."


def test_a_gain_over_the_rival_is_said_to_be_what_t_and_c_add(tmp_path: Path):
    alone, with_front = audit(tmp_path / "alone", 3, front=False), audit(tmp_path / "both", 40, front=True)
    assert sentence(alone, with_front) == (
        "T and C add robust accuracy at 2–8/255, over the same adversarial fine-tuning without them; no evidence of a "
        "difference at 1/255 (exact McNemar tests, Holm’s correction over 8 eps)." + TOOK
    )
    page = read_comparison(alone, with_front)
    assert not any("not known" in said for said in page.verdict.sentences)
    assert (page.names.before, page.names.after) == ("fine-tuned", "assimilated")
    assert not page.verdict.alarms, "made from vanilla, not from its rival"


def test_where_the_folders_are_out_of_reach_nothing_is_said_of_the_first_model(tmp_path: Path):
    """The records name them from a working folder that is not this one's."""
    alone, with_front = audit(tmp_path / "alone", 3, front=False), audit(tmp_path / "both", 40, front=True)
    (tmp_path / "alone" / "model").rename(tmp_path / "moved")
    page = read_comparison(alone, with_front)
    assert (page.names.before, page.names.after) == ("before", "assimilated")
    assert page.verdict.sentences[-1] == (
        "What T and C add over the same (adversarial) fine-tuning without them is not known from these audits: whether "
        "the first is of that (assimilate --front none) is told by the folders of both models, which must be reachable "
        "under the paths in the records."
    )
    assert "vanilla" not in " ".join([page.title, page.verdict.headline, *page.verdict.sentences]).lower()
    [alarm] = page.verdict.alarms
    assert alarm.title == "The assimilated model was made from another model"


def test_a_loss_is_said_as_plainly(tmp_path: Path):
    said = sentence(audit(tmp_path / "alone", 40, front=False), audit(tmp_path / "both", 2, front=True))
    assert said.startswith("T and C cost robust accuracy at ")


def test_without_a_difference_nothing_is_claimed(tmp_path: Path):
    said = sentence(audit(tmp_path / "alone", 3, front=False), audit(tmp_path / "both", 3, front=True))
    assert said == (
        "No evidence that T and C add anything over the same adversarial fine-tuning without them (exact McNemar "
        "tests, Holm’s correction over 8 eps)." + TOOK
    )


def test_an_inconclusive_audit_leaves_it_unknown(tmp_path: Path):
    said = sentence(
        audit(tmp_path / "alone", 3, front=False), audit(tmp_path / "both", 40, front=True, verdict="inconclusive")
    )
    assert said == (
        "What T and C add over the same adversarial fine-tuning without them is not known: an audit is inconclusive."
        + TOOK
    )


def test_trainings_that_differ_are_not_called_the_same(tmp_path: Path):
    """What only T and C have use for, such as alpha, is no difference."""
    alone = audit(tmp_path / "alone", 3, front=False, settings={"epochs": 12})
    said = sentence(alone, audit(tmp_path / "t", 3, front=True, modules="T", seconds=60))
    assert said == (
        "No evidence that T adds anything over adversarial fine-tuning without it (exact McNemar tests, Holm’s "
        "correction over 8 eps). The trainings differ in epochs (12 against 9). Training took 1 min 00 s with T and "
        "5 min 00 s without."
    )


def test_another_normalisation_size_or_number_of_workers_is_not_the_same_training(tmp_path: Path):
    def vanilla(mean: float, side: int) -> dict[str, Any]:
        return {"normalization": {"mean": [mean] * 3, "std": [0.5] * 3}, "input": {"height": side, "width": 224}}

    alone = audit(tmp_path / "alone", 3, front=False, vanilla=vanilla(0.5, 224), workers=2)
    said = sentence(alone, audit(tmp_path / "both", 3, front=True, vanilla=vanilla(0.1, 192)))
    assert "anything over adversarial fine-tuning without them" in said
    assert (
        "The trainings differ in input size (224x224 against 192x224), mean (0.5 0.5 0.5 against 0.1 0.1 0.1) and "
        "workers (2 against 1)."
    ) in said


NO_RIVALS = {
    "another network": {"vanilla": {"sha256": "d" * 64}},
    "other images": {"train": {"sha256": "d" * 64}},
    "clean images": {"settings": {"robust": "none"}},
}


@pytest.mark.parametrize("changes", NO_RIVALS.values(), ids=list(NO_RIVALS))
def test_a_training_of_something_else_is_no_rival(tmp_path: Path, changes: dict[str, Any]):
    both = recorded_training(trained(tmp_path / "both", front=True))
    for name, changed in (("alone", {}), ("of something else", changes)):
        alone = recorded_training(trained(tmp_path / name, front=False, **changed))
        assert alone is not None
        assert (rivals(alone, both) is None) == (changed is changes)


def test_only_the_one_without_t_and_c_is_the_rival(tmp_path: Path):
    alone, both = (recorded_training(trained(tmp_path / str(front), front=front)) for front in (False, True))
    assert rivals(alone, both) is not None
    assert rivals(both, alone) is rivals(alone, alone) is rivals(both, both) is None


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_a_recipe_that_is_missing_or_damaged_tells_nothing(tmp_path: Path, content: bytes | None):
    record = trained(tmp_path / "both", front=True)
    file = tmp_path / "both" / "training.json"
    file.unlink() if content is None else file.write_bytes(content)
    assert recorded_training(record) is None


def test_a_folder_that_was_trained_anew_tells_nothing(tmp_path: Path):
    record = trained(tmp_path / "both", front=True)
    (tmp_path / "both" / "model.safetensors").write_bytes(b"other weights")
    assert recorded_training(record) is None


def test_vanilla_rival_and_assimilated_stand_on_one_page(tmp_path: Path):
    rows = make_rows(resistance=1.5, seed=5, n_per_class=40)
    vanilla = write_audit(tmp_path / "vanilla" / "audit", make_record(rows, model=make_model()), rows)
    alone = audit(tmp_path / "robust-fine-tuning", 6, front=False)
    both = audit(tmp_path / "robust", 40, front=True)
    page = read_history([vanilla, alone, both])
    assert page.verdict.sentences[0].startswith(
        "robust/audit against robust-fine-tuning/audit: T and C add robust accuracy at "
    )
    assert len([text for text in page.verdict.sentences if "T and C" in text]) == 1


def test_of_several_pairs_on_one_page_the_tests_are_corrected_together(tmp_path: Path):
    """What one pair alone would show is more often luck, the more pairs are asked."""
    alone, both = audit(tmp_path / "alone", 6, front=False), audit(tmp_path / "both", 11, front=True)
    others = [audit(tmp_path / f"both-{seed}", 6, front=True) for seed in range(8)]
    assert "T and C add robust accuracy" in sentence(alone, both)
    said = [text for text in read_history([alone, both, *others]).verdict.sentences if "T and C" in text]
    assert len(said) == 9
    assert all("Holm’s correction over the 72 tests of all such pairs)" in text for text in said)
    assert "No evidence that T and C add anything" in said[0]
