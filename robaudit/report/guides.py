"""What each check means and what to do about it: the pages of docs/checks, made into one page beside the report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from robaudit.report.shipped import shipped

GUIDES_PAGE = "checks.html"
CHECK_PAGES = "docs/checks"


@dataclass(frozen=True)
class Guide:
    """What one check means."""

    id: str
    html: str
    """Ours, from a file of this project: no text of a record is in it."""


def guides() -> dict[str, Path]:
    """Where the page of each check is, by its id, in the order of the list that names them all."""
    folder = shipped(CHECK_PAGES)
    listed = re.findall(r"^\| \[([a-z-]+)\]", (folder / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {id_: folder / f"{id_}.md" for id_ in listed}


def read_guides() -> tuple[Guide, ...]:
    """Render every page, to be a section of one that holds them all."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False})
    return tuple(
        Guide(id_, renderer.render(_as_section(file.read_text(encoding="utf-8")))) for id_, file in guides().items()
    )


def _as_section(text: str) -> str:
    """Headings move down one level, as the page has one of its own, and links between pages lead to sections."""
    return re.sub(r"\]\(([a-z-]+)\.md\)", r"](#\1)", text.replace("# ", "## ", 1))
