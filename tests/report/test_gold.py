"""The pages as they were last looked at. Meant to change? Run tests/report/site_pages.py, and look at what differs."""

from pathlib import Path

import pytest
from site_pages import GOLD, KINDS, scrubbed, write_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_the_one_that_was_looked_at(site: Path, kind: str):
    written = scrubbed(site / kind / "index.html")
    expected = (GOLD / f"{kind}.html").read_text(encoding="utf-8")
    assert written.splitlines() == expected.splitlines(), f"compare {site / kind} with {GOLD / kind}.html"
