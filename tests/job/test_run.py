"""The whole job on phantoms, made small: fewer images and epochs than the demo, the same code."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from robaudit.attack.threats import EPS_GRID
from robaudit.audit.scan import plan_of
from robaudit.cli import main as command_line
from robaudit.cli.progress import _Bar
from robaudit.data.images import open_images
from robaudit.errors import DataError, OutputError, SettingsError
from robaudit.files import write_text
from robaudit.job import demo as demo_module
from robaudit.job import phantoms, small_classifier
from robaudit.job import run as run_module
from robaudit.job.demo import demo
from robaudit.job.estimate import gradients_per_image, scan_seconds
from robaudit.job.run import Stages, _say_overlap, run
from robaudit.records import AuditRecord, Verdict, read_audit
from robaudit.report.status import STAGES


class Told(_Bar):
    """The bar that a person watches; keeps what it is told, and stops where it is told so."""

    def __init__(self, stop_at: str = "nowhere") -> None:
        super().__init__()
        self.lines: list[str] = []
        self._stop_at = stop_at

    def say(self, line: str) -> None:
        super().say(line)
        self.lines.append(line)
        if line.startswith(self._stop_at):
            raise KeyboardInterrupt


@pytest.fixture(scope="module", autouse=True)
def small() -> pytest.MonkeyPatch:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantoms, "PER_CLASS", {"train": 8, "val": 3, "test": 2})
        patch.setattr(small_classifier, "EPOCHS", 2)
        patch.setattr(demo_module, "EPOCHS", 1)
        patch.setattr(demo_module, "run", shortened)
        yield patch


def shortened(*arguments: Any, scanning: dict[str, Any], **options: Any) -> Path:
    """The job of the demo on a short grid, its checks on an image of each class: every attack, stage and page."""
    return run(*arguments, scanning=scanning | {"eps": [2, 8], "check_sample": 2}, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """A finished demo; only to be read."""
    out, told = tmp_path_factory.mktemp("demo") / "out", Told()
    assert demo(out=out, progress=told, command="robaudit demo") == out / "report" / "index.html"
    return out, told


# The demo


def test_the_demo_leaves_every_stage_and_a_page(finished: tuple[Path, Told]) -> None:
    out, _ = finished
    stages = {"before", "assimilated", "after", "assimilated-without-glcm", "without-glcm", "report"}
    assert {path.name for path in out.iterdir()} == stages | {"data", "model"}
    assert stages == STAGES.keys(), "or status says nothing of one"
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    before, after = (read_audit(out / stage / "audit.json") for stage in ("before", "after"))
    assert before.data.sha256 == after.data.sha256
    assert before.data.n_images == after.data.n_images == 4
    assert after.model.front is not None
    assert after.model.front.vanilla.sha256 == before.model.sha256
    asked = [[attack.name for attack in audit.attacks if attack.added_by is None] for audit in (before, after)]
    assert asked[0] == asked[1]
    assert before.data.positive == after.data.positive == "lesion"
    assert [attack.name for attack in before.attacks if attack.added_by is None] == [
        "fgsm", "bim", "mifgsm", "pgd", "apgd-margin", "square",
    ]  # fmt: skip
    assert all(name in page for name in ("BIM", "PGD", "vanilla", "assimilated"))


def test_each_audit_has_a_page_of_its_own_and_the_comparison_shows_the_training(finished: tuple[Path, Told]) -> None:
    out, _ = finished
    for stage in ("before", "after"):
        assert "Audit of test_resnet" in (out / stage / "report" / "index.html").read_text(encoding="utf-8")
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "How the retrofit was trained" in page
    assert "1 epoch; loss and accuracy are of the 6 validation images." in page


def test_the_job_can_be_told_as_one_json_document(finished: tuple[Path, Told]) -> None:
    out, _ = finished
    told = json.loads(Stages(out).document())
    assert told["page"] == str(out / "report" / "index.html")
    assert told["kind"] == "comparison"


def test_the_page_says_synthetic_before_anything_else_is_claimed(finished: tuple[Path, Told]) -> None:
    out, _ = finished
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    said = page.index("Synthetic images")
    assert said < page.index("<svg")
    assert said < page.index("<table")
    for stage in ("before", "after"):
        assert read_audit(out / stage / "audit.json").data.note == phantoms.NOTE


def test_the_time_it_will_take_is_said_before_the_first_scan(finished: tuple[Path, Told]) -> None:
    lines = finished[1].lines
    [estimate] = [index for index, line in enumerate(lines) if "ms per image-gradient on this machine: about" in line]
    stages = [index for index, line in enumerate(lines) if line[:2] in ("1 ", "2 ", "3 ", "4 ")]
    assert "3 scans of 4 images, checks included, " in lines[estimate]
    assert estimate < stages[0]
    assert stages == sorted(stages)
    assert len(stages) == 4


def test_the_retrofit_was_trained_on_other_images_than_it_was_measured_on(finished: tuple[Path, Told]) -> None:
    out, _ = finished
    training = json.loads((out / "assimilated" / "training.json").read_text(encoding="utf-8"))
    assert training["train"]["n_images"] == 16
    hashes = {part: training[part]["sha256"] for part in ("train", "val")}
    assert read_audit(out / "before" / "audit.json").data.sha256 not in hashes.values()


def test_the_same_demo_again_reuses_what_is_there(finished: tuple[Path, Told]) -> None:
    out, _ = finished
    results = sorted(out.glob("*/audit.json")) + sorted(out.glob("*/training.json"))
    before = {path: path.read_bytes() for path in results}
    assert len(before) == 5
    told = Told()
    demo(out=out, progress=told)
    assert {path: path.read_bytes() for path in results} == before
    assert sum("holds this scan already" in line or "already made" in line for line in told.lines) == 5


def test_a_demo_of_another_seed_leaves_a_finished_one_as_it_is(finished: tuple[Path, Told]) -> None:
    out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(OutputError, match=r"holds a demo of seed 0, wanted 1; .*--restart"):
        demo(out=out, seed=1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_phantoms_depend_on_the_seed_alone(tmp_path: Path) -> None:
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        phantoms.write_phantoms(tmp_path / name, seed, Told())
    first, again, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.png")}
        for name in ("first", "again", "other")
    )
    assert len(first) == 2 * (8 + 3 + 2)
    assert first == again
    assert not set(first.values()) & set(other.values())
    assert len(set(first.values())) == len(first)


def test_classes_of_phantoms_do_not_differ_in_brightness() -> None:
    """A mean alone must not give the class away: the texture is what there is to learn."""
    dice = np.random.default_rng(0)
    means = {lesion: [phantoms.phantom(lesion, dice).mean() for _ in range(60)] for lesion in (False, True)}
    spread = np.std(means[False])
    assert abs(np.mean(means[True]) - np.mean(means[False])) < spread


# The job on one's own data


@pytest.fixture(scope="module")
def undivided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen phantoms of each class in a plain folder of classes."""
    root, dice = tmp_path_factory.mktemp("undivided") / "images", np.random.default_rng(5)
    for name in phantoms.CLASSES:
        (root / name).mkdir(parents=True)
        for index in range(15):
            Image.fromarray(phantoms.phantom(name == "lesion", dice)).save(root / name / f"{index:02d}.png")
    return root


