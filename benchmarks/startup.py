"""How long `robaudit --help` takes, against importing the libraries it cannot do without.

    python benchmarks/startup.py

Each is a fresh interpreter, measured in turns; the shortest time of each counts, since the rest is other work of
the machine.
"""

import subprocess
import sys
import time

REPEATS = 9
LIBRARIES = [sys.executable, "-c", "import typer, rich.console, rich.table, pydantic, jinja2"]
HELP = [sys.executable, "-m", "robaudit", "--help"]


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    times = [(seconds(LIBRARIES), seconds(HELP)) for _ in range(REPEATS)]
    libraries, help_ = (min(column) for column in zip(*times, strict=True))
    print(f"import of typer, rich, pydantic, jinja2  {libraries:.3f} s")
    print(f"robaudit --help                          {help_:.3f} s")
    print(f"ratio                                    {help_ / libraries:.2f}  (at most 2 is wanted)")


if __name__ == "__main__":
    main()
