"""A scan from files to files; its numbers are recounted here from its rows, and its rows from an uninterrupted run."""

import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_scans import (
    ATTACKS,
    CLASSES,
    GRID,
    MEAN,
    N_IMAGES,
    SIDE,
    STD,
    Watcher,
    as_input,
    interrupt,
    pixels,
    small_network,
    small_scan,
)
from torch import Tensor, nn

from robaudit.attack.curve import Engine
from robaudit.attack.prepare import fingerprint
from robaudit.audit import scan as scan_module
from robaudit.audit.scan import plan_of
from robaudit.data.images import open_images
from robaudit.data.learnt import write_learnt
from robaudit.errors import DataError, ExitCode, ModelError, OutputError, SettingsError
from robaudit.load.classifier import LoadedModel
from robaudit.load.model import load_model
from robaudit.records import AuditRecord, ImageRow, read_audit, read_rows
from robaudit.report.html import write_beside

Finished = tuple[AuditRecord, Path]


def rows_in(out: Path, name: str = "images.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name).read_text(encoding="utf-8").split("\n")[:-1]]


def measured(record: AuditRecord) -> dict[str, Any]:
    """Everything that was counted; not when, how long, or by which command."""
    found = record.model_dump(include={"clean", "attacks", "worst_case", "checks", "verdict", "data", "artifacts"})
    return found | {"spent": (record.cost.gradients, record.cost.forwards)}


# The record


def test_the_record_has_the_fields_that_the_design_states(finished: Finished) -> None:
    _, out = finished
    audit = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert list(audit) == [
        "schema_version", "status", "robaudit_version", "created", "threat_model", "protocol", "seed", "verdict",
        "model", "surrogate", "data", "clean", "attacks", "worst_case", "images", "checks", "artifacts",
        "cost", "environment",
    ]  # fmt: skip
    assert (audit["schema_version"], audit["status"], audit["protocol"], audit["images"]) == (
        1, "complete", "nested", "images.jsonl",
    )  # fmt: skip
    assert audit["verdict"].keys() == {"kind", "sentence", "reasons"}
    told_of_the_model = {
        "path",
        "sha256",
        "code_sha256",
        "arch",
        "n_classes",
        "classes",
        "input",
        "normalization",
        "outputs",
        "front",
        "loading",
    }
    assert audit["model"].keys() == told_of_the_model
    assert audit["model"]["front"] is None
    assert audit["model"]["normalization"].keys() == {"mean", "std", "source"}
    assert {"path", "sha256", "n_images", "per_class"} <= audit["data"].keys()
    counts = {"n_correct", "n_images", "n_errors"}
    assert audit["clean"].keys() == counts | {"per_class"}
    for attack in audit["attacks"]:
        assert attack.keys() == {"name", "params", "scope", "added_by", "points", "raw_points"}
        for point in attack["points"] + (attack["raw_points"] or []):
            assert point.keys() == counts | {"eps_255", "per_class"}
            assert list(point["per_class"]) == list(CLASSES)
    assert audit["threat_model"]["eps_255"] == list(GRID)
    extended = {"sample_size", "interval", "repaired_by"}
    for check in audit["checks"]:
        assert check.keys() == {"id", "status", "value", "threshold", "why", "remedy"} | extended
    assert audit["cost"].keys() == {"gradients", "forwards", "seconds", "device", "checks"}
    assert audit["cost"]["checks"].keys() == {"gradients", "forwards", "seconds"}
    assert rows_in(out)[0].keys() == {
        "id", "sha256", "label", "prediction", "fooled_at", "raw_fooled_at", "error",
    }  # fmt: skip


def test_only_the_finished_result_is_left_in_the_folder(finished: Finished) -> None:
    assert {path.name for path in finished[1].iterdir()} == {"audit.json", "images.jsonl", "gallery"}


def test_what_is_written_reads_back_as_what_was_returned(finished: Finished) -> None:
    record, out = finished
    assert read_audit(out / "audit.json") == record
    assert [row.model_dump(mode="json") for row in read_rows(out / "audit.json", record)] == rows_in(out)


def test_every_number_is_a_count_of_the_rows(finished: Finished) -> None:
    """Recounted by a loop that shares nothing with robaudit.tally."""
    _, out = finished
    audit, rows = json.loads((out / "audit.json").read_text(encoding="utf-8")), rows_in(out)
    fgsm, worst = audit["attacks"][0], audit["worst_case"]
    for name in (None, *CLASSES):
        mine = [row for row in rows if name in (None, row["label"])]

        def told(counts: dict[str, Any], name: str | None = name) -> dict[str, Any]:
            return counts if name is None else counts["per_class"][name]

        assert told(audit["clean"])["n_correct"] == sum(row["prediction"] == row["label"] for row in mine)
        for index, eps in enumerate(GRID):
            for attack in audit["attacks"]:
                at = [row["fooled_at"][attack["name"]] for row in mine]
                point = told(attack["points"][index])
                assert (point["n_correct"], point["n_images"]) == (sum(k is None or k > eps for k in at), len(mine))
            safe = [row for row in mine if all(k is None or k > eps for k in row["fooled_at"].values())]
            assert told(worst["points"][index])["n_correct"] == len(safe)
            raw = [row for row in mine if row["prediction"] == row["label"] and eps not in row["raw_fooled_at"]["fgsm"]]
            assert told(fgsm["raw_points"][index])["n_correct"] == len(raw)
    assert audit["data"]["n_images"] == len(rows) == N_IMAGES


def test_the_curve_is_worth_looking_at(finished: Finished) -> None:
    """The recount above would hold for empty curves too."""
    record, _ = finished
    n_correct = [point.n_correct for point in record.worst_case.points]
    assert record.clean.n_correct == N_IMAGES - 3
    assert n_correct == sorted(n_correct, reverse=True)
    assert len({record.clean.n_correct, *n_correct}) >= 4


def test_clean_predictions_are_those_of_the_network_asked_by_hand(finished: Finished, data: Path) -> None:
    network = small_network()
    for row in rows_in(finished[1]):
        index = int(Path(row["id"]).stem)
        assert (data / row["id"]).is_file()
        with torch.no_grad():
            assert row["prediction"] == CLASSES[int(network(as_input([pixels(index)])).argmax())]


def test_checks_passed_and_the_verdict_names_the_count(finished: Finished) -> None:
    record, _ = finished
    statuses = {check.id: check.status for check in record.checks}
    for id_ in ("state-untouched", "repeatable", "finite-answers", "predicts-classes", "gradients-present"):
        assert statuses[id_] == "passed"
    assert "failed" not in statuses.values()
    at_4 = next(point for point in record.worst_case.points if point.eps_255 == 4)
    assert record.verdict.kind == "measured"
    share = ceil(1000 * at_4.n_correct / N_IMAGES) / 10  # a bound is rounded up
    assert record.verdict.sentence.startswith(f"At most {at_4.n_correct} of {N_IMAGES} images ({share:.1f}%, ")
    assert record.cost.gradients > N_IMAGES
    assert record.cost.forwards >= N_IMAGES


def test_the_paper_protocol_judges_each_eps_on_its_own(model: Path, data: Path, tmp_path: Path) -> None:
    record = small_scan(model, data, tmp_path, preset="paper", attacks=["fgsm", "bim"], eps=[2, 8])
    assert record.protocol == "paper"
    for attack in record.attacks:
        assert attack.points == attack.raw_points
        for point in attack.points:
            kept = [
                row
                for row in rows_in(tmp_path)
                if row["prediction"] == row["label"] and point.eps_255 not in row["raw_fooled_at"][attack.name]
            ]
            assert point.n_correct == len(kept)


def test_a_limit_takes_that_many_images(model: Path, data: Path, tmp_path: Path) -> None:
    record = small_scan(model, data, tmp_path, limit=5, attacks=["fgsm"])
    assert record.data.n_images == record.clean.n_images == len(rows_in(tmp_path)) == 5


def test_coloured_images_are_attacked_in_three_channels(model: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    tinted = np.stack([pixels(index) for index in (101, 102, 103)], axis=2)
    Image.fromarray(tinted).save(tmp_path / "data" / CLASSES[0] / "tinted.png")
    record = small_scan(model, tmp_path / "data", tmp_path / "out", attacks=["fgsm"])
    assert record.threat_model.image_channels == "rgb"
    assert "three colour channels" in record.threat_model.sentence


# Done already, or something else


def test_a_finished_scan_is_reused_without_attacking_again(model: Path, data: Path, finished: Finished) -> None:
    record, out = finished
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}
    watcher = Watcher(after=1, then=interrupt)
    assert small_scan(model, data, out, progress=watcher, command="typed differently") == record
    assert watcher.n_attacked == 0
    assert "holds this scan already; --restart" in watcher.lines[-1]
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("lost", ["audit.json", "images.jsonl", "gallery"])
def test_what_is_damaged_of_a_finished_scan_is_told_with_the_way_out(
    model: Path, data: Path, finished: Finished, tmp_path: Path, lost: str
) -> None:
    out = shutil.copytree(finished[1], tmp_path / "out")
    damaged = next((out / lost).iterdir()) if lost == "gallery" else out / lost
    damaged.unlink()
    if lost == "audit.json":
        damaged.write_text('{"schema_version": 1')
    with pytest.raises(OutputError, match=rf"{re.escape(str(damaged))}: .*; here --restart measures again"):
        small_scan(model, data, out)


def test_a_page_of_an_archive_that_may_not_be_written_is_as_good(finished: Finished, tmp_path: Path) -> None:
    audit = shutil.copytree(finished[1], tmp_path / "out") / "audit.json"
    page = write_beside(audit)
    (page.parent / ".lock").mkdir()
    assert write_beside(audit) == page
    later = json.loads(audit.read_text()) | {"created": "2031-05-06T07:08:09Z"}
    audit.write_text(json.dumps(later))
    with pytest.raises(OutputError, match="cannot be written"):
        write_beside(audit)  # the page there is of another audit
    page.unlink()
    with pytest.raises(OutputError, match="cannot be written"):
        write_beside(audit)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"eps": (1, 2)}, r"threat_model\.eps_255"),
        ({"attacks": ("fgsm", "bim")}, r"attacks\.pgd"),
        ({"seed": 1}, "seed"),
        ({"protocol": "paper"}, "protocol"),
        ({"limit": 6}, r"data\.n_images"),
        ({"batch_size": 4}, r"settings\.batch_size"),
        ({"attacks": ATTACKS[::-1]}, "order_of_attacks"),
        ({"mean": (0.4,) * 3, "std": (0.25,) * 3}, r"model\.normalization\.mean"),
        ({"positive": "ill"}, r"data\.positive"),
    ],
)
@pytest.mark.parametrize("half_done", [False, True])
def test_other_settings_are_refused_naming_the_field_and_the_way_out(
    model: Path, data: Path, finished: Finished, tmp_path: Path, options: dict[str, Any], field: str, half_done: bool
) -> None:
    out = finished[1]
    if half_done:
        out = tmp_path / "out"
        with pytest.raises(KeyboardInterrupt):
            small_scan(model, data, out, progress=Watcher(2, interrupt))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    watcher = Watcher()
    with pytest.raises(OutputError, match=rf"belongs to another scan \({field}.*--restart") as caught:
        small_scan(model, data, out, progress=watcher, **options)
    assert caught.value.exit_code == ExitCode.UNUSABLE_INPUT
    assert watcher.stage == "reading images", "nothing slow comes before"
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_what_another_kind_of_processor_began_is_refused(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would round otherwise, as a worker's there would."""
    with pytest.raises(KeyboardInterrupt):
        small_scan(model, data, tmp_path, progress=Watcher(2, interrupt))
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "OTHER")
    with pytest.raises(OutputError, match=r"belongs to another scan \(place\.instructions was .*, is OTHER\)"):
        small_scan(model, data, tmp_path)


