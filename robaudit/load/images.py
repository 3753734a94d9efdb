"""A folder of classes, a split folder or a CSV manifest -> labelled images, hashed, decoded one at a time.

Pixels come out as (C, H, W) float32 in [0, 1] at their true bit depth; C is 1 where all channels of all images agree.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from robaudit.errors import DataError
from robaudit.files import replacing
from robaudit.progress import Progress, Silent

Split = Literal["train", "val", "test"]
SPLIT_NAMES: Mapping[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SPLIT_SHARES: Mapping[Split, float] = {"train": 0.6, "val": 0.2, "test": 0.2}
MANIFEST_COLUMNS = ("path", "label", "split")

# What Pillow raises on damaged or absurd files, beside its own UnidentifiedImageError.
_DECODING_ERRORS = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True)
class ImageRef:
    """One labelled image on disk, pinned by the hash of its bytes."""

    id: str
    """Path relative to the data folder, with forward slashes."""
    path: Path
    label: str
    sha256: str


@dataclass(frozen=True)
class Images:
    """A labelled set of images, decoded on demand."""

    root: Path
    refs: tuple[ImageRef, ...]
    classes: tuple[str, ...]
    """Class names in the order of the model's outputs."""
    channels: Literal[1, 3]
    n_skipped: int = 0
    """Unreadable images left out, where the user allowed it."""

    def __len__(self) -> int:
        return len(self.refs)

    @property
    def sha256(self) -> str:
        """Hash of every image's id, label and bytes; independent of their order."""
        lines = sorted(f"{ref.id}\0{ref.label}\0{ref.sha256}\n" for ref in self.refs)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def per_class(self) -> dict[str, int]:
        """Number of images of each class, in class order."""
        return {name: sum(ref.label == name for ref in self.refs) for name in self.classes}

    def label_index(self, ref: ImageRef) -> int:
        """Index of the image's class among the model's outputs."""
        return self.classes.index(ref.label)

    def load(self, ref: ImageRef, size: tuple[int, int]) -> Tensor:
        """Decode one image.

        Args:
            ref: one of `refs`.
            size: (height, width) of the model's input grid; other sizes are resized bilinearly.

        Returns:
            (C, H, W), float32 in [0, 1].

        Raises:
            DataError: the file is gone or its bytes changed since it was listed.
        """
        data = _read_bytes(ref.path)
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise DataError(f"{ref.path}: changed while robaudit was running; restore it or start again with --restart")
        pixels = _decode(data, ref.path)
        grey = pixels[..., :1] if self.channels == 1 else np.broadcast_to(pixels, (*pixels.shape[:2], 3))
        return _resize(torch.from_numpy(np.array(grey)).permute(2, 0, 1), size)

    def ordered_as(self, classes: Sequence[str]) -> Images:
        """The same images with the class order of the model's outputs.

        Raises:
            DataError: an image's class is not among `classes`.
        """
        unknown = sorted({ref.label for ref in self.refs} - set(classes))
        if unknown:
            raise DataError(
                f"{self.root}: holds class {', '.join(unknown)}, the model knows {', '.join(classes)}; "
                "rename the folder, or use --classes or --merge"
            )
        return replace(self, classes=tuple(classes))

    def limited(self, limit: int | None, seed: int) -> Images:
        """At most `limit` images, each class in proportion, chosen by hash so that order plays no part."""
        if limit is None or limit >= len(self):
            return self
        queue = []
        for name in self.classes:
            members = sorted((ref for ref in self.refs if ref.label == name), key=lambda ref: _lot(ref, seed))
            # One of each class first; then whoever's class has had the smallest share of its images.
            queue += [(rank > 0, (rank + 0.5) / len(members), ref.id) for rank, ref in enumerate(members)]
        chosen = {id_ for *_, id_ in sorted(queue)[:limit]}
        return replace(self, refs=tuple(ref for ref in self.refs if ref.id in chosen))


