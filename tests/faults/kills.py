"""Signals at random moments of scan, assimilate and compare: is the rerun what would have been without?

    python tests/faults/kills.py [--kills 100] [--seed 0] [--folder DIR] [--epochs 4] [--train 24]

Four of five signals are SIGKILL; the fifth, SIGTERM and SIGINT by turns, must end the command with 130. Each has a
folder of its own. After it, no file may be half-written under its final name; then the same command runs again, must
end as an uninterrupted one, and everything it leaves must equal an uninterrupted run's, times aside.
Prints a line per command and exits 1 where anything went wrong. A short version is part of the tests.

Commands run in forks of this process, so that moments fall into their work and not into the import of torch.
"""

from __future__ import annotations

import os

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # a fork cannot take a pool of threads along

import argparse
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

import robaudit.audit.scan
import robaudit.job.run
import robaudit.retrofit.assimilate  # noqa: F401 (imported before the forks)
from robaudit.cli.main import main as robaudit_main
from robaudit.errors import ExitCode
from robaudit.job.phantoms import CLASSES, SIDE, phantom
from robaudit.job.small_classifier import train_small_classifier
from robaudit.progress import Silent
from robaudit.records import JOURNAL_FILE

PER_CLASS = {"val": 8, "test": 8}
TIMES = {"created", "seconds"}
"""Keys of JSON documents that may differ between runs."""
HIDDEN = ".unfinished-"


@dataclass
class Tried:
    """What became of one command."""

    seconds: float
    code: int
    """That it ends with: the few images may make a scan inconclusive."""
    facts: dict[str, object]
    kills: int = 0
    finished_before: int = 0
    most_lost: int = 0
    """Scan: images attacked again; assimilate: epochs trained again."""
    stages: Counter[str] = field(default_factory=Counter)
    """How far it had come."""
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep what was written here")
    parser.add_argument("--epochs", type=int, default=4, help="of assimilate")
    parser.add_argument("--train", type=int, default=24, help="images of each class to learn from")
    options = parser.parse_args()
    COMMANDS["assimilate"] = partial(assimilate, epochs=options.epochs)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        prepare(folder, PER_CLASS | {"train": options.train})
        tried = {name: uninterrupted(folder, name) for name in COMMANDS}
        dice = random.Random(options.seed)
        for index in range(options.kills):
            name = list(COMMANDS)[index % len(COMMANDS)]
            one_kill(folder, name, index, dice, tried[name])
    for name, what in tried.items():
        stages = ", ".join(f"{stage} {n}" for stage, n in sorted(what.stages.items()))
        print(
            f"{name}: {what.kills} ended ({stages}), {what.finished_before} had ended before; done again at most "
            f"{what.most_lost} {UNITS[name]}; {len(what.wrong)} wrong"
        )
        for line in what.wrong:
            print(f"  {line}")
    sys.exit(any(what.wrong for what in tried.values()))


def prepare(folder: Path, per_class: dict[str, int]) -> None:
    """Draw phantoms, and train the demo's classifier on them."""
    dice = np.random.default_rng(0)
    for part, n in per_class.items():
        for name in CLASSES:
            place = folder / "data" / part / name
            place.mkdir(parents=True, exist_ok=True)
            for index in range(n):
                Image.fromarray(phantom(name == "lesion", dice)).save(place / f"{index:03d}.png")
    # In a fork, as everything that computes.
    forked(lambda: train_small_classifier(folder / "data", folder / "model", (SIDE, SIDE), 0, Silent()), folder / "log")


def scan(folder: Path, out: Path) -> list[str]:
    return [
        "scan", str(folder / "model"), str(folder / "data"), "--out", str(out), "--attacks", "fgsm,bim",
        "--eps", "1,2,4", "--accept-preprocessing", "--check-sample", "1", "--batch-size", "4",
    ]  # fmt: skip


def assimilate(folder: Path, out: Path, *, epochs: int = 4) -> list[str]:
    return [
        "assimilate", str(folder / "model"), str(folder / "data"), "--out", str(out),
        "--epochs", str(epochs), "--batch-size", "8",
    ]  # fmt: skip


def compare(folder: Path, out: Path) -> list[str]:
    audit = str(folder / "scan" / "audit.json")
    return ["compare", audit, audit, "--out", str(out)]


COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {"scan": scan, "assimilate": assimilate, "compare": compare}
UNITS = {"scan": "images beside those in flight", "assimilate": "epochs", "compare": "of nothing"}


def uninterrupted(folder: Path, name: str) -> Tried:
    """Run a command to its end: what it leaves, and how long it takes."""
    started = time.monotonic()
    code = forked(lambda: run(COMMANDS[name](folder, folder / name)), folder / "log")
    assert code in (ExitCode.OK, ExitCode.INCONCLUSIVE), (folder / "log").read_text()
    return Tried(time.monotonic() - started, code, facts(folder / name))


