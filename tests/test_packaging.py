"""The wheel holds everything: the templates stand at the top of the repository, and must be found from it."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from robaudit.records import AUDIT_FILE, IMAGES_FILE, AuditRecord, ImageRow

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the content of a freshly built wheel."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(REPOSITORY)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def test_the_wheel_holds_the_package_and_nothing_beside_it(unpacked: Path) -> None:
    assert {entry.name.partition("-")[0] for entry in unpacked.iterdir()} == {"robaudit"}
    assert (unpacked / "robaudit" / "templates" / "report.html.j2").is_file()
    assert (unpacked / "robaudit" / "docs" / "checks" / "unbounded.md").is_file()


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
