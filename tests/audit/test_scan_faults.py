"""A scan on a full disk, on a read-only one, out of memory, in a bare environment; and what `status` says of it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_scans import ATTACKS, GRID, N_IMAGES, Watcher, interrupt, small_scan
from test_scan import Finished, Wrapped, measured
from torch import Tensor
from typer.testing import CliRunner

from robaudit.audit.scan import scan
from robaudit.cli.console import log_as_json
from robaudit.cli.main import app
from robaudit.data.images import open_images
from robaudit.errors import DataError, OutputError
from robaudit.files import alone_in
from robaudit.load.model import load_model
from robaudit.records import ImageRow, read_rows
from robaudit.report.status import lines, read_status

REPOSITORY = Path(__file__).parents[2]


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    mounted = mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place))
    if mounted.returncode:
        pytest.skip(f"this machine mounts no tmpfs: {mounted.stderr}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


def test_a_scan_goes_on_once_a_full_disk_has_space_again(
    model: Path, data: Path, finished: Finished, small_disk: Path
) -> None:
    ballast = small_disk / "ballast"
    watcher = Watcher(after=4, then=lambda: fill(ballast))
    with pytest.raises(OutputError, match=r"No space left on device.*free space"):
        small_scan(model, data, small_disk / "out", progress=watcher)
    assert any(line.startswith("stopped after") and "worst case so far " in line for line in watcher.lines)
    ballast.unlink(missing_ok=True)
    assert mount("-o", "remount,size=4m", str(small_disk)).returncode == 0
    record = small_scan(model, data, small_disk / "out")
    assert measured(record) == measured(finished[0])
    left = {path.name for path in (small_disk / "out").iterdir()}
    assert left == {"audit.json", "images.jsonl", "gallery"}


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    try:
        with file.open("wb", buffering=0) as opened:
            while True:
                opened.write(bytes(1024))
    except OSError:
        return


def test_a_read_only_disk_is_refused_and_what_is_finished_there_is_reused(
    model: Path, data: Path, small_disk: Path
) -> None:
    assert mount("-o", "remount,size=4m", str(small_disk)).returncode == 0
    record = small_scan(model, data, small_disk / "out")
    assert mount("-o", "remount,ro", str(small_disk)).returncode == 0
    assert small_scan(model, data, small_disk / "out") == record
    with pytest.raises(OutputError, match=r"cannot be written .Read-only file system.; choose another --out"):
        small_scan(model, data, small_disk / "other")


# Memory


class Greedy(Wrapped):
    """Wants more memory than there is for one picture."""

    victim: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if bool((x == self.victim).flatten(1).all(1).any()):
            self.fail()
        return self.inner(x)

    def fail(self) -> None:
        torch.empty(2**55)


class Picky(Greedy):
    """Raises on one picture."""

    def fail(self) -> None:
        raise IndexError("index 7 is out of range")


@pytest.mark.parametrize(
    ("kind", "is_tried_first", "n_halvings", "why"),
    [
        (Greedy, False, 3, "memory ran out on this image alone"),
        (Picky, True, 0, "the model fails on this image (IndexError: index 7 is out of range)"),
    ],
)
def test_an_image_that_cannot_be_asked_about_is_named_and_makes_the_verdict_inconclusive(
    model: Path, data: Path, tmp_path: Path, kind: type[Greedy], is_tried_first: bool, n_halvings: int, why: str
) -> None:
    images = open_images(data)
    loaded = load_model(model, folder_classes=images.classes)
    tried_first = {ref.id for ref in images.limited(8, 0).refs}
    victim = next(ref for ref in images.refs if (ref.id in tried_first) == is_tried_first)
    assert images.refs.index(victim) < 8, "among those that are asked again in the end"
    network = kind(loaded.classifier).eval()
    network.victim = images.load(victim, loaded.size)
    watcher = Watcher()
    record = scan(
        network, data, out=tmp_path, attacks=("fgsm", "bim"), eps=GRID, check_sample=0, classes=images.classes,
        accept_preprocessing=True, progress=watcher,
    )  # fmt: skip
    assert record.clean.n_errors == 1
    assert record.verdict.kind == "inconclusive"
    assert victim.id in next(check for check in record.checks if check.id == "finite-answers").why
    assert {row.id: row.error for row in read_rows(tmp_path / "audit.json", record) if row.error} == {victim.id: why}
    assert sum("memory ran out" in line for line in watcher.lines) == n_halvings, "8, 4, 2, 1"
    assert ("batch_sizes" in record.environment.settings) == bool(n_halvings)


class AfraidOfGrey(torch.nn.Module):
    """Raises on a picture of plain grey, which checks show it and no attack does."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        if bool((x == 0.5).flatten(1).all(1).any()):
            raise ZeroDivisionError("no contrast")
        return self.inner(x)


