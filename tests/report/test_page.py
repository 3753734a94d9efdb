"""The written report: what it may contain, and that its numbers are the record's."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made_up_audits import edit, make_data, make_gallery, make_model, make_record, make_rows, write_audit

from robaudit.errors import OutputError
from robaudit.records import Check
from robaudit.report.html import compare, read_page, templates_folder, write_report

HOSTILE = "<img src=x onerror=alert(1)>"
RESOURCES = ("src", "href", "srcset", "data", "action", "poster", "xlink:href", "formaction")


class Page(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, in one line."""
        return " ".join(" ".join(self.texts).split())

    def attributes(self) -> list[tuple[str, str]]:
        """All attributes of all elements."""
        return [(name, value or "") for _, attributes in self.elements for name, value in attributes.items()]


@pytest.fixture
def out(tmp_path: Path, before: Path, after: Path) -> Path:
    return compare(before, after, out=tmp_path / "out", without_glcm=after).parent


@pytest.fixture
def page(out: Path) -> Page:
    return Page((out / "index.html").read_text(encoding="utf-8"))


def assert_static(page: Page) -> None:
    """Nothing that a strict content security policy would refuse."""
    assert not {"script", "style", "iframe", "object", "embed", "base", "form", "foreignobject"} & {
        tag for tag, _ in page.elements
    }
    for name, value in page.attributes():
        assert name != "style"
        assert not name.startswith("on"), name
        if name in RESOURCES:
            assert re.fullmatch(r"report\.css|images/[0-9a-f]{16}\.png|#[a-z0-9-]+", value), value


def test_the_page_holds_nothing_that_runs_or_is_fetched(page: Page, out: Path):
    assert_static(page)
    css = (out / "report.css").read_text(encoding="utf-8")
    assert "@import" not in css
    assert "url(" not in css


def test_the_page_is_said_to_be_english_and_has_one_first_heading(page: Page):
    assert ("html", {"lang": "en-GB"}) in page.elements
    assert [tag for tag, _ in page.elements].count("h1") == 1
    assert [tag for tag, _ in page.elements].count("main") == 1


def test_headings_skip_no_level(page: Page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_ids_are_unique_and_references_reach_one(page: Page):
    ids = [value for name, value in page.attributes() if name == "id"]
    assert len(ids) == len(set(ids))
    referred = [
        target
        for name, value in page.attributes()
        for target in (
            value.split() if name == "aria-labelledby" else [value[1:]] if name == "href" and value[0] == "#" else []
        )
    ]
    assert set(referred) <= set(ids)


def test_every_wide_table_scrolls_in_a_named_region_that_keys_reach(page: Page):
    scrolling = [attributes for _, attributes in page.elements if attributes.get("class") == "scroll"]
    assert len(scrolling) == [tag for tag, _ in page.elements].count("table")
    for attributes in scrolling:
        assert attributes["role"] == "region"
        assert attributes["tabindex"] == "0"
        assert attributes.get("aria-label") or attributes.get("aria-labelledby")


def test_every_picture_is_there_and_says_what_it_shows(page: Page, out: Path):
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert pictures
    for attributes in pictures:
        assert (out / str(attributes["src"])).is_file()
        assert attributes["alt"]
        assert attributes["width"] == attributes["height"] == "8"


def test_every_chart_has_title_description_and_titled_points(page: Page):
    tags = [tag for tag, _ in page.elements]
    charts = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("role") == "img"]
    assert len(charts) == 5
    assert tags.count("desc") == 5
    assert tags.count("title") == 1 + 5 + 5 * 2 * 9  # of the page, of the charts, of their points


def test_the_verdict_comes_before_any_picture_or_table(page: Page):
    tags = [tag for tag, _ in page.elements]
    assert tags.index("h1") < tags.index("svg") < tags.index("table")


def test_numbers_on_the_page_are_those_of_the_records(page: Page, before: Path, after: Path):
    for path in (before, after):
        record = json.loads(path.read_text(encoding="utf-8"))
        for point in record["worst_case"]["points"]:
            share = 100 * point["n_correct"] / point["n_images"]
            words = f"{point['eps_255']}/255: {point['n_correct']} of {point['n_images']} correct, {share:.1f}%"
            assert words in page.text
        assert f"{record['clean']['n_correct']} of {record['clean']['n_images']} images" in page.text


