"""The report in a real browser, under the header that Jenkins' HTML Publisher sends.

The page runs no script, so a frame around it measures: the header allows it the same origin.
"""

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from made_up_audits import make_gallery, make_model, make_record, make_rows, write_audit
from PIL import Image

from robaudit.report.html import compare

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
POLICY = "sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self'"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--virtual-time-budget=4000",
)
WIDTHS = (1280, 390)
FRAME = """<!doctype html><title>frame</title><body style="margin:0">
<iframe id="page" src="/index.html" width="{width}" height="900" style="border:0"></iframe><pre id="found"></pre>
<script>
document.getElementById("page").addEventListener("load", ({{target}}) => {{
  const page = target.contentDocument, all = (selector) => [...page.querySelectorAll(selector)];
  const box = (element) => element.getBoundingClientRect();
  document.getElementById("found").textContent = JSON.stringify({{
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    styled: page.defaultView.getComputedStyle(page.querySelector("h1")).fontSize,
    charts: all("svg[role=img]").map((chart) => [box(chart).width, box(chart).height]),
    escaping: all("svg[role=img] text").filter((text) => box(text).left < 0 || box(text).right > {width}).length,
    missing: all("img").filter((image) => image.naturalWidth === 0).length,
    pictures: all("img").length,
    headline: box(page.querySelector("h1")).bottom,
  }});
}});
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to look at the page")


class Handler(SimpleHTTPRequestHandler):
    """Serves a report as Jenkins does, and beside it a frame that measures it."""

    def do_GET(self) -> None:
        """Answer `/frame-WIDTH` with the frame, and anything else with a file of the report."""
        if width := re.fullmatch(r"/frame-(\d+)", self.path):
            content = FRAME.format(width=width[1]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            super(SimpleHTTPRequestHandler, self).end_headers()
            self.wfile.write(content)
        else:
            super().do_GET()

    def end_headers(self) -> None:
        """Send the policy with every file."""
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@dataclass
class Browser:
    """Chromium, and the address of a report."""

    address: str
    folder: Path

    def run(self, path: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Open a path, with a fresh profile."""
        profile = self.folder / "profile"
        shutil.rmtree(profile, ignore_errors=True)
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, self.address + path]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    def picture(self, path: str, width: int, *flags: str) -> Image.Image:
        """Take a picture of the first 900 pixels of a path."""
        file = self.folder / "screenshot.png"
        self.run(path, f"--screenshot={file}", f"--window-size={max(width, 500)},900", *flags)
        with Image.open(file) as picture:
            return picture.convert("RGB").crop((0, 0, width, 900))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    vanilla, retrofit = make_rows(resistance=2.5, seed=1), make_rows(resistance=6, seed=2)
    before = write_audit(
        folder / "before", make_record(vanilla, artifacts=make_gallery(vanilla, folder / "before")), vanilla
    )
    gallery = make_gallery(retrofit, folder / "after")
    record = make_record(retrofit, model=make_model(front=True), artifacts=gallery)
    page = compare(before, write_audit(folder / "after", record, retrofit), out=folder / "report")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(page.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Browser(f"http://127.0.0.1:{server.server_port}", folder)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_stands_under_the_strictest_policy(browser: Browser, width: int):
    result = browser.run(f"/frame-{width}", "--dump-dom", "--window-size=1400,1000")
    measured = re.search(r'<pre id="found">(.*?)</pre>', result.stdout, re.DOTALL)
    assert measured is not None
    assert measured[1], result.stderr
    found = json.loads(html.unescape(measured[1]))
    assert found["overflow"] <= 0, "the page itself must not scroll sideways"
    assert float(found["styled"].removesuffix("px")) not in (16.0, 32.0), "report.css was not applied"
    assert found["headline"] < 900, "the verdict is on the first screen"
    assert len(found["charts"]) == 5
    assert all(100 < chart_width <= width and height > 90 for chart_width, height in found["charts"])
    assert found["escaping"] == 0
    assert found["pictures"] > 0
    assert found["missing"] == 0
    assert not re.search(r"CONSOLE.*(Refused|Content Security Policy|rror)", result.stderr), result.stderr


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_screen_is_drawn_light_and_dark(browser: Browser, width: int):
    light = browser.picture(f"/frame-{width}", width)
    dark = browser.picture(f"/frame-{width}", width, "--blink-settings=preferredColorScheme=0")
    for picture, paper in ((light, (255, 255, 255)), (dark, (17, 23, 29))):
        assert picture.size == (width, 900)
        assert picture.getpixel((2, 890)) == paper
        assert len(picture.getcolors(maxcolors=2**24) or []) > 20
