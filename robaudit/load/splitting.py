"""Dividing undivided images into train, val and test parts, written out as a manifest."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from robaudit.errors import DataError
from robaudit.files import replacing
from robaudit.load.images import ImageRef, open_images
from robaudit.load.listing import MANIFEST_COLUMNS, Split
from robaudit.progress import Progress

SPLIT_SHARES: Mapping[Split, float] = {"train": 0.6, "val": 0.2, "test": 0.2}


def write_split(path: Path, manifest: Path, *, seed: int, progress: Progress | None = None, **options: object) -> None:
    """Split an undivided data folder 60/20/20 per class and write the parts as a manifest, itself valid DATA.

    Identical files share a part, so no test image is seen in training; which part is decided by image hash and seed.

    Raises:
        DataError: as for `open_images`, or a class has too few images for three parts.
    """
    images = open_images(path, progress=progress, **options)  # type: ignore[arg-type]
    rows = []
    part_of: dict[str, str] = {}  # an image may stand under two labels: the part it got first is its part
    for name in images.classes:
        groups: dict[str, list[ImageRef]] = defaultdict(list)
        for ref in images.refs:
            if ref.label == name:
                groups[ref.sha256].append(ref)
        lots = sorted(groups.values(), key=lambda group: group[0].lot(seed))
        first = round(SPLIT_SHARES["train"] * len(lots))
        second = first + round(SPLIT_SHARES["val"] * len(lots))
        parts: Mapping[Split, list[list[ImageRef]]] = {
            "train": lots[:first], "val": lots[first:second], "test": lots[second:]
        }  # fmt: skip
        if not all(parts.values()):
            raise DataError(
                f"{path}: has {len(lots)} different image(s) of class {name}, too few to split 60/20/20; "
                "add images, or divide it into train, val and test folders"
            )
        for split, part in parts.items():
            rows += [
                (
                    Path(os.path.relpath(ref.path, manifest.parent)).as_posix(),
                    name,
                    part_of.setdefault(ref.sha256, split),
                    ref.patient or "",
                )
                for group in part
                for ref in group
            ]
    with replacing(manifest) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(MANIFEST_COLUMNS)
        writer.writerows(sorted(rows))
