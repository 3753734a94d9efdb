"""The part of a scan after its attacks: probes, repairs and what an interruption there does."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "checks"))
import zoo
from small_scans import interrupt

from robaudit.audit import believe
from robaudit.audit import scan as scan_module
from robaudit.audit.believe import _unless_unanswered
from robaudit.audit.scan import scan
from robaudit.checks import probes
from robaudit.checks.evidence import Evidence
from robaudit.checks.repeatable import unrepeatable
from robaudit.errors import ModelError, SettingsError
from robaudit.progress import Silent
from robaudit.records import AuditRecord, Check, read_rows

GRID = (1, 2, 4, 8)


class Stages(Silent):
    """Keeps the stages, and stops in one of them after some steps."""

    def __init__(self, stage: str = "", after: int = 0) -> None:
        self.stage, self.n_steps, self.stages, self.lines = "", 0, [], []
        self._stop_in, self._after = stage, after

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.stage, self.n_steps = stage, 0
        self.stages.append(stage)

    def advance(self, n: int = 1, note: str = "") -> None:
        self.n_steps += n
        if self._stop_in and self.stage.startswith(self._stop_in) and self.n_steps > self._after:
            interrupt()

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zoo.write_pictures(tmp_path_factory.mktemp("gratings") / "data", 2)


def masked_scan(data: Path, out: Path, **options: Any) -> AuditRecord:
    """A quick scan of logits blown up by thirty: a margin attack is added to it."""
    return scan(
        zoo.FAKE["logits x30"](),
        data,
        out=out,
        **{"preset": "quick", "eps": GRID, "check_sample": 4, **options},  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AuditRecord, Path]:
    out = tmp_path_factory.mktemp("finished") / "out"
    return masked_scan(data, out), out


def measured(record: AuditRecord) -> dict[str, Any]:
    found = record.model_dump(include={"clean", "attacks", "worst_case", "checks", "verdict", "data", "artifacts"})
    spent = (record.cost.gradients, record.cost.forwards, record.cost.checks.gradients, record.cost.checks.forwards)
    return found | {"spent": spent}


@pytest.mark.parametrize(("stage", "after"), [("attacking", 3), ("checking", 20), ("adding apgd-margin", 7)])
def test_wherever_it_is_interrupted_the_result_is_that_of_an_uninterrupted_scan(
    data: Path, finished: tuple[AuditRecord, Path], tmp_path: Path, stage: str, after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        masked_scan(data, tmp_path / "out", progress=Stages(stage, after))
    record = masked_scan(data, tmp_path / "out")
    assert measured(record) == measured(finished[0])
    assert (tmp_path / "out" / "images.jsonl").read_bytes() == (finished[1] / "images.jsonl").read_bytes()


def test_answers_are_asked_for_in_several_passes_once_though_an_attack_is_added(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(believe, "unrepeatable", lambda *args: asked.append(unrepeatable(*args)) or asked[-1])
    record = masked_scan(data, tmp_path / "out", limit=4, attacks=["fgsm"], eps=[4], check_sample=2)
    assert any(attack.added_by for attack in record.attacks)
    assert asked == [0.0]


@pytest.mark.parametrize("stage", ["checking", "adding apgd-margin"])
def test_memory_that_runs_out_after_the_attacks_is_in_the_record_too(data: Path, tmp_path: Path, stage: str) -> None:
    class Tight(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = zoo.FAKE["logits x30"]()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if progress.stage == stage and len(x) > 4:
                raise torch.OutOfMemoryError
            return self.inner(x)

    progress = Stages()
    record = scan(
        Tight().eval(), data, out=tmp_path, attacks=["fgsm"], eps=[4], check_sample=1, progress=progress,
        classes=("class00", "class01"), accept_preprocessing=True,
    )  # fmt: skip
    assert stage in progress.stages
    assert any("going on in batches of 4" in line for line in progress.lines)
    assert (record.environment.batch_size, record.environment.settings["batch_sizes"]) == (4, "8,4")


def test_a_repaired_scan_is_reused_by_the_same_command(data: Path, finished: tuple[AuditRecord, Path]) -> None:
    """The attack that was added is no setting: asking for the same again finds the same."""
    stages = Stages()
    assert masked_scan(data, finished[1], progress=stages) == finished[0]
    assert "attacking" not in stages.stages


def test_an_added_attack_is_counted_with_the_others_and_the_probes_apart(finished: tuple[AuditRecord, Path]) -> None:
    record, out = finished
    (added,) = [attack for attack in record.attacks if attack.added_by]
    rows = read_rows(out / "audit.json", record)
    assert all(row.fooled_at.keys() == {"fgsm", "bim", added.name} for row in rows)
    worst = {point.eps_255: point.n_correct for point in record.worst_case.points}
    assert {point.eps_255: point.n_correct for point in added.points} == worst
    for eps in GRID:
        left = [row for row in rows if all(at is None or at > eps for at in row.fooled_at.values())]
        assert worst[eps] == len(left)
    assert record.cost.checks.gradients > 0
    assert record.cost.gradients > 0


def test_pictures_show_the_attack_that_was_added_where_it_did_most(finished: tuple[AuditRecord, Path]) -> None:
    record, out = finished
    rows = {row.id: row for row in read_rows(out / "audit.json", record)}
    pictured = [item for item in record.artifacts if item.attack is not None]
    assert any(item.attack == "apgd-margin" for item in pictured)
    for item in pictured:
        assert item.eps_255 == min(at for at in rows[item.id].fooled_at.values() if at is not None)
        assert all((out / file).is_file() for file in item.files.values())


def test_sampled_checks_state_their_sample_and_its_interval(finished: tuple[AuditRecord, Path]) -> None:
    sampled = [check for check in finished[0].checks if check.sample_size is not None]
    assert {"random-corners", "unbounded", "convergence"} <= {check.id for check in sampled}
    for check in sampled:
        assert check.sample_size <= 4
        assert check.interval is not None
        low, high = check.interval
        assert low <= check.value <= high


def test_a_check_of_fewer_images_asks_every_class_as_the_sample_does(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, set[str]] = {}

    def judge(evidence: Evidence) -> tuple[Check, ...]:
        asked.update({check: {probe.id.split("/")[0] for probe in found} for check, found in evidence.probes.items()})
        return ()

    monkeypatch.setattr(believe, "judge", judge)
    monkeypatch.setattr(probes, "MAX_WALKED", 2)
    scan(zoo.trained(), data, out=tmp_path, attacks=["fgsm"], eps=[4], check_sample=4)
    assert asked["smooth"] == asked["border"] == {"class00", "class01"}


def test_the_sample_may_be_left_out_and_that_is_said(data: Path, tmp_path: Path) -> None:
    record = scan(zoo.trained(), data, out=tmp_path, attacks=["bim"], eps=GRID, check_sample=0)
    left_out = {check.id for check in record.checks if "was left out" in check.why}
    assert {"convergence", "unbounded", "margin-loss", "gradient-free"} <= left_out
    assert record.cost.checks.gradients == 0


def test_images_that_were_learnt_from_are_counted_by_their_pixels(data: Path, tmp_path: Path) -> None:
    """The same picture in another format is the same picture."""
    from PIL import Image

    parts = tmp_path / "parts"
    for part in ("train", "test"):
        for file in data.rglob("*.png"):
            place = parts / part / file.parent.name
            place.mkdir(parents=True, exist_ok=True)
            picture = Image.open(file)
            if part == "test":
                picture.save(place / file.name)
            elif file.stem.endswith("3"):
                picture.save(place / f"{file.stem}.bmp")
            else:
                picture.point(lambda level: 255 - level).save(place / file.name)
    (parts / "train" / "class00" / "damaged.png").write_bytes(b"no picture")  # which nobody can have learnt from
    record = scan(zoo.trained(), parts, out=tmp_path / "out", attacks=["fgsm"], eps=[8], check_sample=0)
    check = next(check for check in record.checks if check.id == "not-learnt-from")
    repeated = sum(file.stem.endswith("3") for file in data.rglob("*.png"))
    assert check.status == "warning"
    assert check.value == pytest.approx(repeated / record.data.n_images)

    others = scan(
        zoo.trained(), parts, out=tmp_path / "others", attacks=["fgsm"], eps=[8], check_sample=0, on_learnt_image="skip"
    )
    assert (others.data.n_learnt_skipped, others.data.n_images) == (repeated, record.data.n_images - repeated)
    assert others.learnt_from is None
    ids, all_ids = (
        {row.id for row in read_rows(tmp_path / name / "audit.json", audit)}
        for name, audit in (("others", others), ("out", record))
    )
    assert ids == {id_ for id_ in all_ids if not id_.endswith("3.png")}


def test_a_finished_audit_is_held_to_the_accuracy_that_is_expected(data: Path, tmp_path: Path) -> None:
    import torch

    one_sided = zoo.Around(zoo.trained(), after=lambda logits: logits + torch.tensor([40.0, 0.0]))
    options: dict[str, Any] = {"out": tmp_path / "out", "attacks": ["fgsm"], "eps": [8], "check_sample": 0}
    record = scan(one_sided, data, accept_preprocessing=True, **options)
    assert record.clean.n_correct == record.clean.n_images / 2
    with pytest.raises(SettingsError, match=r"clean accuracy is 50\.0% of .* images, expected 90\.0%"):
        scan(one_sided, data, expect_clean_accuracy=0.9, **options)
    accepted = scan(one_sided, data, expect_clean_accuracy=0.9, accept_preprocessing=True, **options)
    assert accepted == record == scan(one_sided, data, expect_clean_accuracy=0.5, **options)


def test_a_scan_that_another_process_finished_meanwhile_is_taken(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"out": tmp_path / "out", "attacks": ["fgsm"], "eps": [8], "check_sample": 0}
    others: list[AuditRecord] = []

    def overtaken(*args: Any, **keywords: Any) -> Check:
        monkeypatch.undo()
        others.append(scan(zoo.trained(), data, **options))
        return scan_module.check_preprocessing(*args, **keywords)

    monkeypatch.setattr(scan_module, "check_preprocessing", overtaken)
    assert [scan(zoo.trained(), data, **options)] == others


def test_a_check_that_finds_nothing_to_look_at_any_more_has_not_been_mended() -> None:
    failed, mute, fine = (
        Check(id="monotone", status=status, value=None, threshold=None, why="w", remedy="")
        for status in ("failed", "not_applicable", "passed")
    )
    assert [_unless_unanswered(failed, new) for new in (mute, fine, failed)] == [failed, fine, failed]
    assert _unless_unanswered(fine, mute) is mute


# Other models, and a way past the front


def test_pictures_of_a_surrogate_fool_the_model_whose_gradients_are_gone(data: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from robaudit.load import surrogate as surrogate_module

    options: dict[str, Any] = {"eps": [8], "limit": 8}
    alone = {"attacks": ["fgsm"], "check_sample": 1}
    record = scan(zoo.FAKE["detached"](), data, out=tmp_path / "alone", **alone, **options)
    assert {check.id: check.status for check in record.checks}["transfer"] == "not_applicable"

    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    loaded = surrogate_module.load_model

    def load(path: Path, **options: Any) -> Any:
        from robaudit.load.in_memory import from_module

        return from_module(zoo.trained(), classes=["class00", "class01"], size=(zoo.SIDE, zoo.SIDE))

    surrogate_module.load_model = load
    try:
        record = scan(
            zoo.FAKE["detached"](), data, out=tmp_path / "out", attacks=["pgd"], check_sample=4,
            surrogate=tmp_path / "other.safetensors", **options,
        )  # fmt: skip
    finally:
        surrogate_module.load_model = loaded
    transfer = next(check for check in record.checks if check.id == "transfer")
    assert transfer.status == "failed"
    assert transfer.value > 0.5
    assert record.surrogate is not None


def test_an_attack_that_a_model_gives_nothing_to_do_is_refused_by_name_and_left_out_of_presets(
    data: Path, tmp_path: Path
) -> None:
    for name, expected in (("bpda", "has none"), ("transfer", "--surrogate"), ("pgd-targeted", "two classes")):
        with pytest.raises(SettingsError, match=expected):
            scan(zoo.trained(), data, out=tmp_path / "out", attacks=["fgsm", name], eps=[8])
    record = scan(zoo.trained(), data, out=tmp_path / "out", preset="thorough", eps=[8], limit=4, check_sample=0)
    names = [attack.name for attack in record.attacks]
    assert names[:4] == ["fgsm", "bim", "mifgsm", "pgd"]
    assert {"apgd-100", "apgd-margin-100x2", "square-1000", "corners"} <= set(names)
    assert not {"bpda", "transfer", "apgd-targeted-100"} & set(names)


def test_three_classes_have_targets(tmp_path: Path) -> None:
    data = zoo.write_pictures(tmp_path / "data", 3)
    record = scan(zoo.trained(3), data, out=tmp_path / "out", attacks=["pgd", "apgd-targeted"], eps=[2], check_sample=0)
    pgd, targeted = (attack.points[0].n_correct for attack in record.attacks)
    assert targeted <= pgd + 1


# Networks in memory


def test_a_network_in_memory_is_scanned_as_its_file_would_be(data: Path, tmp_path: Path) -> None:
    record = scan(zoo.trained(), data, out=tmp_path / "out", attacks=["fgsm"], eps=[8], check_sample=0)
    assert record.model.path == "in memory: Sequential"
    assert record.model.input.channels == 1
    assert record.model.normalization.source == "none: in memory"
    again = scan(zoo.trained(), data, out=tmp_path / "out", attacks=["fgsm"], eps=[8], check_sample=0)
    assert again == record


@pytest.mark.parametrize("option", [{"arch": "resnet18"}, {"device": "cpu"}, {"weights": "ema"}])
def test_a_network_in_memory_takes_no_option_of_a_file(data: Path, tmp_path: Path, option: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"^{next(iter(option))}: is for a model file"):
        scan(zoo.trained(), data, out=tmp_path / "out", **option)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_half_precision_is_refused_saying_why(data: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    with pytest.raises(ModelError, match=r"float16 weights, wanted float32; pass model\.float\(\)"):
        scan(zoo.trained().to(dtype), data, out=tmp_path / "out", attacks=["fgsm"], eps=[8])


def test_a_network_with_other_outputs_than_classes_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="answers with 3 numbers for 2 classes"):
        scan(zoo.trained(3), data, out=tmp_path / "out", attacks=["fgsm"], eps=[8])


def test_a_network_that_takes_no_such_pictures_says_why_itself(data: Path, tmp_path: Path) -> None:
    class Volumes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyError("depth")

    said = r"takes neither 3x20x20 nor 1x20x20 pictures \(KeyError: 'depth'\); pass input_size"
    with pytest.raises(ModelError, match=said):
        scan(Volumes(), data, out=tmp_path / "out", attacks=["fgsm"], eps=[8])