def test_a_model_that_fails_on_what_a_check_shows_it_is_measured_and_called_out(
    model: Path, data: Path, tmp_path: Path
) -> None:
    images = open_images(data)
    network = load_model(model, folder_classes=images.classes).classifier
    options = {"attacks": ("fgsm", "pgd-margin"), "eps": (4,), "check_sample": 2, "classes": images.classes}
    afraid, brave = (
        scan(each, data, out=tmp_path / name, accept_preprocessing=True, **options)
        for name, each in (("afraid", AfraidOfGrey(network).eval()), ("brave", network))
    )
    assert afraid.worst_case == brave.worst_case
    assert afraid.clean.n_errors == 0
    assert afraid.verdict.kind == "inconclusive"
    said = next(check for check in afraid.checks if check.id == "finite-answers")
    assert (said.status, said.value) == ("failed", 2)
    assert "failed on changed pictures of 2 of the sampled images" in said.why
    assert "the model fails on this image (ZeroDivisionError: no contrast)" in said.why


# What programs are told


def test_events_tell_a_program_all_that_words_tell_a_person(model: Path, data: Path, tmp_path: Path) -> None:
    command = [
        "scan", str(model), str(data), "--out", str(tmp_path / "out"), "--attacks", "fgsm", "--eps", "2",
        "--check-sample", "0", "--log-json",
    ]  # fmt: skip
    try:
        result = CliRunner().invoke(app, command)
    finally:
        log_as_json(False)
    assert result.exit_code in (0, 3), result.stderr
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert all({"event", "time", "seconds"} <= event.keys() for event in events)
    assert [event["seconds"] for event in events] == sorted(event["seconds"] for event in events)
    attacking = [event for event in events if event.get("stage") == "attacking"]
    assert attacking[0]["event"] == "start"
    assert (attacking[-1]["event"], attacking[-1]["done"]) == ("finish", N_IMAGES)
    (told,) = (event for event in events if event["event"] == "result")
    assert told["path"] == str(tmp_path / "out" / "audit.json") == result.stdout.strip()
    assert any(event["event"] == "message" and event["text"].startswith("model: ") for event in events)


# What a scan has done


