"""A scan measured by many workers gives what one process gives, whoever dies on the way."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lethal import Hanging, InlineCrew, Lethal
from small_scans import CLASSES, GRID, MEAN, N_IMAGES, STD, Watcher, interrupt, small_scan

from robaudit.errors import SettingsError
from robaudit.fleet import worker as worker_module
from robaudit.fleet.choice import Workforce
from robaudit.fleet.crew import WorkerLostError
from robaudit.fleet.processes import ProcessCrew
from robaudit.fleet.watch import Watch
from robaudit.fleet.worker import Shard, place_of
from robaudit.records import AuditRecord

Finished = tuple[AuditRecord, Path]
Employ = Callable[..., InlineCrew]


@pytest.fixture
def employ(monkeypatch: pytest.MonkeyPatch) -> Employ:
    """Make the next scans use workers in this process, which tell at once of every image."""

    def employed(size: int = 3, **options: Any) -> InlineCrew:
        crew = InlineCrew(size, **options)
        monkeypatch.setattr(Workforce, "crew", lambda _: crew)
        monkeypatch.setattr(worker_module, "HAND_OVER_SECONDS", 0)
        return crew

    return employed


def rows(out: Path) -> str:
    return (out / "images.jsonl").read_text(encoding="utf-8")


def assert_same(found: AuditRecord, out: Path, finished: Finished) -> None:
    """Rows, counts, checks, pictures and cost, but for the time it took."""
    record, expected = finished
    assert rows(out) == rows(expected)
    told = {"clean", "attacks", "worst_case", "checks", "verdict", "data", "artifacts", "model"}
    assert found.model_dump(include=told) == record.model_dump(include=told)
    assert (found.cost.gradients, found.cost.forwards) == (record.cost.gradients, record.cost.forwards)
    for item in record.artifacts:
        for name in item.files.values():
            assert (out / name).read_bytes() == (expected / name).read_bytes()


def test_workers_find_what_one_process_finds(
    employ: Employ, model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    crew = employ(3)
    assert_same(small_scan(model, data, tmp_path), tmp_path, finished)
    assert len(crew.shards) > crew.size  # it was shared out
    assert crew.is_closed


def test_a_lost_worker_is_replaced_and_its_images_are_measured(
    employ: Employ, model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    """Every fifth answer never comes."""
    n_asked = 0

    def dies(shard: Shard) -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked % 5 == 0

    crew = employ(2, dies=dies)
    assert_same(small_scan(model, data, tmp_path), tmp_path, finished)
    assert crew.n_started > crew.size + 3


def test_an_image_that_no_worker_outlives_is_a_named_error(
    employ: Employ, model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    """It is right and withstands something where nobody dies: to count it as anything but an error would show."""
    expected = [json.loads(line) for line in rows(finished[1]).splitlines()]
    fatal = next(row["id"] for row in expected if row["prediction"] == row["label"])
    employ(2, dies=lambda shard: any(ref.id == fatal for ref in shard.refs))
    watcher = Watcher()
    record = small_scan(model, data, tmp_path, progress=watcher)
    assert any(line.startswith(f"{fatal}: 3 workers died of it") for line in watcher.lines)
    found = {row["id"]: row for row in map(json.loads, rows(tmp_path).splitlines())}
    assert found[fatal]["error"] == "3 workers died of it, one after another (killed by the test)"
    assert (found[fatal]["prediction"], set(found[fatal]["fooled_at"].values())) == (None, {0})
    assert [row for row in found.values() if row["id"] != fatal] == [row for row in expected if row["id"] != fatal]
    for point, before in zip(record.worst_case.points, finished[0].worst_case.points, strict=True):
        assert (point.n_images, point.n_errors) == (N_IMAGES, 1)
        assert point.n_correct <= before.n_correct
    assert record.clean.n_correct == finished[0].clean.n_correct - 1
    (answers,) = [check for check in record.checks if check.id == "finite-answers"]
    assert (answers.status, record.verdict.kind) == ("failed", "inconclusive")
    assert fatal in answers.why


def test_an_image_that_the_model_never_answers_is_found_out_and_is_a_named_error(
    employ: Employ, model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    expected = {row["id"]: row for row in map(json.loads, rows(finished[1]).splitlines())}
    endless = next(id_ for id_, row in expected.items() if row["prediction"] == row["label"])
    crew = employ(2, hangs=lambda shard: any(ref.id == endless for ref in shard.refs))
    watcher = Watcher()
    record = small_scan(model, data, tmp_path, progress=watcher, hang_after=7)
    assert any("each is asked about by itself" in line for line in watcher.lines)
    found = {row["id"]: row for row in map(json.loads, rows(tmp_path).splitlines())}
    assert found.pop(endless)["error"] == "the model had not answered after 7 s"
    assert found == {id_: row for id_, row in expected.items() if id_ != endless}
    assert (record.clean.n_errors, record.verdict.kind) == (1, "inconclusive")
    assert crew.n_started == crew.size + 2  # it hung with others, then alone, and was asked no more


def test_a_model_that_answers_nothing_is_not_blamed_on_images(
    employ: Employ, model: Path, data: Path, tmp_path: Path
) -> None:
    employ(2, hangs=lambda shard: True)
    with pytest.raises(SettingsError, match=r"has not answered for 7 s, 8 times one after another.*--hang-after"):
        small_scan(model, data, tmp_path, hang_after=7)


def test_a_worker_says_what_its_model_never_answers() -> None:
    watch = Watch(0.4)
    may_go_on = threading.Event()

    def work() -> None:
        watch.asking(["well/1.png", "well/2.png"])
        may_go_on.wait()

    assert watch.over(lambda: watch.asking(["ill/1.png"])) == frozenset()
    assert watch.over(work) == {"well/1.png", "well/2.png"}
    may_go_on.set()


def test_a_worker_does_not_count_while_its_model_is_not_asked() -> None:
    watch = Watch(0.2)

    def work() -> None:
        watch.asking(["well/1.png"])
        watch.asking(())
        time.sleep(0.4)  # pictures are read

    assert watch.over(work) == frozenset()


def test_work_that_ends_just_after_a_tick_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def preempted(waiting: Callable[..., Any]) -> Callable[..., Any]:
        def waited(*arguments: Any) -> Any:
            try:
                return waiting(*arguments)
            finally:
                time.sleep(0.05)

        return waited

    monkeypatch.setattr(Future, "result", preempted(Future.result))
    monkeypatch.setattr("robaudit.fleet.watch.wait", preempted(wait), raising=False)
    assert Watch(0.4).over(lambda: time.sleep(0.12)) == frozenset()


def test_what_a_watched_worker_raises_comes_through() -> None:
    def work() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        Watch(5).over(work)


def test_it_is_not_blamed_on_images_when_every_worker_dies(
    employ: Employ, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robaudit.fleet.fleet.MAX_DEATHS_IN_A_ROW", 4)
    employ(2, dies=lambda shard: True)
    with pytest.raises(SettingsError, match=r"6 workers died one after another.*The same command continues"):
        small_scan(model, data, tmp_path)


def test_a_node_that_dies_takes_all_of_its_workers_with_it_and_is_not_the_end(
    employ: Employ, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robaudit.fleet.fleet.MAX_DEATHS_IN_A_ROW", 2)
    n_asked = itertools.count()
    crew = employ(4, dies=lambda shard: next(n_asked) < 4)
    assert small_scan(model, data, tmp_path, attacks=["fgsm"], batch_size=1).clean.n_errors == 0
    assert crew.n_started == 8


def test_a_node_where_no_worker_starts_is_not_the_end(
    employ: Employ, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, n_started = InlineCrew.start, itertools.count()

    def on_a_bad_node(crew: InlineCrew, number: int) -> Future[Any]:
        if next(n_started) >= 5:
            return start(crew, number)
        lost: Future[Any] = Future()
        lost.set_exception(WorkerLostError("no driver"))
        return lost

    monkeypatch.setattr(InlineCrew, "start", on_a_bad_node)
    employ(5)
    assert small_scan(model, data, tmp_path, attacks=["fgsm"]).clean.n_errors == 0


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_of_it_at_once(model: Path, data: Path, tmp_path: Path) -> None:
    """Every worker reads the script again, and would scan, with workers of its own, before it came to anything."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import robaudit\nrobaudit.scan({str(model)!r}, {str(data)!r}, out={str(tmp_path / 'out')!r}, workers=2)\n",
        encoding="utf-8",
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 1
    assert "SettingsError: --engine local: no worker has come to life" in ended.stderr
    assert "a script needs `if __name__ == '__main__':`" in ended.stderr


