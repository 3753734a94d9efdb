"""The pages in a real browser, under the header that Jenkins' HTML Publisher sends.

The pages run no script, so a frame around them measures: the header allows it the same origin.
"""

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from site_pages import GOLD, KINDS, write_site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(__file__).parent / "axe" / "node_modules" / "axe-core" / "axe.min.js"
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
    "--virtual-time-budget=15000",
)
DARK = "--blink-settings=preferredColorScheme=0"
WIDTHS = (1280, 390)
FRAMES = """<!doctype html><title>frames</title><body style="margin:0">
{frames}<pre id="found"></pre>
<script>
const percent = (part, whole) => Math.round(100 * part / whole);
const measure = (frame) => {{
  const page = frame.contentDocument, width = Number(frame.width);
  const all = (selector) => [...page.querySelectorAll(selector)], box = (element) => element.getBoundingClientRect();
  const style = (element) => page.defaultView.getComputedStyle(element);
  const tracks = (grid) => style(grid).gridTemplateColumns.split(" ").length;
  const columns = (selector) => all(selector).slice(0, 1).map(tracks);
  const place = (part) => [part.id, percent(box(part).left, width), percent(box(part).width, width)];
  return {{
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    styled: style(page.querySelector("h1")).fontSize,
    charts: all("svg[role=img]").map((chart) => [box(chart).width, box(chart).height]),
    escaping: all("svg[role=img] text").filter((text) => box(text).left < 0 || box(text).right > width).length,
    missing: all("img").filter((image) => image.naturalWidth === 0).length,
    pictures: all("img").length,
    headline: box(page.querySelector("h1")).bottom,
    structure: {{
      sections: all("main > section").map(place),
      in_order: all("main > section").every((part, i, parts) => !i || box(part).top >= box(parts[i - 1]).bottom),
      figures: columns(".figures"),
      plots: columns(".plots"),
      pictures: columns(".pictures"),
      large_chart: percent(box(page.querySelector(".chart-large")).width, width),
    }},
    lines: all(".checks th b").slice(0, 1).map((name) => {{
      name.textContent = "preprocessing";  // the longest word in the ids of checks
      return name.getClientRects().length;
    }}),
    hyphens: all("h1 .unbroken").slice(0, 1).map((words) => {{
      words.parentElement.style.maxWidth = "0";  // as narrow as can be
      return words.getClientRects().length;
    }}),
  }};
}};
addEventListener("load", () => {{
  const found = {{}};
  for (const frame of document.querySelectorAll("iframe")) found[frame.id] = measure(frame);
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""
WITH_AXE = """<pre id="found" hidden></pre><script src="/axe.min.js"></script><script>
document.querySelectorAll("details").forEach((part) => { part.open = true; });
axe.run().then((found) => {
  document.getElementById("found").textContent = JSON.stringify(found.violations.map((broken) => [
    broken.impact, broken.id, broken.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)),
  ]));
});
</script></body>"""
COLLECT = """<script>
const collect = () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const text = frame.contentDocument?.getElementById("found")?.textContent;
    if (!text) return void setTimeout(collect, 100);
    found[frame.id] = JSON.parse(text);
  }
  document.getElementById("found").textContent = JSON.stringify(found);
};
addEventListener("load", collect);
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to look at the page")


class Handler(SimpleHTTPRequestHandler):
    """Serves reports as Jenkins does, and beside them pages of our own that measure."""

    def do_GET(self) -> None:
        """Answer `/frames`, a page with axe in it, or a file of a report."""
        if self.path == "/frames":
            self._send("text/html", FRAMES.format(frames=_frames("index", WIDTHS)))
        elif self.path == "/axe":
            self._send("text/html", _frames("axe", WIDTHS[:1]) + '<pre id="found"></pre>' + COLLECT)
        elif self.path == "/axe.min.js":
            self._send("text/javascript", AXE.read_text(encoding="utf-8"))
        elif match := re.fullmatch(r"/([a-z]+)/axe\.html", self.path):
            page = (Path(self.directory) / match[1] / "index.html").read_text(encoding="utf-8")
            self._send("text/html", page.replace("</body>", WITH_AXE))
        else:
            super().do_GET()

    def _send(self, kind: str, text: str) -> None:
        """Send something of our own, without the policy."""
        content = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        super(SimpleHTTPRequestHandler, self).end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        """Send the policy with every file of a report."""
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def _frames(page: str, widths: Sequence[int]) -> str:
    return "\n".join(
        f'<iframe id="{kind}-{width}" src="/{kind}/{page}.html" width="{width}" height="900" style="border:0"></iframe>'
        for kind in KINDS
        for width in widths
    )