def test_a_restarted_scan_leaves_no_page_of_the_one_before(
    model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished[1], out)
    page = write_beside(out / "audit.json")
    with pytest.raises(KeyboardInterrupt):
        small_scan(model, data, out, restart=True, progress=Watcher(1, interrupt))
    assert not page.exists()


def test_restart_replaces_what_is_there_and_nothing_else(
    model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished[1], out)
    mine = [out / "notes.txt", out / "gallery" / "holiday.png"]
    for file in mine:
        file.write_text("mine")
    record = small_scan(model, data, out, eps=(3,), restart=True)
    assert read_audit(out / "audit.json") == record
    assert record.threat_model.eps_255 == (3,)
    assert [file.read_text() for file in mine] == ["mine", "mine"]
    named = {out / file for item in record.artifacts for file in item.files.values()}
    assert set((out / "gallery").iterdir()) == {*named, mine[1]}, "pictures of the old scan are gone"


def test_restart_leaves_a_page_where_no_scan_was(model: Path, data: Path, tmp_path: Path) -> None:
    page = tmp_path / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        small_scan(model, data, tmp_path, restart=True, progress=Watcher(1, interrupt))
    assert page.read_text() == "mine"


# Interrupted, resumed, reordered, sharded


@pytest.mark.parametrize("after", [1, 7, N_IMAGES])
def test_an_interrupted_scan_continues_to_the_result_of_an_uninterrupted_one(
    model: Path, data: Path, finished: Finished, tmp_path: Path, after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        small_scan(model, data, tmp_path, progress=Watcher(after, interrupt))
    assert not (tmp_path / "audit.json").exists()
    assert not (tmp_path / "images.jsonl").exists()
    partial = read_audit(tmp_path / "audit.partial.json")
    assert (partial.status, partial.clean.n_images, partial.data.n_images) == ("partial", after, N_IMAGES)

    watcher = Watcher()
    record = small_scan(model, data, tmp_path, progress=watcher)
    assert watcher.n_attacked == N_IMAGES - after
    assert f"continuing: {after} of {N_IMAGES} images are done" in watcher.lines
    assert measured(record) == measured(finished[0])
    assert (tmp_path / "images.jsonl").read_bytes() == (finished[1] / "images.jsonl").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"audit.json", "images.jsonl", "gallery"}


