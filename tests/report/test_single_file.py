"""`--single-file`: one file for mail, which needs nothing beside it."""

import base64
import re
from pathlib import Path

import pytest
from test_page import RESOURCES, Page

from robaudit.report.html import compare, templates_folder


@pytest.fixture
def page(tmp_path: Path, before: Path, after: Path) -> Path:
    return compare(before, after, out=tmp_path / "mail", single_file=True)


def test_it_is_the_only_file(page: Path):
    assert [path.name for path in page.parent.rglob("*")] == ["index.html"]


def test_it_refers_to_nothing_outside_and_runs_nothing(page: Path):
    parsed = Page(page.read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in parsed.elements}
    for name, value in parsed.attributes():
        assert not name.startswith("on")
        if name in RESOURCES:
            assert re.fullmatch(r"#[a-z0-9-]+|data:image/png;base64,[A-Za-z0-9+/=]+", value), value


def test_its_pictures_and_style_are_those_of_the_folder(page: Path, tmp_path: Path, before: Path, after: Path):
    folder = compare(before, after, out=tmp_path / "folder").parent
    html = page.read_text(encoding="utf-8")
    embedded = {base64.b64decode(data) for data in re.findall(r"base64,([A-Za-z0-9+/=]+)", html)}
    assert embedded == {path.read_bytes() for path in (folder / "images").iterdir()}
    assert (templates_folder() / "report.css").read_text(encoding="utf-8") in html


def test_written_over_a_folder_it_leaves_no_picture_behind(tmp_path: Path, before: Path, after: Path):
    out = tmp_path / "report"
    compare(before, after, out=out)
    assert list((out / "images").iterdir())
    compare(before, after, out=out, single_file=True)
    assert not list((out / "images").iterdir())