@dataclass
class Browser:
    """Chromium, and the address of a page of each kind."""

    address: str
    folder: Path

    def run(self, path: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Open a path, with a fresh profile."""
        profile = self.folder / "profile"
        shutil.rmtree(profile, ignore_errors=True)
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, self.address + path]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)

    def found(self, path: str, *flags: str) -> Any:
        """Open a page that leaves what it found in itself."""
        result = self.run(path, "--dump-dom", "--window-size=1400,1000", *flags)
        found = re.search(r'<pre id="found"[^>]*>(.*?)</pre>', result.stdout, re.DOTALL)
        assert found is not None
        assert found[1], result.stderr
        assert not re.search(r"CONSOLE.*(Refused|Content Security Policy|rror)", result.stderr), result.stderr
        return json.loads(html.unescape(found[1]))

    def picture(self, path: str, width: int, *flags: str) -> Image.Image:
        """Take a picture of the first 900 pixels of a path."""
        file = self.folder / "screenshot.png"
        self.run(path, f"--screenshot={file}", f"--window-size={max(width, 500)},900", *flags)
        with Image.open(file) as picture:
            return picture.convert("RGB").crop((0, 0, width, 900))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(write_site(folder))))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Browser(f"http://127.0.0.1:{server.server_port}", folder)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def measured(browser: Browser) -> dict[str, Any]:
    """Every page at every width, and not one message on the console."""
    found: dict[str, Any] = browser.found("/frames")
    return found


EVERY_PAGE = pytest.mark.parametrize("page", [f"{kind}-{width}" for kind in KINDS for width in WIDTHS])


@EVERY_PAGE
def test_the_page_stands_under_the_strictest_policy(measured: dict[str, Any], page: str):
    found, width = measured[page], int(page.rpartition("-")[2])
    assert found["overflow"] <= 0, "the page itself must not scroll sideways"
    assert float(found["styled"].removesuffix("px")) not in (16.0, 32.0), "report.css was not applied"
    assert found["headline"] < 900, "the verdict is on the first screen"
    assert len(found["charts"]) == 5
    assert all(100 < chart_width <= width and height > 90 for chart_width, height in found["charts"])
    assert found["escaping"] == 0
    assert (found["pictures"] > 0) == (not page.startswith("history"))
    assert found["missing"] == 0


@EVERY_PAGE
def test_the_name_of_a_check_is_broken_inside_no_word(measured: dict[str, Any], page: str):
    assert measured[page]["lines"] == [1]


@EVERY_PAGE
def test_the_headlines_worst_case_is_not_broken_at_its_hyphen(measured: dict[str, Any], page: str):
    assert measured[page]["hyphens"] == ([] if page.startswith("single") else [1])


@EVERY_PAGE
def test_its_structure_is_the_one_that_was_looked_at(measured: dict[str, Any], page: str):
    """Sections from top to bottom, where they begin and how wide they are, in per cent; columns of every grid.

    `python tests/report/test_browser.py` writes the references anew; look at the pages before committing them.
    """
    assert measured[page]["structure"] == json.loads((GOLD / "structure.json").read_text(encoding="utf-8"))[page]


@pytest.mark.parametrize("theme", [(), (DARK,)], ids=["light", "dark"])
@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: make axe")
def test_axe_finds_nothing(browser: Browser, theme: tuple[str, ...]):
    """Whatever is folded on arrival is looked at unfolded."""
    assert browser.found("/axe", *theme) == {f"{kind}-{WIDTHS[0]}": [] for kind in KINDS}


@pytest.mark.parametrize(("theme", "paper"), [((), (255, 255, 255)), ((DARK,), (17, 23, 29))], ids=["light", "dark"])
def test_the_first_screen_is_drawn(browser: Browser, theme: tuple[str, ...], paper: tuple[int, int, int]):
    picture = browser.picture("/comparison/index.html", 1280, *theme)
    assert picture.size == (1280, 900)
    assert picture.getpixel((2, 890)) == paper
    assert len(picture.getcolors(maxcolors=2**24) or []) > 20


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(write_site(folder))))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = Browser(f"http://127.0.0.1:{server.server_port}", folder).found("/frames")
        structures = {page: found[page]["structure"] for page in sorted(found)}
        (GOLD / "structure.json").write_text(json.dumps(structures, indent=1) + "\n", encoding="utf-8")
