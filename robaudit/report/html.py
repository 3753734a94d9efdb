"""A page as a folder that any browser shows: index.html, report.css and pictures, and nothing that runs.

No script, no inline style, no `data:` URI, no network: it looks right under the strictest policy of a CI server. The
single file for mail is the exception: it holds style and pictures itself, and still runs nothing.
"""

import base64
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robaudit.errors import OutputError, SettingsError
from robaudit.files import alone_in, replacing, write_text
from robaudit.inert import inert
from robaudit.records import PAGE_FILE, REPORT_FOLDER, AuditRecord
from robaudit.report.comparison import read_comparison
from robaudit.report.guides import GUIDES_PAGE, read_guides
from robaudit.report.history import read_history
from robaudit.report.method import created
from robaudit.report.page import Page
from robaudit.report.shipped import shipped
from robaudit.report.single import read_single
from robaudit.report.sources import IMAGES_FOLDER, Picture

if TYPE_CHECKING:
    from jinja2 import Environment

STYLE = "report.css"

_OUR_PICTURE = re.compile(r"[0-9a-f]{16}\.png")


def compare(
    before: Path | str,
    after: Path | str | None = None,
    *more: Path | str,
    out: Path | str,
    without_glcm: Path | str | None = None,
    single_file: bool = False,
) -> Path:
    """Compare audits and write the report; of one audit, its own page.

    Args:
        before: audit.json of the first model.
        after: audit.json of the second model, measured on the same images; None where there is one audit alone.
        more: further audits; each is then compared with the first.
        out: folder for the report.
        without_glcm: audit.json of a retrofit trained without GLCM loss; its pictures join the gallery of two audits.
        single_file: put style and pictures into the page itself, to mail it.

    Returns:
        The page to open.

    Raises:
        RecordError: a record cannot be read, or two audits are not comparable.
        OutputError: the folder cannot be written.
        SettingsError: pictures without GLCM loss are given, and there are not two audits.
    """
    paths = [Path(path) for path in (before, after, *more) if path is not None]
    beside = None if without_glcm is None else Path(without_glcm)
    return write_report(read_page(paths, without_glcm=beside), Path(out), single_file=single_file)


def write_beside(audit: Path) -> Path:
    """Write the page of one audit into a folder beside its record; in an archive that is read-only, one may be there.

    Raises:
        RecordError: the record cannot be read.
        OutputError: the folder cannot be written, and holds no page of this record.
    """
    page, folder = read_single(audit), audit.parent / REPORT_FOLDER
    try:
        return write_report(page, folder)
    except OutputError:
        if not _is_of(folder / PAGE_FILE, page.shared.sides[0].record):
            raise
        return folder / PAGE_FILE


def _is_of(page: Path, record: AuditRecord) -> bool:
    """Whether a page that is there, perhaps of an older robaudit, is that of this record."""
    try:
        said = page.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return all(word in said for word in (created(record), record.model.sha256, record.data.sha256))


def read_page(audits: Sequence[Path], *, without_glcm: Path | None = None) -> Page:
    """Lay out one audit, a comparison of two, or a row of many.

    Raises:
        RecordError: a record cannot be read, or two audits are not comparable.
        SettingsError: pictures without GLCM loss are given, and there are not two audits.
    """
    if len(audits) == 2:
        return read_comparison(audits[0], audits[1], without_glcm=without_glcm)
    if without_glcm:
        raise SettingsError(
            f"--without-glcm joins a comparison of two audits, and there are {len(audits)}; leave it out"
        )
    return read_single(audits[0]) if len(audits) == 1 else read_history(audits)


def write_report(page: Page, out: Path, *, single_file: bool = False) -> Path:
    """Write the report; the page comes last, so that it never names a picture that is not there.

    Raises:
        OutputError: the folder cannot be written, or another report is being written there.
    """
    rendered = render(page, single_file=single_file)
    pictures = {} if single_file else {picture.name: picture for picture in _pictures(page)}
    with alone_in(out, IMAGES_FOLDER):
        for name, picture in pictures.items():
            with replacing(out / name) as temporary:
                temporary.write_bytes(picture.content)
        if not single_file:
            write_text(out / STYLE, _style())
            write_text(out / GUIDES_PAGE, render_guides())
        write_text(out / PAGE_FILE, rendered)
        _remove_pictures_of_earlier_reports(out, keep=pictures)
    return out / PAGE_FILE


def render(page: Page, *, single_file: bool = False) -> str:
    """Place a page's words and drawings."""
    from markupsafe import Markup

    return render_template(
        f"{page.kind}.html.j2",
        page=page,
        shared=page.shared,
        # Not a string of a record: the style is ours, and is no text to be escaped.
        style=Markup(_style()) if single_file else None,
        address=_embedded if single_file else _beside,
    )


def render_guides() -> str:
    """The page that says what each check means."""
    from markupsafe import Markup

    return render_template(
        "checks.html.j2", guides=[{"id": each.id, "html": Markup(each.html)} for each in read_guides()]
    )


def render_template(name: str, **values: object) -> str:
    """Place values in a template; every string comes out as inert, escaped text."""
    return _environment().get_template(name).render(**values)


def templates_folder() -> Path:
    """Find the templates: inside the package in a wheel, beside it in a checkout."""
    return shipped("templates")


def _style() -> str:
    return (templates_folder() / STYLE).read_text(encoding="utf-8")


def _beside(picture: Picture) -> str:
    return picture.name


def _embedded(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.content).decode()}"


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


def _pictures(page: Page) -> list[Picture]:
    strips = [strip for exhibit in page.shared.gallery for strip in exhibit.strips]
    diagnosed = page.shared.diagnosed.pictures if page.shared.diagnosed else []
    return [*(shown.picture for strip in strips for shown in strip.shown), *diagnosed]


def _remove_pictures_of_earlier_reports(out: Path, keep: Collection[str]) -> None:
    """A report is passed on as a folder: no medical image stays in it that it does not show."""
    for path in (out / IMAGES_FOLDER).glob("*.png"):
        if _OUR_PICTURE.fullmatch(path.name) and f"{IMAGES_FOLDER}/{path.name}" not in keep:
            path.unlink()