def test_a_killed_scan_keeps_every_finished_image(model: Path, data: Path, finished: Finished, tmp_path: Path) -> None:
    """SIGKILL: no handler, no flush, no farewell."""
    code = f"""
import os, signal, torch
torch.set_num_threads({torch.get_num_threads()})
from small_scans import Watcher, small_scan
from pathlib import Path
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
small_scan(Path({str(model)!r}), Path({str(data)!r}), Path({str(tmp_path)!r}), progress=Watcher(5, kill))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=False)
    assert done.returncode == -9
    assert {path.name for path in tmp_path.iterdir()} == {"images.partial.jsonl", "gallery", ".lock"}
    watcher = Watcher()
    record = small_scan(model, data, tmp_path, progress=watcher)
    assert watcher.n_attacked == N_IMAGES - 5
    assert measured(record) == measured(finished[0])


def test_a_torn_last_line_of_the_journal_is_measured_again(
    model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        small_scan(model, data, tmp_path, progress=Watcher(6, interrupt))
    journal = tmp_path / "images.partial.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    watcher = Watcher()
    record = small_scan(model, data, tmp_path, progress=watcher)
    assert watcher.n_attacked == N_IMAGES - 5
    assert measured(record) == measured(finished[0])


def test_an_image_that_changes_meanwhile_stops_the_scan_which_continues_once_it_is_restored(
    model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    mine = tmp_path / "data"
    shutil.copytree(data, mine)
    victim = sorted(mine.rglob("*.png"))[-1]
    original = victim.read_bytes()
    with pytest.raises(DataError, match=f"{victim.name}: changed while robaudit was running"):
        small_scan(
            model, mine, tmp_path / "out", batch_size=2,
            progress=Watcher(2, lambda: victim.write_bytes(original + b" ")),
        )  # fmt: skip
    assert not (tmp_path / "out" / "audit.json").exists()
    victim.write_bytes(original)
    record = small_scan(model, mine, tmp_path / "out", batch_size=2)
    assert [row["id"] for row in rows_in(tmp_path / "out")] == [row["id"] for row in rows_in(finished[1])]
    assert record.clean == finished[0].clean


def test_a_mistake_of_our_own_is_not_blamed_on_the_journal(model: Path, data: Path, tmp_path: Path) -> None:
    def stumble() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        small_scan(model, data, tmp_path, progress=Watcher(2, stumble))


def engine_and_images(model: Path, data: Path) -> tuple[Engine, Any]:
    images = open_images(data)
    loaded = load_model(model, folder_classes=images.classes)
    plan = plan_of(ATTACKS, GRID, "default", None, 0)
    return Engine(loaded.classifier, loaded.size, images.channels, plan), images


@pytest.mark.parametrize(
    "shards",
    [
        lambda refs: [refs[::-1]],
        lambda refs: [random.Random(1).sample(refs, len(refs))],
        lambda refs: [refs[::2], refs[1::2]],
        lambda refs: [refs[:1], refs[1:4], refs[4:]],
    ],
)
def test_rows_do_not_depend_on_order_or_on_what_else_is_measured(
    model: Path, data: Path, finished: Finished, shards: Callable[[list[Any]], list[list[Any]]]
) -> None:
    engine, images = engine_and_images(model, data)
    found: dict[str, ImageRow] = {}
    for shard in shards(list(images.refs)):
        found |= {each.row.id: each.row for each in engine.measure(images, shard)}
    assert [found[row.id] for row in read_rows(finished[1] / "audit.json", finished[0])] == list(
        read_rows(finished[1] / "audit.json", finished[0])
    )
    assert len(found) == N_IMAGES


# Models that misbehave


class Wrapped(nn.Module):
    """A classifier that does something else to its answer."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("n_calls", torch.zeros(()))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


