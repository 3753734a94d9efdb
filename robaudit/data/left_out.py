"""Files in class folders that cannot be read as images: named, or fewer images would look like all there are."""

from collections import Counter
from collections.abc import Iterable

from robaudit.data.listed import Listed

_MAX_KINDS = 5
_BESIDE_IMAGES = frozenset(
    (".txt", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".log", ".ini", ".db")
)
"""What lies beside images anywhere and is nobody's image: notes, tables, `Thumbs.db`, `desktop.ini`."""


def words_for(files: Iterable[Listed]) -> str:
    """How many there are of which kind, and what to do; empty where there are none but notes and the like."""
    kinds = Counter(sorted(file.path.suffix.lower() or "no suffix" for file in files))
    for kind in _BESIDE_IMAGES:
        del kinds[kind]
    if not kinds:
        return ""
    most = kinds.most_common(_MAX_KINDS)
    if others := kinds.total() - sum(count for _, count in most):
        most.append(("others", others))
    told = ", ".join(f"{kind} {count}" for kind, count in most)
    return (
        f"left out: {kinds.total()} file(s) in class folders that robaudit cannot read as images ({told}); "
        "convert those that belong to the data to PNG or TIFF"
    )
