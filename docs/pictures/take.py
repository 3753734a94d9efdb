"""Takes the pictures of the README and of docs/ from the demo's result: `make pictures`. Needs chromium.

report.png    the first screen of the comparison
curve.png     its large chart
single.png    the first screen of one audit alone
terminal.png  what a scan prints
gate.png      what the gate prints
"""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI

from robaudit.gates.gate import gate
from robaudit.gates.policy import read_policy
from robaudit.gates.terminal import print_verdicts
from robaudit.records import AUDIT_FILE, read_audit
from robaudit.report.terminal import print_audit

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
DEMO = REPOSITORY / "out" / "demo"
POLICY = REPOSITORY / "examples" / "robaudit.toml"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
TERMINAL_PAGE = """<!doctype html><meta charset="utf-8">
<body style="margin:0;padding:24px;background:{background};color:{foreground}">
<pre style="margin:0;font:15px/1.25 'DejaVu Sans Mono',monospace">{code}</pre>"""
TERMINAL_WIDTH = 84
MARGIN = 24


def main() -> None:
    """Take all of them."""
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None or not (DEMO / "report" / "index.html").is_file():
        sys.exit(f"needs {' or '.join(CHROMIUM)} in PATH, and {DEMO}, which `make demo` writes")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        pages = scratch / "report"
        shutil.copytree(DEMO / "report", pages)
        shutil.copytree(DEMO / "before" / "report", scratch / "single")
        (pages / "curve.html").write_text(_chart_alone((pages / "index.html").read_text("utf-8")), "utf-8")
        (pages / "terminal.html").write_text(_scan_printed(), "utf-8")
        (pages / "gate.html").write_text(_gate_printed(), "utf-8")
        for page, name, size in (
            (pages / "index.html", "report", (1280, 860)),
            (pages / "curve.html", "curve", (1280, 1200)),
            (scratch / "single" / "index.html", "single", (1280, 860)),
            (pages / "terminal.html", "terminal", (820, 1400)),
            (pages / "gate.html", "gate", (1180, 400)),
        ):
            shot = scratch / f"{name}.png"
            _photograph(browser, page, shot, size, scratch / "profile")
            _save_small(Image.open(shot), HERE / f"{name}.png")


def _chart_alone(page: str) -> str:
    """The report with nothing on it but the large chart."""
    chart = re.search(r'<figure class="plot worst">.*?</figure>', page, re.DOTALL)
    assert chart is not None
    figure = re.sub(r"<details.*?</details>", "", chart[0], flags=re.DOTALL)
    body = f'<body><main style="padding: {MARGIN}px">{figure}</main></body>'
    return re.sub(r"<body>.*</body>", lambda _: body, page, flags=re.DOTALL)


def _scan_printed() -> str:
    """What a scan of the demo's model prints at its end, as a page."""
    console = _recorder()
    console.print('$ robaudit scan model/ data/ --note "Synthetic images: …" --out out/before', highlight=False)
    print_audit(read_audit(DEMO / "before" / AUDIT_FILE), console, Path("out/before/report/index.html"))
    return _page(console)


def _gate_printed() -> str:
    """What the gate prints of the demo's second audit, as a page."""
    console = _recorder()
    verdicts = gate(read_audit(DEMO / "after" / AUDIT_FILE), policy=read_policy(POLICY))
    console.print("$ robaudit gate out/after/audit.json --policy robaudit.toml", highlight=False)
    print_verdicts(verdicts, console)
    console.print(f"robaudit: gate {verdicts.outcome}", highlight=False)
    console.print("$ echo $?", f"{verdicts.exit_code:d}", sep="\n", highlight=False)
    return _page(console)


def _recorder() -> Console:
    return Console(record=True, width=TERMINAL_WIDTH, file=io.StringIO(), force_terminal=True)


def _page(console: Console) -> str:
    return console.export_html(theme=DIMMED_MONOKAI, inline_styles=True, code_format=TERMINAL_PAGE)


def _photograph(browser: str, page: Path, shot: Path, size: tuple[int, int], profile: Path) -> None:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
    command = [browser, *flags, f"--screenshot={shot}", f"--window-size={size[0]},{size[1]}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def _save_small(picture: Image.Image, path: Path) -> None:
    """Cut the empty space around, and keep 128 colours: enough for text and lines."""
    picture = picture.convert("RGB")
    width, height = picture.size
    paper = Image.new("RGB", picture.size, picture.getpixel((0, height - 1)))
    filled = ImageChops.difference(picture, paper).getbbox()
    assert filled is not None
    left, top, right, bottom = filled
    box = (max(left - MARGIN, 0), max(top - MARGIN, 0), min(right + MARGIN, width), min(bottom + MARGIN, height))
    picture.crop(box).quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