class SilentOnBright(Wrapped):
    """Gives no finite answer for pictures above medium brightness."""

    def forward(self, x: Tensor) -> Tensor:
        bright = x.mean(dim=(1, 2, 3), keepdim=True)[:, :, 0, 0] > 0.5
        return torch.where(bright, torch.full((), float("nan")), self.inner(x))


class Counting(Wrapped):
    """Writes to a buffer whenever it is asked."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.n_calls += 1
        return self.inner(x)


class Double(nn.Module):
    """Computes, and answers, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_network().double()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x.double() - MEAN) / STD)


def test_a_network_of_double_precision_is_measured(data: Path, tmp_path: Path) -> None:
    options = {"attacks": ["fgsm"], "classes": CLASSES, "input_size": (SIDE, SIDE), "limit": 6, "check_sample": 2}
    record = scan_module.scan(Double().eval(), data, out=tmp_path, **options)
    assert record.status == "complete"
    assert any(check.id == "planted-adversary" and check.sample_size for check in record.checks)


class Normalised(nn.Module):
    """The network of the tests, for pictures in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small_network()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - MEAN) / STD)


def test_a_network_left_in_training_mode_is_measured_as_in_eval_mode_and_left_as_it_was(
    data: Path, tmp_path: Path, finished: Finished
) -> None:
    """Asked in training mode, its batch-norms would learn from the images, and another model would be measured."""
    network = Normalised().train()
    before = fingerprint(network)
    record = scan_module.scan(network, data, out=tmp_path, attacks=["fgsm"], eps=GRID, classes=CLASSES, check_sample=0)
    assert fingerprint(network) == before
    assert record.clean == finished[0].clean


class Noting(Wrapped):
    """Notes how many images it is asked about at once."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__(inner)
        self.asked: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        return self.inner(x)