SCANNING = {"attacks": ["fgsm"], "eps": [1, 8], "check_sample": 0}


def test_undivided_data_is_split_and_both_scans_take_its_test_part(
    finished: tuple[Path, Told], undivided: Path, tmp_path: Path
) -> None:
    model, out = finished[0] / "model", tmp_path / "out"
    run(model, undivided, out=out, scanning=SCANNING, training={"epochs": 1}, progress=(told := Told()))
    assert any("is not divided: split 60/20/20" in line for line in told.lines)
    with (out / "split.csv").open(newline="", encoding="utf-8") as file:
        parts: dict[str, set[Path]] = {"train": set(), "val": set(), "test": set()}
        for row in csv.DictReader(file):
            parts[row["split"]].add((out / row["path"]).resolve())
    assert {part: len(files) for part, files in parts.items()} == {"train": 18, "val": 6, "test": 6}
    assert set().union(*parts.values()) == {path.resolve() for path in undivided.rglob("*.png")}
    expected = open_images(out / "split.csv", "test")
    for stage in ("before", "after"):
        assert read_audit(out / stage / "audit.json").data.sha256 == expected.sha256
        rows = [json.loads(line) for line in (out / stage / "images.jsonl").read_text().splitlines()]
        assert {(undivided / row["id"]).resolve() for row in rows} == parts["test"]
    training = json.loads((out / "assimilated" / "training.json").read_text(encoding="utf-8"))
    assert (training["train"]["n_images"], training["val"]["n_images"]) == (18, 6)

    before = (out / "split.csv").read_bytes()
    with pytest.raises(OutputError, match=r"split\.csv: results beside it stand on another split .*--restart"):
        run(model, undivided, out=out, seed=1, scanning=SCANNING, training={"epochs": 1})
    assert (out / "split.csv").read_bytes() == before