def open_images(
    path: Path,
    split: Split | None = None,
    *,
    classes: Sequence[str] | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    limit: int | None = None,
    seed: int = 0,
    on_bad_image: Literal["fail", "skip"] = "fail",
    progress: Progress | None = None,
) -> Images:
    """List, hash and try every image of a folder of classes, a split folder or a CSV manifest.

    Args:
        path: folder of classes, folder of train/val/test folders of classes, or CSV with path, label[, split].
        split: which part; None, or data without parts, takes the whole.
        classes: class order of the model's outputs; default sorted names.
        merge: new class -> folders joined into it.
        limit: stratified, seeded upper bound on the number of images.
        seed: decides which images `limit` keeps.
        on_bad_image: `skip` leaves unreadable images out and counts them.
        progress: told of every image.

    Raises:
        DataError: nothing there, a missing split, fewer than two classes, or an unreadable image.
    """
    progress = progress or Silent()
    joined = {old: new for new, olds in (merge or {}).items() for old in olds}
    listed = [(id_, file, joined.get(label, label)) for id_, file, label in _list(path, split)]
    refs, channels, n_skipped = _examine(listed, on_bad_image, progress)
    names = sorted({ref.label for ref in refs})
    if len(names) < 2:
        found = f"only class {names[0]}" if names else "no readable image"
        raise DataError(f"{path}: holds {found}; an audit needs a folder with one sub-folder of images per class")
    images = Images(path, tuple(refs), tuple(names), channels, n_skipped).limited(limit, seed)
    return images.ordered_as(classes) if classes else images


def has_splits(path: Path) -> bool:
    """Whether `path` is divided into train, val and test parts (by folders, or by a manifest's split column)."""
    if path.is_file():
        return any(split for _, _, _, split in _manifest_rows(path))
    return any(_split_folder(path, split) for split in SPLIT_NAMES)


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
        lots = sorted(groups.values(), key=lambda group: _lot(group[0], seed))
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
                (os.path.relpath(ref.path, manifest.parent), name, part_of.setdefault(ref.sha256, split))
                for group in part
                for ref in group
            ]
    with replacing(manifest) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(MANIFEST_COLUMNS)
        writer.writerows(sorted((Path(file).as_posix(), label, split) for file, label, split in rows))


def _lot(ref: ImageRef, seed: int) -> str:
    """Where an image stands in a seeded draw: its bytes decide, its id only between identical files."""
    return hashlib.sha256(f"{seed}/{ref.sha256}".encode()).hexdigest() + ref.id


def _list(path: Path, split: Split | None) -> list[tuple[str, Path, str]]:
    """(id, file, label) of every image file, sorted by id."""
    if path.is_file():
        return _list_manifest(path, split)
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; pass a folder with one sub-folder of images per class")
    folder = path
    if split and has_splits(path):
        chosen = _split_folder(path, split)
        if chosen is None:
            present = ", ".join(name for name in SPLIT_NAMES if _split_folder(path, name))
            raise DataError(f"{path}: has {present} but no {split} folder; add it, or pass a folder of classes")
        folder = chosen
    suffixes = Image.registered_extensions()
    return sorted(
        (file.relative_to(path).as_posix(), file, class_folder.name)
        for class_folder in _subfolders(folder)
        for file in class_folder.rglob("*")
        if file.suffix.lower() in suffixes and file.is_file() and not _is_hidden(file.relative_to(class_folder))
    )


def _is_hidden(path: Path) -> bool:
    """Whether a file, or a folder it lies in, is hidden: `._scan.png` of macOS, `.ipynb_checkpoints`."""
    return any(part.startswith(".") for part in path.parts)


