"""A real cluster on this machine: two nodes started with `ray start`, one of which is killed in mid-scan."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("with_ray")]

ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join(sys.path),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # a token that another Ray left in the home folder would be asked for
}
# Long enough that the second node's worker comes before the first's is done.
SCAN = ("--attacks", "fgsm,bim,pgd-1000x2", "--eps", "1,2,4,8", "--check-sample", "0", "--precision", "float32")


@pytest.fixture
def with_ray() -> None:
    """Not at collection, where every worker would import it for tests that are not run."""
    pytest.importorskip("ray", reason="the extra [ray] is not installed")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def node(*options: str) -> Iterator[int]:
    """A node of one core; yields the process that all of its own descend from."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", *options]
    started = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield started.pid
    finally:
        kill_with_children(started.pid)
        started.wait()


def kill_with_children(pid: int) -> None:
    """As when the plug is pulled."""
    for victim in [pid, *descendants(pid)]:
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    pids = [int(child) for child in children.stdout.split()]
    return pids + [further for child in pids for further in descendants(child)]


def measures(pid: int) -> bool:
    """Whether a worker of this node is at its images just now; Ray titles a process by what it runs."""
    processes = ",".join(map(str, descendants(pid))) or "0"
    titles = subprocess.run(["ps", "-o", "args=", "-p", processes], capture_output=True, text=True, check=False)
    return "ray::Worker.find" in titles.stdout


def n_nodes(address: str) -> int:
    code = (
        f"import ray; ray.init('{address}', logging_level='ERROR', log_to_driver=False); "
        "print(sum(node['Alive'] for node in ray.nodes()))"
    )
    told = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    return int(told.stdout.split()[-1]) if told.returncode == 0 else 0


def wait_for_nodes(address: str, wanted: int) -> None:
    for _ in range(60):
        if n_nodes(address) == wanted:
            return
        time.sleep(2)
    pytest.fail(f"{address} never had {wanted} nodes")


def robaudit(model: Path, data: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "robaudit", "scan", str(model), str(data), "--out", str(out), *SCAN, *options]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def n_done(out: Path) -> int:
    journal = out / "images.partial.jsonl"
    return sum('"row"' in line for line in journal.read_text().splitlines()) if journal.exists() else 0


def test_a_scan_outlives_a_node_and_welcomes_another(model: Path, data: Path, tmp_path: Path) -> None:
    """Complete, and equal to one process in every row: a node dies in mid-scan, and another joins after it."""
    alone = robaudit(model, data, tmp_path / "alone")
    _, told = alone.communicate(timeout=900)
    assert alone.returncode == 0, told

    port = free_port()
    address = f"127.0.0.1:{port}"
    with node("--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"):
        wait_for_nodes(address, 1)
        with node(f"--address={address}") as second:
            wait_for_nodes(address, 2)
            options = ("--engine", "ray", "--ray-address", address, "--workers", "2")
            scan = robaudit(model, data, tmp_path / "together", *options)
            while not measures(second) and scan.poll() is None:
                time.sleep(0.05)
            assert scan.poll() is None, "the scan ended before a node could be killed"
            kill_with_children(second)
            n_before = n_done(tmp_path / "together")
        with node(f"--address={address}"):
            _, told = scan.communicate(timeout=900)
    assert scan.returncode == 0, told
    assert n_before < len((tmp_path / "alone" / "images.jsonl").read_text().splitlines())
    assert "a worker was lost" in told
    assert "queued again" in told
    same = [(tmp_path / name / "images.jsonl").read_text() for name in ("alone", "together")]
    assert same[0] == same[1]
    counts = [json.loads((tmp_path / name / "audit.json").read_text()) for name in ("alone", "together")]
    for part in ("clean", "attacks", "worst_case", "checks", "verdict"):
        assert counts[0][part] == counts[1][part]
