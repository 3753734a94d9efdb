"""The wheel holds everything: the templates stand at the top of the repository, and must be found from it."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from robaudit import __version__
from robaudit.records import AUDIT_FILE, IMAGES_FILE, AuditRecord, ImageRow

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an sdist of the repository, and the wheel that was built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len([*out.glob("*.whl"), *out.glob("*.tar.gz")]) == len([*out.iterdir()]) == 2
    return out


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the content of the wheel."""
    [wheel] = built.glob("*.whl")
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_an_index_would_take_them(built: Path) -> None:
    pytest.importorskip("twine")
    check = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sdist_holds_what_its_tests_and_readers_need(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"SECURITY.md", "Makefile", "action.yml", "requirements/dev.lock", "tests/conftest.py"} <= names
    assert not any(name.startswith((".", "out/", "dist/")) for name in names - {".gitignore"})


def test_the_wheel_installs_into_an_empty_environment(built: Path, tmp_path: Path) -> None:
    """Its dependencies are this environment's; without a network there are no others."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    [wheel] = built.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    command = [python, "-m", "robaudit"]
    alone = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in alone.stderr, "or it is not empty, and proves nothing"

    [site] = (tmp_path / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    code = "import robaudit; print(robaudit.__file__)"
    where = subprocess.run([python, "-c", code], cwd=tmp_path, env={}, capture_output=True, text=True, check=True)
    assert Path(where.stdout.strip()).is_relative_to(site)
    script = python.with_name("robaudit")
    done = subprocess.run([script, "--version"], cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert __version__ in done.stdout


def test_the_wheel_holds_the_package_and_nothing_beside_it(unpacked: Path) -> None:
    assert {entry.name.partition("-")[0] for entry in unpacked.iterdir()} == {"robaudit"}
    assert (unpacked / "robaudit" / "templates" / "report.html.j2").is_file()
    assert (unpacked / "robaudit" / "docs" / "checks" / "unbounded.md").is_file()
    assert (unpacked / "robaudit" / "py.typed").is_file()


def test_the_report_is_rendered_from_the_wheel(
    unpacked: Path, tmp_path: Path, audit_of: Callable[..., AuditRecord]
) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        (tmp_path / name / AUDIT_FILE).write_text(audit_of(4, 4).model_dump_json(), encoding="utf-8")
        rows = [
            ImageRow(id=f"{label}/{i}.png", sha256="3" * 64, label=label, prediction=label, fooled_at={"pgd": None})
            for label in ("cancer", "no-cancer")
            for i in range(2)
        ]
        (tmp_path / name / IMAGES_FILE).write_text("".join(row.model_dump_json() + "\n" for row in rows), "utf-8")
    code = (
        "import robaudit.report.html as html; from pathlib import Path;"
        "print(html.templates_folder());"
        "html.compare(Path('before/audit.json'), Path('after/audit.json'), out=Path('report'))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(unpacked / "robaudit" / "templates")
    assert "<html" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="unbounded"' in (tmp_path / "report" / "checks.html").read_text(encoding="utf-8")