def test_a_threshold_holds_for_every_stage_and_is_part_of_what_was_asked(undivided: Path, tmp_path: Path) -> None:
    """One output of probability p means the second class, `plain`, above 0.3."""
    everything = open_images(undivided)
    x = torch.stack([everything.load(ref, (64, 64)) for ref in everything.refs]).expand(-1, 3, -1, -1)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        made = timm.create_model("test_resnet", num_classes=1).eval()
        z = made(x)
        made.fc.weight *= 3 / z.std()  # logits that nobody takes for probabilities, around zero
        made.fc.bias -= made(x).median()
    torch.save(made.state_dict(), tmp_path / "model.pt")
    out = tmp_path / "out"
    loading = {"arch": "test_resnet", "normalization": "none", "input_size": (64, 64), "threshold": 0.3}
    job = {"scanning": SCANNING | {"accept_preprocessing": True}, "training": {"epochs": 1}}
    run(tmp_path / "model.pt", undivided, out=out, loading=loading, **job)

    records = [read_audit(out / stage / "audit.json") for stage in ("before", "after")]
    assert [record.model.loading and record.model.loading.threshold for record in records] == [0.3, 0.3]
    images = open_images(out / "split.csv", "test")
    with torch.no_grad():
        p = made(torch.stack([images.load(ref, (64, 64)) for ref in images.refs]).expand(-1, 3, -1, -1)).sigmoid()
    rows = [json.loads(line) for line in (out / "before" / "images.jsonl").read_text().splitlines()]
    expected = {ref.id: images.classes[int(p[index, 0] > 0.3)] for index, ref in enumerate(images.refs)}
    assert {row["id"]: row["prediction"] for row in rows} == expected
    assert ((p > 0.3) & (p <= 0.5)).any(), "or the threshold decides nothing"

    with pytest.raises(OutputError, match=r"another scan \(model\.loading\.threshold"):
        run(tmp_path / "model.pt", undivided, out=out, loading=loading | {"threshold": 0.4}, **job)


def test_an_interrupted_job_continues_with_the_stage_it_was_in(
    finished: tuple[Path, Told], undivided: Path, tmp_path: Path
) -> None:
    def job(told: Told) -> Path:
        return run(
            finished[0] / "model", undivided, out=tmp_path, scanning=SCANNING, training={"epochs": 1}, progress=told
        )

    with pytest.raises(KeyboardInterrupt):
        job(Told(stop_at="3 scan"))
    first = {stage: (tmp_path / stage).stat().st_mtime_ns for stage in ("before/audit.json", "assimilated/config.json")}
    assert not (tmp_path / "report").exists()
    assert job(told := Told()).is_file()
    assert any("before/audit.json holds this scan already" in line for line in told.lines)
    assert first == {stage: (tmp_path / stage).stat().st_mtime_ns for stage in first}