def test_every_pass_has_the_recorded_batch_shape(model: Path, data: Path) -> None:
    """Rows that agree on this machine may not on the next one, if a batch could be smaller."""
    images = open_images(data)
    loaded = load_model(model, folder_classes=images.classes)
    plan = plan_of(ATTACKS, GRID, "default", None, 0)
    engine = Engine(Noting(loaded.classifier).eval(), loaded.size, images.channels, plan, batch_size=4)
    asked = [engine.model.asked, engine.exact.asked]
    for each in asked:
        each.clear()
    assert len(list(engine.measure(images, images.refs[:5]))) == 5
    assert all(asked)
    assert {n for each in asked for n in each} == {4}


def test_a_batch_is_no_wider_than_there_are_images(model: Path, data: Path, tmp_path: Path) -> None:
    """Every batch is padded to one shape: 100,000 rows for six images would be mostly padding."""
    record = small_scan(model, data, tmp_path, attacks=["fgsm"], batch_size=100_000, limit=6)
    assert record.environment.batch_size == 6


@pytest.fixture
def wrap(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Wrapped]], None]:
    """Make scan load another model than the file holds."""

    def wrap_in(wrapper: type[Wrapped]) -> None:
        def load(*arguments: Any, **options: Any) -> LoadedModel:
            loaded = load_model(*arguments, **options)
            return replace(loaded, classifier=wrapper(loaded.classifier).eval())

        monkeypatch.setattr(scan_module, "load_model", load)

    return wrap_in