def test_the_fixed_sentence_and_the_missing_checks_are_said(page: Page):
    assert "Robust accuracy is an upper bound" in page.text
    assert "No believability checks were run in this audit." in page.text
    assert "What the number does not mean" in page.text


def test_a_note_on_the_images_is_the_first_thing_said(tmp_path: Path):
    rows = make_rows()
    data = make_data(rows, note="Synthetic phantoms generated by robaudit demo")
    audit = write_audit(tmp_path / "demo", make_record(rows, data=data), rows)
    page = Page(compare(audit, audit, out=tmp_path / "out").read_text(encoding="utf-8"))
    assert page.text.index("Synthetic phantoms") < page.text.index("Worst case")


def hostile_audit(folder: Path, **changes: Any) -> Path:
    classes = (HOSTILE, "fine\u202ereversed\x1b")
    rows = make_rows(classes=classes, n_per_class=6, attacks=("pgd", HOSTILE), resistance=6)
    record = make_record(
        rows,
        classes=classes,
        model=make_model(classes=classes, path=HOSTILE, arch=HOSTILE),
        data=make_data(rows, classes, note=HOSTILE, path="\"'><script>alert(1)</script>", positive=HOSTILE),
        checks=(Check(id=HOSTILE, status="failed", value=None, threshold=None, why=HOSTILE, remedy="javascript:x"),),
        artifacts=make_gallery(rows, folder),
        **changes,
    )
    return write_audit(folder, record, rows)


@pytest.mark.parametrize("n_audits", [1, 2, 3])
def test_hostile_names_stay_text_everywhere(tmp_path: Path, n_audits: int):
    audit = hostile_audit(tmp_path / "hostile")
    html = write_report(read_page([audit] * n_audits), tmp_path / "out").read_text(encoding="utf-8")
    page = Page(html)
    assert_static(page)
    assert HOSTILE in page.text
    assert "<img src=x" not in html
    assert not any(ord(character) < 32 and character != "\n" for character in html)
    assert "\u202e" not in html
    assert "fine\\u202ereversed\\x1b" in page.text


def test_nothing_of_a_record_names_a_file_of_the_report(tmp_path: Path):
    audit = hostile_audit(tmp_path / "hostile")
    out = compare(audit, audit, out=tmp_path / "out").parent
    names = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    assert all(re.fullmatch(r"(index|checks)\.html|report\.css|images/[0-9a-f]{16}\.png", name) for name in names)


def test_a_report_written_over_another_keeps_no_picture_of_it(out: Path, before: Path, after: Path):
    foreign = out / "images" / "mine.png"
    foreign.write_bytes(b"mine")
    for path in (before, after):
        edit(path, lambda record: record.update(artifacts=[]))
    compare(before, after, out=out)
    assert [path.name for path in (out / "images").iterdir()] == ["mine.png"]


def test_the_same_audits_give_the_same_page(out: Path, tmp_path: Path, before: Path, after: Path):
    again = compare(before, after, out=tmp_path / "again", without_glcm=after)
    assert (out / "index.html").read_bytes() == again.read_bytes()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, before: Path, after: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        compare(before, after, out=tmp_path / "file")


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_text_colour_stands_out_from_its_paper_in_both_themes():
    """WCAG AA asks for 4.5 to 1; chart hues also colour names, so they are held to it."""
    css = (templates_folder() / "report.css").read_text(encoding="utf-8")
    themes = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6});", theme))
        on_paper = ["ink", "muted", "before", "after", *(name for name in colours if name.startswith("hue-"))]
        pairs = [(name, "paper") for name in on_paper] + [("ink", "quiet-paper")]
        pairs += [(name, f"{name}-paper") for name in ("good", "bad", "doubt")]
        for text, paper in pairs:
            dark, light = sorted((luminance(colours[text]), luminance(colours[paper])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, paper)


def test_templates_do_no_arithmetic():
    """A sign between names or numbers inside an expression would be a calculation."""
    for template in templates_folder().glob("*.j2"):
        for expression in re.findall(r"\{\{(.*?)\}\}|\{%(.*?)%\}", template.read_text(encoding="utf-8")):
            assert not re.search(r"[\w)\]]\s[+*/%-]\s[\w(]", "".join(expression)), (template.name, expression)