def test_a_restarted_job_leaves_no_page_of_the_one_before(
    finished: tuple[Path, Told], undivided: Path, tmp_path: Path
) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("of the job before")
    with pytest.raises(KeyboardInterrupt):
        run(finished[0] / "model", undivided, out=tmp_path, scanning=SCANNING, training={"epochs": 1}, restart=True,
            progress=Told(stop_at="1 scan"))  # fmt: skip
    assert not (tmp_path / "report" / "index.html").exists()


def test_a_job_on_data_that_is_not_there_leaves_nothing(finished: tuple[Path, Told], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        run(finished[0] / "model", tmp_path / "nowhere", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_job_on_one_class_leaves_nothing(finished: tuple[Path, Told], undivided: Path, tmp_path: Path) -> None:
    shutil.copytree(undivided / "lesion", tmp_path / "data" / "lesion")
    with pytest.raises(DataError, match="holds only class lesion"):
        run(finished[0] / "model", tmp_path / "data", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_job_on_a_grid_without_a_whole_patch_leaves_nothing(
    finished: tuple[Path, Told], undivided: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="16x16 pixels holds no patch of 20x20; use a larger --input-size"):
        run(finished[0] / "model", undivided, out=tmp_path / "out", loading={"input_size": (16, 16)})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"training": {"epoch": 1}}, "^epoch: is no setting of a training"),
        ({"training": {"epochs": 1.5}}, r"^epochs 1\.5: wanted a valid integer"),
        ({"training": {"workers": "two"}}, "^workers two: wanted a valid integer"),
        ({"scanning": {"check_samples": 1}}, "^check_samples: is no argument here"),
        ({"loading": {"lable_index": 1}}, "^lable_index: is no argument here"),
        ({"reading": {"limit": 0}}, "^limit 0: wanted greater than 0"),
    ],
)
def test_a_job_with_a_misspelt_option_of_any_stage_leaves_nothing(
    finished: tuple[Path, Told], undivided: Path, tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SettingsError, match=expected):
        run(finished[0] / "model", undivided, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_arm_without_glcm_is_trained_without_settings_of_texture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(run_module, "assimilate", lambda *_, **settings: asked.append(settings))
    for name in ("scan", "read_comparison", "write_report", "write_beside"):
        monkeypatch.setattr(run_module, name, lambda *_, **__: None)
    monkeypatch.setattr(run_module, "page_summary", lambda *_: [])
    trained = {"levels": 8, "rows": "features", "epochs": 1}
    run_module._run_stages(Path(), Path(), Stages(tmp_path), {}, trained, True, Told())
    assert asked[0].items() >= trained.items()
    assert asked[1] == {"epochs": 1, "alpha": 1.0, "out": tmp_path / "assimilated-without-glcm"}


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [("measured", "measured", 0), ("inconclusive", "measured", 3), ("measured", "inconclusive", 3)],
)
def test_the_command_exits_3_when_a_scan_is_inconclusive_but_the_demo_0(
    audit_of: Callable[..., AuditRecord],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    before: str,
    after: str,
    code: int,
) -> None:
    def pretend(*_arguments: object, out: Path, **_options: object) -> Path:
        for stage, kind in (("before", before), ("after", after)):
            record = audit_of(verdict=Verdict(kind=kind, sentence="."))
            write_text(out / stage / "audit.json", record.model_dump_json())
        return out / "report" / "index.html"

    monkeypatch.setattr(run_module, "run", pretend)
    monkeypatch.setattr("robaudit.job.demo.demo", pretend)
    for command, wanted in (["run", "MODEL", "DATA"], code), (["demo"], 0):
        monkeypatch.setattr(sys, "argv", ["robaudit", *command, "--out", str(tmp_path)])
        with pytest.raises(SystemExit) as caught:
            command_line.main()
        assert caught.value.code == wanted
        assert capsys.readouterr().out == f"{tmp_path / 'report' / 'index.html'}\n"


