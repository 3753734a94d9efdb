"""The comparison as a folder that any browser shows: index.html, report.css and pictures, and nothing that runs.

No script, no inline style, no `data:` URI, no network: it looks right under the strictest policy of a CI server.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit.files import replacing, write_text
from robaudit.inert import inert
from robaudit.report.comparison import Comparison, read_comparison
from robaudit.report.sources import IMAGES_FOLDER, Picture

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "index.html"
STYLE = "report.css"

_OUR_PICTURE = re.compile(r"[0-9a-f]{16}\.png")


def compare(before: Path, after: Path, *, out: Path, without_glcm: Path | None = None) -> Path:
    """Compare two audits and write the report.

    Args:
        before: audit.json of the first model.
        after: audit.json of the second model, measured on the same images.
        out: folder for the report.
        without_glcm: audit.json of a retrofit trained without GLCM loss; its pictures join the gallery.

    Returns:
        The page to open.

    Raises:
        RecordError: a record cannot be read, or the audits are not comparable.
        OutputError: the folder cannot be written.
    """
    return write_report(read_comparison(Path(before), Path(after), without_glcm=without_glcm), Path(out))


def write_report(comparison: Comparison, out: Path) -> Path:
    """Write the report; the page comes last, so that it never names a picture that is not there.

    Raises:
        OutputError: the folder cannot be written.
    """
    page = render(comparison)
    pictures = {picture.name: picture for picture in _pictures(comparison)}
    for name, picture in pictures.items():
        with replacing(out / name) as temporary:
            temporary.write_bytes(picture.content)
    write_text(out / STYLE, (templates_folder() / STYLE).read_text(encoding="utf-8"))
    write_text(out / PAGE, page)
    _remove_pictures_of_earlier_reports(out, keep=pictures)
    return out / PAGE


def render(comparison: Comparison) -> str:
    """Place a comparison on the page."""
    return _environment().get_template("report.html.j2").render(page=comparison)


def templates_folder() -> Path:
    """Find the templates: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "templates", package.parent / "templates") if folder.is_dir())


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(templates_folder()),
        # Not select_autoescape(["html"]): it looks at the last suffix, and ours is .j2.
        autoescape=True,
        undefined=StrictUndefined,
        # Every text passes here on its way out; escaping follows.
        finalize=lambda value: inert(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _pictures(comparison: Comparison) -> list[Picture]:
    return [shown.picture for exhibit in comparison.gallery for strip in exhibit.strips for shown in strip.shown]


def _remove_pictures_of_earlier_reports(out: Path, keep: Collection[str]) -> None:
    """A report is passed on as a folder: no medical image stays in it that it does not show."""
    for path in (out / IMAGES_FOLDER).glob("*.png"):
        if _OUR_PICTURE.fullmatch(path.name) and f"{IMAGES_FOLDER}/{path.name}" not in keep:
            path.unlink()
