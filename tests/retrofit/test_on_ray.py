"""Workers of Ray train as one process does, whoever dies on the way. Slow to start, so by hand: pytest -m slow."""

import json
import os
import signal
import subprocess
import sys
import warnings

import pytest

from robaudit.errors import SettingsError
from robaudit.fleet.choice import Workforce
from robaudit.progress import Silent
from robaudit.retrofit.assimilate import assimilate
from robaudit.retrofit.trainers import InProcess, trainers

SETTINGS = {"epochs": 3, "batch_size": 5, "seed": 5, "trains": "front", "augment": "flip,shift"}


@pytest.fixture(scope="module")
def two_cores():
    """A Ray of this machine's own."""
    ray = pytest.importorskip("ray", reason="the extra [ray] is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        ray.init(
            num_cpus=2, address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
        )  # fmt: skip
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def alone(model, data, tmp_path_factory):
    """The folder that one process leaves."""
    out = tmp_path_factory.mktemp("alone") / "out"
    assimilate(model, data, out=out, **SETTINGS)
    return out


def rows(folder):
    """Metrics without the times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def assert_same_curve(folder, expected):
    """All losses within rounding; all counts equal."""
    for one, two in zip(rows(folder), rows(expected), strict=True):
        assert one["epoch"] == two["epoch"]
        assert one["val"]["n_correct"] == two["val"]["n_correct"]
        losses = [(one["val"]["losses"], two["val"]["losses"])] + (
            [(one["train"], two["train"])] if one["train"] else []
        )
        for ours, theirs in losses:
            assert ours == pytest.approx(theirs, rel=2e-5, abs=2e-6)


class Interrupting(Silent):
    """Ends training in the middle of an epoch, as Ctrl-C does."""

    def advance(self, n=1, note=""):
        if note.startswith("epoch 3/"):
            raise KeyboardInterrupt


class Killer(Silent):
    """Kills one of the workers, once, in the middle of an epoch."""

    def __init__(self):
        self.lines, self.killed = [], []

    def advance(self, n=1, note=""):
        if note.startswith("epoch 2/") and not self.killed:
            self.killed = workers()[-1:]
            os.kill(self.killed[0], signal.SIGKILL)

    def say(self, line):
        self.lines.append(line)


def workers():
    """Process ids of the workers of this process's Ray; their names say what they are."""
    told = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    processes = [line.split(maxsplit=2) for line in told.splitlines()]
    parents = {int(pid): int(parent) for pid, parent, _ in processes}

    def is_ours(pid):
        return pid == os.getpid() or (pid in parents and is_ours(parents[pid]))

    return [int(pid) for pid, _, name in processes if name.startswith("ray::RayTrainWorker") and is_ours(int(pid))]


@pytest.mark.slow
def test_two_workers_have_the_loss_curve_of_one_process(two_cores, alone, model, data, tmp_path):
    record = assimilate(model, data, out=tmp_path / "out", engine="ray", workers=2, **SETTINGS)
    assert (record.engine, record.workers) == ("ray", 2)
    assert_same_curve(tmp_path / "out", alone)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_an_epoch_at_most(two_cores, alone, model, data, tmp_path):
    killer = Killer()
    assimilate(model, data, out=tmp_path / "out", engine="ray", workers=2, progress=killer, **SETTINGS)
    assert killer.killed
    assert "a worker was lost: all begin again after the last complete epoch" in killer.lines
    assert_same_curve(tmp_path / "out", alone)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("local", "ray"), ("ray", "local")])
def test_what_one_engine_began_another_ends(first, then, two_cores, alone, model, data, tmp_path):
    engines = {"local": {"engine": "local"}, "ray": {"engine": "ray", "workers": 2}}
    with pytest.raises(KeyboardInterrupt):
        assimilate(model, data, out=tmp_path / "out", progress=Interrupting(), **engines[first], **SETTINGS)
    assert not (tmp_path / "out").exists()
    record = assimilate(model, data, out=tmp_path / "out", **engines[then], **SETTINGS)
    assert record.engine == then
    assert_same_curve(tmp_path / "out", alone)


@pytest.mark.slow
def test_what_a_worker_refuses_is_told_in_its_words(two_cores, model, data, tmp_path):
    with pytest.raises(SettingsError, match="--class-weights 1,2,3: wanted balanced"):
        assimilate(model, data, out=tmp_path / "out", engine="ray", workers=2, **SETTINGS | {"class_weights": "1,2,3"})


def test_one_process_trains_unless_told_otherwise(model, data, tmp_path):
    with trainers(Workforce(), "cpu", 16, 5) as chosen:
        assert isinstance(chosen, InProcess)
    with pytest.raises(SettingsError, match="--workers 2: training is shared out by --engine ray; add that"):
        assimilate(model, data, out=tmp_path / "out", workers=2)


def test_more_workers_than_images_in_a_step_are_refused(model, data, tmp_path):
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    with pytest.raises(SettingsError, match="--workers 5: a step has but 4 images to share out"):
        assimilate(model, data, out=tmp_path / "out", engine="ray", workers=5, **SETTINGS)
    assert list(tmp_path.iterdir()) == []
