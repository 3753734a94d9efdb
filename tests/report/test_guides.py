"""The page that says what each check means: complete, linked, and as strict as the report itself."""

import re
from pathlib import Path

import pytest
from made_up_audits import make_record, make_rows, write_audit

from robaudit.records import Check
from robaudit.report.guides import guides, read_guides
from robaudit.report.html import read_page, render_guides, write_report


def check(id_: str, status: str) -> Check:
    return Check(id=id_, status=status, value=1.0, threshold=0.0, why="Because.", remedy="Mend it.")


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    rows = make_rows()
    checks = (check("unbounded", "failed"), check("repeatable", "passed"), check("<b>home-made</b>", "warning"))
    return write_audit(tmp_path / "audit", make_record(rows, checks=checks), rows)


def test_every_check_of_a_report_leads_to_where_it_is_explained(audit: Path, tmp_path: Path):
    page = write_report(read_page([audit]), tmp_path / "site")
    links = set(re.findall(r'href="checks\.html#([^"]+)"', page.read_text(encoding="utf-8")))
    assert links == {"unbounded", "repeatable"}
    explained = (page.parent / "checks.html").read_text(encoding="utf-8")
    for id_ in links:
        assert f'<section id="{id_}"' in explained
    assert 'href="index.html"' in explained


def test_every_link_of_a_report_leads_somewhere(audit: Path, tmp_path: Path):
    page = write_report(read_page([audit]), tmp_path / "site")
    texts = {path.name: path.read_text(encoding="utf-8") for path in page.parent.glob("*.html")}
    assert texts.keys() == {"index.html", "checks.html"}
    for name, text in texts.items():
        for link in re.findall(r'href="([^"]*)"', text):
            file, _, anchor = link.partition("#")
            assert (page.parent / (file or name)).is_file(), (name, link)
            assert not anchor or f'id="{anchor}"' in texts[file or name], (name, link)


def test_a_page_to_mail_links_to_nothing_beside_it(audit: Path, tmp_path: Path):
    page = write_report(read_page([audit]), tmp_path / "mail", single_file=True)
    assert "checks.html" not in page.read_text(encoding="utf-8")
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]


def test_the_page_runs_nothing_and_styles_nothing_inline():
    page = render_guides()
    for forbidden in ("<script", "<style", " style=", "data:", "http:", "https:", "javascript:", " onload"):
        assert forbidden not in page, forbidden


def test_each_guide_says_what_is_looked_at_and_what_to_do():
    assert len(read_guides()) == len(guides()) >= 22
    for guide in read_guides():
        assert guide.html.startswith(f"<h2>{guide.id}</h2>")
        for part in ("What is looked at.", "Speaks up when", "What to do."):
            assert f"<strong>{part}</strong>" in guide.html, guide.id