@pytest.mark.parametrize("first", ["alone", "with workers"])
def test_a_scan_is_continued_by_others(
    first: str, employ: Employ, model: Path, data: Path, finished: Finished, tmp_path: Path
) -> None:
    def begin() -> None:
        with pytest.raises(KeyboardInterrupt):
            small_scan(model, data, tmp_path, progress=Watcher(7, interrupt))

    with pytest.MonkeyPatch.context() as patch:
        if first == "with workers":
            patch.setattr(Workforce, "crew", lambda _: InlineCrew(2))
            patch.setattr(worker_module, "HAND_OVER_SECONDS", 0)
        begin()
    if first == "alone":
        employ(2)
    watcher = Watcher()
    assert_same(small_scan(model, data, tmp_path, progress=watcher), tmp_path, finished)
    assert f"continuing: 7 of {N_IMAGES} images are done" in watcher.lines


MENDED = {"attacks": ("fgsm",), "check_sample": 8}
"""FGSM alone, to which a longer attack is added."""


@pytest.fixture(scope="module")
def mended(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    out = tmp_path_factory.mktemp("mended") / "out"
    return small_scan(model, data, out, **MENDED), out


def test_an_added_attack_is_run_by_the_workers_too(
    employ: Employ, model: Path, data: Path, mended: Finished, tmp_path: Path
) -> None:
    """All images face it."""
    alone, out = mended
    crew = employ(2)
    together = small_scan(model, data, tmp_path, **MENDED)
    added = [attack.name for attack in alone.attacks if attack.added_by]
    assert added
    assert rows(tmp_path) == rows(out)
    assert together.checks == alone.checks
    assert any("_pursued" in str(shard.ask) for shard in crew.shards)


def test_an_image_that_kills_workers_under_an_added_attack_alone_is_an_error_altogether(
    employ: Employ, model: Path, data: Path, mended: Finished, tmp_path: Path
) -> None:
    alone, out = mended
    expected = {row["id"]: row for row in map(json.loads, rows(out).splitlines())}
    fatal = next(id_ for id_, row in expected.items() if row["prediction"] == row["label"])
    employ(2, dies=lambda shard: "_pursued" in str(shard.ask) and any(ref.id == fatal for ref in shard.refs))
    together = small_scan(model, data, tmp_path, **MENDED)
    found = {row["id"]: row for row in map(json.loads, rows(tmp_path).splitlines())}
    assert found[fatal]["error"] == "3 workers died of it, one after another (killed by the test)"
    assert (found[fatal]["prediction"], set(found[fatal]["fooled_at"].values())) == (None, {0})
    assert together.clean.n_errors == 1
    assert together.clean.n_correct == alone.clean.n_correct - 1
    assert together.verdict.kind == "inconclusive"


def test_a_worker_that_computes_otherwise_is_refused(
    employ: Employ, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    employ(2)
    elsewhere = replace(place_of(torch.device("cpu")), n_threads=99)
    monkeypatch.setattr(worker_module, "place_of", lambda _: elsewhere)
    with pytest.raises(SettingsError, match=r"has threads 99, here \d+; a row would depend on who measured it"):
        small_scan(model, data, tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"engine": "dask"}, "engine dask: wanted 'local' or 'ray'"),
        ({"workers": 0}, "--workers 0: wanted 1 or more"),
        ({"ray_address": "auto"}, "--ray-address auto: is for --engine ray"),
        ({"workers": 2, "gpus_per_worker": 0.5}, "--gpus-per-worker 0.5: is for --engine ray"),
    ],
)
def test_choices_that_contradict_themselves_are_refused(
    options: dict[str, Any], expected: str, model: Path, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=expected):
        small_scan(model, data, tmp_path, **options)