def test_an_image_without_a_finite_answer_is_an_error_and_never_correct(
    model: Path, data: Path, tmp_path: Path, wrap: Callable[[type[Wrapped]], None], finished: Finished
) -> None:
    wrap(SilentOnBright)
    record = small_scan(model, data, tmp_path, attacks=["fgsm"])
    bright = {
        path.relative_to(data).as_posix() for path in data.rglob("*.png") if pixels(int(path.stem)).mean() / 255 > 0.5
    }
    assert 0 < len(bright) < N_IMAGES
    rows = rows_in(tmp_path)
    assert {row["id"] for row in rows if row["error"]} == bright
    assert all(row["prediction"] is None for row in rows if row["error"])
    assert record.clean.n_errors == len(bright)
    assert record.clean.n_images == N_IMAGES
    others = [row for row in rows_in(finished[1]) if row["id"] not in bright]
    assert record.clean.n_correct == sum(row["prediction"] == row["label"] for row in others)
    for point in record.worst_case.points:
        assert (point.n_errors, point.n_images) == (len(bright), N_IMAGES)
        assert point.n_correct <= record.clean.n_correct
    assert (record.verdict.kind, record.verdict.reasons) == ("inconclusive", ("finite-answers",))
    assert f"for {len(bright)} of {N_IMAGES} images" in record.verdict.sentence


def test_a_model_that_changes_while_it_is_measured_makes_the_audit_inconclusive(
    model: Path, data: Path, tmp_path: Path, wrap: Callable[[type[Wrapped]], None]
) -> None:
    wrap(Counting)
    record = small_scan(model, data, tmp_path, attacks=["fgsm"])
    assert (record.verdict.kind, record.verdict.reasons) == ("inconclusive", ("state-untouched",))
    assert read_audit(tmp_path / "audit.json") == record


# What cannot be used


@pytest.mark.parametrize("where", ["out", "out/below"])
def test_an_output_folder_that_cannot_be_written(model: Path, data: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="choose another --out"):
        small_scan(model, data, tmp_path / where, attacks=["fgsm"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize(
    ("options", "error", "expected"),
    [
        ({"attacks": ["laser"]}, SettingsError, "unknown attack 'laser'"),
        ({"attacks": ["fgsm", "fgsm"]}, SettingsError, "none twice"),
        ({"eps": [0]}, SettingsError, "from 1 to 255"),
        ({"eps": [300]}, SettingsError, "from 1 to 255"),
        ({"eps": []}, SettingsError, "from 1 to 255"),
        ({"batch_size": 0}, SettingsError, "--batch-size 0: wanted 1 or more"),
        ({"check_sample": -1}, SettingsError, "--check-sample -1: wanted 0 or more"),
        ({"preset": "fast"}, SettingsError, "there are quick, default, paper, thorough"),
        ({"positive": "sick"}, SettingsError, "is no class; the classes are ill, well"),
        ({"classes": ["a", "b"]}, DataError, "holds class ill, well, the model knows a, b"),
        ({"merge": {"all": CLASSES}}, DataError, "holds only class all"),
        ({"mean": [0.5]}, ModelError, "--mean and --std belong together"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_is_written(
    model: Path, data: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        small_scan(model, data, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_retrofit_audited_on_pictures_it_has_learnt_from_is_told_so(model: Path, data: Path, tmp_path: Path) -> None:
    """Undivided data is scanned whole, so whoever passes it again, and not the split, meets training images."""
    retrofit, images = shutil.copytree(model, tmp_path / "model"), open_images(data, None)
    write_learnt(retrofit, (replace(images, refs=images.refs[:7]),))
    audit = small_scan(retrofit, data, tmp_path / "out", attacks=("fgsm",), eps=(4,))
    [check] = [check for check in audit.checks if check.id == "not-learnt-from"]
    assert (check.status, check.value) == ("warning", pytest.approx(7 / N_IMAGES, abs=1e-6))


def test_an_audit_of_one_class_or_none_beside_what_was_learnt_from_is_refused(
    model: Path, data: Path, tmp_path: Path
) -> None:
    retrofit, images = shutil.copytree(model, tmp_path / "model"), open_images(data, None)
    ill = tuple(ref for ref in images.refs if ref.label == "ill")
    for learnt, but in ((images.refs, ""), (ill, f" but {N_IMAGES - len(ill)} of class well")):
        write_learnt(retrofit, (replace(images, refs=learnt),))
        said = f"all {N_IMAGES} images{but} were learnt from or are in train or val; scan others"
        with pytest.raises(DataError, match=said):
            small_scan(retrofit, data, tmp_path / "out", on_learnt_image="skip")