def one_kill(folder: Path, name: str, index: int, dice: random.Random, tried: Tried) -> None:
    out = folder / f"killed-{index}" / name
    out.parent.mkdir()
    if name == "compare" and index % 2:
        shutil.copytree(folder / name, out)  # over an earlier report
    command = COMMANDS[name](folder, out)
    sent = (signal.SIGTERM, signal.SIGINT)[index % 2] if index % 5 == 4 else signal.SIGKILL
    code = forked(lambda: run(command), folder / "log", sent, after=dice.uniform(0.05, tried.seconds))
    if code == tried.code:
        tried.finished_before += 1
    else:
        tried.kills += 1
        tried.stages[stage_of(out)] += 1
        if code != (-signal.SIGKILL if sent == signal.SIGKILL else ExitCode.INTERRUPTED):
            tried.wrong.append(f"{index}: ended with {code}: {(folder / 'log').read_text()[-300:]}")
    tried.wrong += [f"{index}: {path.relative_to(folder)} is half-written" for path in half_written(out.parent)]
    before = done_in(out)
    code = forked(lambda: run(command), folder / "log")
    words = (folder / "log").read_text()
    if code != tried.code:
        tried.wrong.append(f"{index}: run again, ended with {code}: {words[-300:]}")
        return
    tried.most_lost = max(tried.most_lost, before - gone_on_from(name, words, before))
    found = facts(out)
    tried.wrong += [
        f"{index}: {path} differs" for path in found.keys() | tried.facts if found.get(path) != tried.facts.get(path)
    ]
    tried.wrong += [f"{index}: {path.name} is left over" for path in out.parent.iterdir() if path != out]
    shutil.rmtree(out.parent)


def run(command: list[str]) -> None:
    sys.argv = ["robaudit", *command]
    robaudit_main()


def forked(work: Callable[[], None], log: Path, sent: signal.Signals | None = None, after: float = 0) -> int:
    """Do something in a process of its own; returns its exit code, negative for the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            work()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    if sent is not None:
        time.sleep(after)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        os.kill(pid, sent)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def stage_of(out: Path) -> str:
    """How far a killed command had come, from what it left."""
    unfinished = out.parent / f".{out.name}.unfinished"
    for place, name, stage in (
        (out, "index.html", "page written"), (out, "audit.json", "record written"), (out, JOURNAL_FILE, "measuring"),
        (out, "training.json", "in place"), (unfinished, "training.json", "all but in place"),
        (unfinished, "model.safetensors", "weights written"), (unfinished, "state.pt", "training"),
        (unfinished, ".lock", "first epoch"), (out, ".lock", "begun"),
    ):  # fmt: skip
        if (place / name).exists():
            return stage
    return "nothing written"


def done_in(out: Path) -> int:
    """Images in the journal, or epochs in the metrics."""
    journal, metrics = out / JOURNAL_FILE, out.parent / f".{out.name}.unfinished" / "metrics.jsonl"
    if journal.exists():
        rows = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
        return len({row["row"]["id"] for row in rows if "row" in row})
    return len(metrics.read_text().splitlines()) - 1 if metrics.exists() else 0


def gone_on_from(name: str, words: str, before: int) -> int:
    """What the second run says that it need not do again."""
    pattern = {"scan": r"continuing: (\d+) of", "assimilate": r"going on after epoch (\d+)"}.get(name)
    found = re.search(pattern, words) if pattern else None
    return int(found[1]) if found else 0 if pattern and "already" not in words else before


def half_written(folder: Path) -> list[Path]:
    """Files under their final names that are not whole."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(HIDDEN) and not path.name.startswith(".tmp") and not whole(path)
    ]


def whole(path: Path) -> bool:
    try:
        match path.suffix:
            case ".json":
                json.loads(path.read_text())
            case ".jsonl":
                lines = path.read_bytes().split(b"\n")
                assert path.name == JOURNAL_FILE or lines[-1] == b""
                [json.loads(line) for line in lines[:-1]]
            case ".png":
                Image.open(path).load()
            case ".safetensors":
                safe_open(path, "np").keys()
            case ".html":
                text = path.read_text()
                assert text.rstrip().endswith("</html>")
                assert all((path.parent / name).exists() for name in re.findall(r'src="([^":]+)"', text))
            case ".css" | ".csv":
                assert path.stat().st_size
            case ".pt":
                import torch

                torch.load(path, weights_only=True)
    except Exception:
        return False
    return True


def facts(out: Path) -> dict[str, object]:
    """Everything that a command left, times aside."""
    return {
        str(path.relative_to(out)): without_times(path)
        for path in out.rglob("*")
        # The page beside a record says when that was made.
        if path.is_file() and path.relative_to(out).parts[0] != "report"
    }


def without_times(path: Path) -> object:
    if path.suffix == ".json":
        return dropped(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [dropped(json.loads(line)) for line in path.read_text().split("\n")[:-1]]
    return path.read_bytes()


def dropped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: dropped(inner) for key, inner in value.items() if key not in TIMES | {"command"}}
    return [dropped(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