def test_the_commands_batch_size_is_that_of_scans_and_training(
    audit_of: Callable[..., AuditRecord], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def pretend(*_arguments: object, out: Path, **options: Any) -> Path:
        asked.update(options)
        for stage in ("before", "after"):
            write_text(out / stage / "audit.json", audit_of().model_dump_json())
        return out

    monkeypatch.setattr(run_module, "run", pretend)
    command = ["robaudit", "run", "MODEL", "DATA", "--out", str(tmp_path), "--batch-size", "4", "--preset", "thorough"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="0"):
        command_line.main()
    assert asked["preset"] == "thorough"
    assert asked["scanning"]["batch_size"] == asked["training"]["batch_size"] == 4


# The estimate


def test_the_estimate_of_a_thorough_job_counts_what_each_scan_will_do() -> None:
    before, after = (run_module._plan({"preset": "thorough"}, 3, has_front) for has_front in (False, True))
    assert {attack.name for attack in after.attacks} - {attack.name for attack in before.attacks} == {
        "bpda",
        "transfer",
    }
    with pytest.raises(SettingsError, match="--attacks bpda: goes past T and C, and this model has none; leave it out"):
        run_module._plan({"preset": "default", "attacks": ["bpda"]}, 2, False)


def test_an_estimate_counts_steps() -> None:
    nested = plan_of(["fgsm", "bim", "pgd"], EPS_GRID, "default", "nested", 0)
    paper = plan_of(["fgsm", "bim", "pgd"], EPS_GRID, "default", "paper", 0)
    assert gradients_per_image(paper, 2) == (1 + 10 + 40) * 8
    assert 51 <= gradients_per_image(nested, 2) < gradients_per_image(paper, 2)
    assert scan_seconds(0.1, paper, 2, 10, 0) == pytest.approx(408.0)
    assert scan_seconds(0.1, paper, 2, 10, 24) == scan_seconds(0.1, paper, 2, 10, 10), "no image is checked twice"


def test_an_estimate_counts_the_other_classes_of_a_targeted_attack() -> None:
    targeted = plan_of(["apgd-targeted"], EPS_GRID, "default", "paper", 0)
    assert [gradients_per_image(targeted, n_classes) for n_classes in (3, 10, 100)] == [2 * 320, 9 * 320, 9 * 320]


def test_an_estimate_counts_the_checks() -> None:
    """Of four images under a quick scan the checks took ten times as long as the attacks (chest CT)."""
    quick = plan_of(None, [4], "quick", None, 0)
    attacks, both = (scan_seconds(0.2, quick, 2, 4, n) for n in (0, 8))
    assert both > 5 * attacks


@pytest.mark.slow
def test_the_demo_in_full(tmp_path: Path) -> None:
    """As `robaudit demo` runs it; minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phantoms, "PER_CLASS", {"train": 120, "val": 30, "test": 40})
        patch.setattr(small_classifier, "EPOCHS", 12)
        patch.setattr(demo_module, "EPOCHS", 8)
        patch.setattr(demo_module, "run", run)
        page = demo(out=tmp_path)
    assert "Synthetic images" in page.read_text(encoding="utf-8")
    before = read_audit(tmp_path / "before" / "audit.json")
    assert before.clean.n_correct >= 0.9 * before.clean.n_images, "a small network can learn the texture"
    assert before.worst_case.points[-1].n_correct < before.clean.n_correct, "and the attacks find something"


def test_test_images_that_training_has_seen_are_counted(finished: tuple[Path, Told], tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(finished[0] / "data", data)
    told = Told()
    parts = {part: open_images(data, part) for part in ("train", "val", "test")}
    _say_overlap(parts["test"], [parts["train"], parts["val"]], told)
    assert told.lines == []

    seen = data / "test" / "lesion" / "lesion-000.png"
    Image.open(seen).save(data / "train" / "lesion" / "the-same-again.bmp")
    _say_overlap(parts["test"], [open_images(data, "train"), parts["val"]], told)
    assert len(told.lines) == 1
    assert f"1 of {len(parts['test'])} test images" in told.lines[0]
