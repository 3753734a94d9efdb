"""Files that stand at the top of the repository and travel inside the wheel."""

from pathlib import Path


def shipped(folder: str) -> Path:
    """Find a folder of them: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return next(place / folder for place in (package, package.parent) if (place / folder).is_dir())
