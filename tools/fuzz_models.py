"""Damage model files at random for hours: `python tools/fuzz_models.py --rounds 10000 [KIND ...]`.

Every file must end in a loaded model or in one line, within seconds and with bounded memory. Each round runs in a child
process that is told what to load, so that a crash of the interpreter is seen, named by its seed, and survived.
"""

import argparse
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "load"))

import damage

SLOW_SECONDS = 60
"""Of processor time for one file: on a busy machine the clock would blame the file."""
PATIENCE_SECONDS = 3600.0
"""By the clock, for a child that waits for something instead of computing."""
MEMORY_BYTES = 12 * 2**30
"""Address space of the child: torch and its libraries alone map several gigabytes."""


def main() -> int:
    """Fuzz the kinds asked for; 1 if any file ended in something else than a model or a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(damage.KINDS)}; default: all of them")
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    unknown = set(options.kinds) - set(damage.KINDS)
    if unknown:
        parser.error(f"unknown kinds {', '.join(sorted(unknown))}; wanted some of {', '.join(damage.KINDS)}")
    seeds = range(options.first_seed, options.first_seed + options.rounds)
    failures = [fuzz(kind, seeds) for kind in options.kinds or damage.KINDS]
    return int(any(failures))


def fuzz(kind: str, seeds: range) -> int:
    """Damage one file once per seed; returns how often that went wrong."""
    outcomes: Counter[str] = Counter()
    started, slowest, peak_kib = time.monotonic(), 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        content = damage.intact(kind, Path(folder))
        child, ours = start(kind, content)
        for seed in seeds:
            begun = time.monotonic()
            ours.send(seed)
            try:
                found, reached_kib = ours.recv() if ours.poll(PATIENCE_SECONDS) else ("hangs", 0)
                peak_kib = max(peak_kib, reached_kib)
            except EOFError:
                found = f"crashes, or computes for {SLOW_SECONDS} s"
            slowest = max(slowest, time.monotonic() - begun)
            outcomes[found.splitlines()[0]] += 1
            if found not in ("loaded", "refused"):
                print(f"{kind} seed {seed}: {found}", flush=True)
                child.kill()
                child, ours = start(kind, content)
        child.kill()
    seconds = time.monotonic() - started
    print(
        f"{kind}: {len(seeds)} files in {seconds:.0f} s, slowest {slowest:.1f} s, "
        f"peak memory {peak_kib / 1024:.0f} MiB, {dict(outcomes)}",
        flush=True,
    )
    return sum(outcomes.values()) - outcomes["loaded"] - outcomes["refused"]


def start(kind: str, content: bytes) -> tuple[multiprocessing.Process, Connection]:
    """A child that loads what it is told to."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.Process(target=load_on_demand, args=(theirs, kind, content), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def load_on_demand(pipe: Connection, kind: str, content: bytes) -> None:
    """Answer each seed with what became of the file, and the most memory (KiB) this process has held."""
    import warnings

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        while True:
            path.write_bytes(damage.damaged(content, random.Random(pipe.recv())))
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(used.ru_utime + used.ru_stime) + SLOW_SECONDS
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
            try:
                found = damage.outcome(path)
            except BaseException:
                found = traceback.format_exc(limit=-6)
            pipe.send((found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


if __name__ == "__main__":
    sys.exit(main())