def _list_manifest(path: Path, split: Split | None) -> list[tuple[str, Path, str]]:
    rows = _manifest_rows(path)
    if split and any(part for *_, part in rows):
        rows = [row for row in rows if row[3].lower() in SPLIT_NAMES[split]]
        if not rows:
            raise DataError(f"{path}: has no row with split {split}; add some, or drop the split column")
    counts = Counter(id_ for id_, *_ in rows)
    if twice := [id_ for id_, count in counts.items() if count > 1]:
        raise DataError(f"{path}: lists {twice[0]} {counts[twice[0]]} times; keep one row per image")
    return sorted((id_, file, label) for id_, file, label, _ in rows)


def _manifest_rows(path: Path) -> list[tuple[str, Path, str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"path", "label"} <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: has columns {reader.fieldnames}, wanted path and label (and split)")
            rows = []
            for row in reader:
                id_, label = row["path"], row["label"]
                if not id_ or not label or "\0" in id_:
                    raise DataError(f"{path}: line {reader.line_num} names no path or no label; correct or remove it")
                rows.append((id_, path.parent / id_, label, (row.get("split") or "").strip()))
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a CSV manifest ({error}); pass a folder of classes") from None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.glob("*") if child.is_dir() and not child.name.startswith("."))


def _split_folder(path: Path, split: Split) -> Path | None:
    return next((child for child in _subfolders(path) if child.name.lower() in SPLIT_NAMES[split]), None)


def _examine(
    listed: Iterable[tuple[str, Path, str]], on_bad_image: str, progress: Progress
) -> tuple[list[ImageRef], Literal[1, 3], int]:
    """Hash and decode every image once, so that a bad one is named before hours are spent."""
    listed = list(listed)
    refs: list[ImageRef] = []
    grey, n_skipped = True, 0
    progress.start("reading images", len(listed))
    for id_, file, label in listed:
        try:
            data = _read_bytes(file)
            pixels = _decode(data, file)
        except DataError as error:
            if on_bad_image == "fail":
                raise
            progress.say(f"skipped: {error}")
            n_skipped += 1
        else:
            grey = grey and _is_grey(pixels)
            refs.append(ImageRef(id_, file, label, hashlib.sha256(data).hexdigest()))
        progress.advance()
    progress.finish()
    return refs, 1 if grey else 3, n_skipped


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); restore it or use --on-bad-image skip") from None


def _decode(data: bytes, file: Path) -> np.ndarray:
    """(H, W, C) float32 in [0, 1] with C 1 or 3, as a person would see the picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as opened:
                return _to_unit_range(ImageOps.exif_transpose(opened))
    except _DECODING_ERRORS as error:
        unknown = isinstance(error, UnidentifiedImageError)  # its own words are the address of a buffer
        reason = "no known format" if unknown else " ".join(str(error).split())
        raise DataError(f"{file}: is no readable image ({reason}); remove it or use --on-bad-image skip") from None


def _to_unit_range(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I;16"):
        return np.asarray(picture, dtype=np.float32)[..., None] / 65535
    if picture.mode in ("I", "F"):
        # Pillow's 32-bit modes carry no depth: PNG and TIFF of 16 bits open as I in older versions.
        pixels = np.asarray(picture, dtype=np.float64)
        if picture.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"{picture.mode} pixels from {pixels.min():g} to {pixels.max():g}, wanted 8 or 16 bits")
        return (pixels[..., None] / 65535).astype(np.float32)
    if picture.mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L"), dtype=np.float32)[..., None] / 255
    if isinstance(picture.info.get("transparency"), bytes):
        picture = picture.convert("RGBA")  # what Pillow asks for, by a warning, where each colour has its own alpha
    return np.asarray(picture.convert("RGB"), dtype=np.float32) / 255


def _is_grey(pixels: np.ndarray) -> bool:
    return pixels.shape[2] == 1 or bool((pixels[..., :1] == pixels).all())


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pixels.shape[1:]) == size:
        return pixels
    resized = torch.nn.functional.interpolate(pixels[None], size, mode="bilinear", antialias=True)
    return resized[0].clamp(0, 1)
