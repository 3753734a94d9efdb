"""One page of each kind, always the same: for the browser and for the gold files.

    python tests/report/site_pages.py

writes the gold files anew. Look at the difference before committing it.
"""

import re
import tempfile
from pathlib import Path

from made_up_audits import make_data, make_gallery, make_model, make_record, make_rows, write_audit

from robaudit.records import Check, Verdict
from robaudit.report.html import read_page, write_report

GOLD = Path(__file__).parent / "gold"
KINDS = ("single", "comparison", "history")

SCRUBBED = {
    # Named by their bytes, and an encoder may pack the same pixels in another way.
    "names of pictures": (r"images/[0-9a-f]{16}\.png", "images/NAME.png"),
}
"""What may differ between two runs of the same code, and what stands for it in a gold file."""


def write_site(folder: Path) -> Path:
    """Write a page of each kind into a folder of its name; returns the parent."""
    audits = _audits(folder / "audits")
    for kind, paths in zip(KINDS, (audits[1:2], audits[:2], audits), strict=True):
        write_report(read_page(paths), folder / "site" / kind)
    return folder / "site"


def scrubbed(page: Path) -> str:
    """Read a page without what may differ."""
    text = page.read_text(encoding="utf-8")
    for pattern, stands_for in SCRUBBED.values():
        text = re.sub(pattern, stands_for, text)
    return text


def _audits(folder: Path) -> list[Path]:
    paths = []
    for position, (resistance, front) in enumerate(((2.5, False), (6, True), (1.5, False), (3, False))):
        rows = make_rows(resistance=resistance, seed=position + 1, n_per_class=20)
        place = folder / f"week-{position + 1}"
        record = make_record(
            rows,
            data=make_data(rows, positive="cancer", note="Made up for a test."),
            model=make_model(front=front),
            artifacts=make_gallery(rows, place),
            checks=_checks(n_loud=2 * position, n_failed=3 if position == 3 else 0),
            **({"verdict": _DOUBT} if position == 3 else {}),
        )
        paths.append(write_audit(place, record, rows))
    return paths


_DOUBT = Verdict(kind="inconclusive", sentence="Inconclusive: gradients are masked.", reasons=("check-1",))


def _checks(n_loud: int, n_failed: int) -> tuple[Check, ...]:
    statuses = ["failed"] * n_failed + ["warning"] * (n_loud - n_failed)
    statuses += ["passed", "not_applicable"] * 4
    return tuple(
        Check(
            id=f"check-{position}",
            status=status,  # type: ignore[arg-type]
            value=position / 100 if status != "not_applicable" else None,
            threshold=0.05,
            why="A model that hides its gradients looks robust to every attack that follows them.",
            remedy="Add an attack that needs no gradient.",
        )
        for position, status in enumerate(statuses, start=1)
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        site = write_site(Path(temporary))
        for kind in KINDS:
            (GOLD / f"{kind}.html").write_text(scrubbed(site / kind / "index.html"), encoding="utf-8")