def test_one_process_measures_by_itself_unless_told_otherwise() -> None:
    assert Workforce().crew() is None
    assert Workforce(workers=1).crew() is None
    assert isinstance(Workforce(workers=2).crew(), ProcessCrew)


@pytest.mark.parametrize(
    ("engine", "network"),
    [
        ("local", Lethal(3)),
        pytest.param("local", Hanging(3), marks=pytest.mark.slow),
        pytest.param("ray", Lethal(3), marks=pytest.mark.slow),
        pytest.param("ray", Hanging(3), marks=pytest.mark.slow),
    ],
)
def test_real_workers_that_an_image_kills(
    engine: str, network: Lethal, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes, or two actors: one image ends or stops them, beside another and alone; the rest is as if alone."""
    monkeypatch.setattr("robaudit.fleet.fleet.MAX_DEATHS", 1)  # each death costs the start of a process
    if engine == "ray":
        pytest.importorskip("ray", reason="the extra [ray] is not installed")
    options: dict[str, Any] = {
        "attacks": ("fgsm",), "eps": GRID, "classes": CLASSES, "mean": (MEAN,) * 3, "std": (STD,) * 3,
        "accept_preprocessing": True, "batch_size": 2,
    }  # fmt: skip
    alone = small_scan(network, data, tmp_path / "alone", **options)
    assert alone.clean.n_errors == 0
    with two_cores(engine):
        together = {"engine": engine, "workers": 2, "hang_after": 15}
        found = small_scan(network, data, tmp_path / "together", **together, **options)
    expected, got = (
        {row["id"]: row for row in map(json.loads, rows(tmp_path / name).splitlines())}
        for name in ("alone", "together")
    )
    (fatal,) = [id_ for id_, row in got.items() if row["error"]]
    assert fatal.endswith("/03.png")
    assert {id_: row for id_, row in got.items() if id_ != fatal} == {i: r for i, r in expected.items() if i != fatal}
    assert found.clean.n_errors == 1


@contextmanager
def two_cores(engine: str) -> Iterator[None]:
    """A Ray of this machine's own, where one is wanted."""
    if engine != "ray":
        yield
        return
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        ray.init(
            num_cpus=2, address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}},
        )  # fmt: skip
        try:
            yield
        finally:
            ray.shutdown()


def test_a_machine_that_starts_no_further_process_is_told_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("robaudit.fleet.processes.ProcessPoolExecutor", full)
    crew = ProcessCrew(3)
    crew.open(b"", "cpu", 1)
    with pytest.raises(SettingsError, match=r"--workers 3: no room here for worker 1 \(Too many open files\); .*fewer"):
        crew.start(0)
    crew.close()


def test_what_a_worker_raises_comes_back_as_it_is() -> None:
    crew = ProcessCrew(1)
    crew.open(b"no orders", "cpu", 1)
    try:
        with pytest.raises(pickle.UnpicklingError, match="invalid load key"):
            crew.result(crew.start(0))
        [process] = multiprocessing.active_children()
        assert process.is_alive()
    finally:
        crew.close()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL  # at once, though it never said where it runs
