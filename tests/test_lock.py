"""requirements/: the lock pins what pyproject.toml asks for, the minimum what it allows, and neither names a place."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK, MINIMUM = ((REPOSITORY / "requirements" / name).read_text("utf-8") for name in ("dev.lock", "minimum.txt"))


def asked(*extras: str) -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    return [Requirement(line) for line in lines if not line.startswith("robaudit")]


def pinned(text: str) -> dict[str, set[Version]]:
    """Name -> its versions; a universal resolution may have one per platform."""
    found: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(name, set()).add(Version(version))
    return found


EXTRAS = tuple(PROJECT["optional-dependencies"])


def test_everything_asked_for_is_pinned_with_hashes() -> None:
    pins = pinned(LOCK)
    assert [str(wanted) for wanted in asked(*EXTRAS) if not pins.get(wanted.name)] == []
    assert all(version in wanted.specifier for wanted in asked(*EXTRAS) for version in pins[wanted.name])
    entries = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", LOCK, flags=re.MULTILINE))
    assert [entry for entry in entries if entry.strip() and "--hash=sha256:" not in entry] == []


def test_the_oldest_versions_are_those_that_are_promised() -> None:
    """A bound that no resolution reaches is a promise nobody has tested."""
    pins = pinned(MINIMUM)
    for wanted in asked(*(extra for extra in EXTRAS if extra != "dev")):
        [lowest] = [Version(bound.version) for bound in wanted.specifier if bound.operator == ">="]
        assert pins[wanted.name] == {lowest}, wanted


def test_no_place_is_named() -> None:
    assert not re.search(r"://|--index-url|--find-links|@ ", LOCK + MINIMUM)