def test_the_status_of_a_scan_is_read_from_its_files(
    model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        small_scan(model, data, tmp_path, progress=Watcher(7, interrupt))
    status = read_status(tmp_path)
    assert (status.kind, status.state, status.done, status.total) == ("scan", "stopped", 7, N_IMAGES)
    partial = json.loads((tmp_path / "audit.partial.json").read_text())
    points = {point["eps_255"]: point["n_correct"] for point in partial["worst_case"]["points"]}
    assert status.says == f"worst case so far {points[1]} of 7 at 1/255, {points[4]} of 7 at 4/255, " + (
        f"{points[8]} of 7 at 8/255"
    )
    with alone_in(tmp_path):
        running = read_status(tmp_path)
        assert (running.state, running.process) == ("running", str(os.getpid()))
    done = read_status(finished[1])
    assert (done.state, done.done, done.says) == ("finished", N_IMAGES, finished[0].verdict.sentence)


class StoppedAtOnce(Watcher):
    """Presses Ctrl-C before anything is attacked."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        super().start(stage, total, done)
        if stage == "attacking":
            interrupt()


def test_no_worst_case_is_told_before_an_image_is_done(model: Path, data: Path, tmp_path: Path) -> None:
    watcher = StoppedAtOnce()
    with pytest.raises(KeyboardInterrupt):
        small_scan(model, data, tmp_path, progress=watcher)
    assert watcher.lines[-1] == "stopped before the first image was done"
    status = read_status(tmp_path)
    assert (status.state, status.done, status.total, status.says) == ("stopped", 0, N_IMAGES, "begun")


def test_a_line_torn_within_a_letter_is_no_damage(tmp_path: Path) -> None:
    """A scan drops it and goes on: nobody may be told to start again."""
    header = {"identity": {"data": {"n_images": 2}, "threat_model": {"eps_255": [1]}}}
    row = ImageRow(id="café.png", sha256="0" * 64, label="a", prediction="a", fooled_at={"fgsm": None})
    line = json.dumps({"row": row.model_dump()}, ensure_ascii=False).encode()
    torn = line[: line.index("é".encode()) + 1]
    (tmp_path / "images.partial.jsonl").write_bytes(json.dumps(header).encode() + b"\n" + line + b"\n" + torn)
    status = read_status(tmp_path)
    assert (status.state, status.done, status.total) == ("stopped", 1, 2)


LOSSES = {"total": 0.5, "cross_entropy": 0.5, "texture": 0.0}


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        '{"n_epochs": 3}',
        '{"n_epochs": 3, "best": 1}',
        '{"n_epochs": -1, "best": {"epoch": 1}}',
        "[" * 10_000,
    ],
)
@pytest.mark.parametrize(
    "name", ["out/training.json", ".out.unfinished/identity.json", ".out.unfinished/metrics.jsonl"]
)
def test_a_retrofit_whose_files_hold_something_else_is_damaged(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(content + "\n")
    with pytest.raises(OutputError, match=r"is damaged; start again with --restart"):
        read_status(tmp_path / "out")


def test_the_status_of_a_run_is_that_of_its_stages(model: Path, data: Path, finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "before").symlink_to(finished[1])
    unfinished = tmp_path / ".assimilated.unfinished"
    unfinished.mkdir()
    (unfinished / "identity.json").write_text(json.dumps({"settings": {"epochs": 15}}))
    no_training = {"train": None, "seconds": 1.0, "worst_patch": None, "worst_feature": None}
    validated = [
        {"n_correct": n_correct, "n_images": 9, "losses": LOSSES, "saturated": None} for n_correct in (5, 6, 7)
    ]
    lines_ = [{"epoch": epoch, "val": val, **no_training} for epoch, val in enumerate(validated)]
    (unfinished / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines_) + '{"torn')
    status = read_status(tmp_path)
    assert (status.kind, status.state, status.done) == ("run", "stopped", 1)
    scanned, trained = status.stages
    assert (scanned.kind, scanned.state) == ("scan", "finished")
    assert (trained.state, trained.done, trained.total) == ("stopped", 2, 15)
    assert trained.says == "7 of 9 validation images correct"
    told = list(lines(status))
    assert len(told) == 3
    assert "run stopped, stages done: 1, last written" in told[0]
    assert "assimilate stopped, 2 of 15 epochs" in told[2]


def test_a_run_that_holds_its_folder_and_has_finished_nothing_has_begun(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with alone_in(tmp_path):
        status = read_status(tmp_path)
    assert (status.kind, status.state, status.process) == ("run", "running", str(os.getpid()))
    assert (status.done, status.stages, status.says) == (0, (), "begun")
    with pytest.raises(OutputError, match="or it has not begun to write yet; pass the folder given as --out"):
        read_status(tmp_path)


def test_a_page_that_is_being_replaced_stays_a_report(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("")
    with alone_in(tmp_path):
        status = read_status(tmp_path)
    assert (status.kind, status.state) == ("report", "running")


def test_the_page_of_an_earlier_run_does_not_make_one_look_finished(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "after").symlink_to(finished[1])
    page = tmp_path / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("of the run before")
    status = read_status(tmp_path)
    assert (status.state, status.says) == ("finished", f"open {page}")
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "images.partial.jsonl").write_text(BEGUN % (18, [4]))
    status = read_status(tmp_path)
    assert (status.state, status.says) == ("stopped", "")


BEGUN = '{"identity": {"data": {"n_images": %s}, "threat_model": {"eps_255": %s}}}\n'


@pytest.mark.parametrize(
    "content", [None, "no json\n", '{"identity": {}}\n', "[]\n", BEGUN % (-1, [4]), BEGUN % (8, '["x"]')]
)
def test_a_folder_without_a_run_has_no_status(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "images.partial.jsonl").write_text(content)
    with pytest.raises(
        OutputError, match="holds nothing that robaudit has written" if content is None else "is damaged"
    ):
        read_status(tmp_path)


# Names


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_an_image_whose_name_is_no_text_is_refused_or_skipped(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    ill = sorted((tmp_path / "data" / "ill").iterdir())
    ill[0].rename(os.fsdecode(os.fsencode(ill[0].parent) + b"/caf\xe9.png"))
    with pytest.raises(DataError, match="its name is no text in the encoding of this locale; rename it"):
        open_images(tmp_path / "data")
    assert open_images(tmp_path / "data", on_bad_image="skip").n_skipped == 1


# A bare environment


def test_a_scan_needs_no_home_no_network_no_terminal_and_no_utf8(
    model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    """Nor a name in the list of users; without rights to isolate the process, only what can be taken away is."""
    isolated = ["unshare", "--net"] if os.name == "posix" and os.geteuid() == 0 else []
    if isolated and subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        isolated = []
    code = "import sys, torch; torch.set_num_threads(int(sys.argv.pop())); from robaudit.cli.main import main; main()"
    out = tmp_path / "result"
    command = [
        *isolated, sys.executable, "-c", code, "scan", str(model), str(data), "--out", str(out), "--check-sample", "0",
        "--attacks", ",".join(ATTACKS), "--eps", ",".join(map(str, GRID)), str(torch.get_num_threads()),
    ]  # fmt: skip
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(command, env=bare, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode in (0, 3), done.stderr.decode()
    assert (out / "images.jsonl").read_bytes() == (finished[1] / "images.jsonl").read_bytes()
    assert b"\x1b" not in done.stderr
    assert os.fsdecode(done.stdout.strip()) == str(out / "audit.json")
