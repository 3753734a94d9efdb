"""Labelled images: hashed and tried once when they are opened, then decoded one at a time.

Pixels come out as (C, H, W) float32 in [0, 1] at their true bit depth; C is 1 where all channels of all images agree.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from robaudit.data import left_out, masks
from robaudit.data.listed import Listed, Split
from robaudit.data.listing import Listing, list_images
from robaudit.data.remote import Location, Remote
from robaudit.data.stored import Stored, read_stored
from robaudit.data.view import View
from robaudit.errors import DataError, SettingsError
from robaudit.progress import Progress, Silent

MAX_TRIED = 8
"""Images that a model is tried on before anything is measured."""
MAX_READERS = 16
"""Images elsewhere that are fetched at the same time when a set is opened."""


@dataclass(frozen=True)
class ImageRef:
    """One labelled image on disk, pinned by the hash of its bytes (a picture among several in a file: by its own)."""

    id: str
    """Path relative to the data folder, with forward slashes."""
    path: Location
    label: str
    sha256: str
    pixel_sha256: str = ""
    """Hash of the decoded pixels, as `Picture.sha256`: equal for the same picture in two files or formats."""
    levels: int = 255
    """Steps from black to white that the file can hold: 255 for 8 bits, 65535 for 16."""
    patient: str | None = None
    """Hash of the patient's identifier; None where unknown."""
    member: str = ""
    """Which picture of its file, where that holds several."""

    def lot(self, seed: int) -> str:
        """Where the image stands in a seeded draw: its bytes decide, its id only between identical files."""
        return hashlib.sha256(f"{seed}/{self.sha256}".encode()).hexdigest() + self.id


Look = tuple[ImageRef, bool, frozenset[str]] | DataError
"""What was seen in an image, whether it is grey, and which of --slice and --window it follows; or why nothing was."""


@dataclass(frozen=True)
class Examined:
    """What was seen in all of them."""

    refs: tuple[ImageRef, ...]
    channels: Literal[1, 3]
    skipped: tuple[Listed, ...]
    follow: frozenset[str]
    """Which of --slice and --window say what is seen of any of them."""


@dataclass(frozen=True)
class Images:
    """A labelled set of images, decoded on demand."""

    root: Location
    refs: tuple[ImageRef, ...]
    classes: tuple[str, ...]
    """Class names in the order of the model's outputs."""
    channels: Literal[1, 3]
    skipped: tuple[Listed, ...] = ()
    """Unreadable images left out, where the user allowed it."""
    n_learnt_skipped: int = 0
    """Images left out because a model has learnt from them, where the user wanted that."""
    numbered: bool = False
    """Whether labels are stored as the numbers of the model's outputs, whatever these are called."""
    view: View = field(default_factory=View)
    """How they are shown to the model."""

    def __len__(self) -> int:
        return len(self.refs)

    @property
    def n_skipped(self) -> int:
        """How many unreadable images were left out."""
        return len(self.skipped)

    @property
    def sha256(self) -> str:
        """Hash of every image's id, label and bytes, and of how they are shown; independent of their order."""
        lines = [*self.view.flags, *sorted(f"{ref.id}\0{ref.label}\0{ref.sha256}\n" for ref in self.refs)]
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
            size: (height, width) of the model's input grid; other sizes are resized bilinearly, as `view` says.

        Returns:
            (C, H, W), float32 in [0, 1].

        Raises:
            DataError: the file is gone or its bytes changed since it was listed.
        """
        stored = read_stored(ref.path, ref.member, self.view)
        if stored.sha256 != ref.sha256:
            raise DataError(f"{ref.path}: changed while robaudit was running; restore it or start again with --restart")
        pixels = stored.picture.pixels
        if pixels.shape[2] != self.channels:
            pixels = pixels[..., :1] if self.channels == 1 else np.broadcast_to(pixels, (*pixels.shape[:2], 3))
        own = np.require(pixels, requirements=("C", "W"))  # copied only where it has to be
        return self.view.shown(torch.from_numpy(own).permute(2, 0, 1), size)

    def n_among(self, pictures: Collection[str]) -> int:
        """How many have pixels that are among these (`ImageRef.pixel_sha256`), whatever their files are called."""
        return sum(ref.pixel_sha256 in pictures for ref in self.refs)

    def without_learnt(self, pictures: Collection[str]) -> Images:
        """Those whose pixels are none of these, likewise, which a model has learnt from.

        Raises:
            DataError: fewer than two classes are left.
        """
        refs = tuple(ref for ref in self.refs if ref.pixel_sha256 not in pictures)
        present = sorted({ref.label for ref in refs})
        if len(present) < 2:
            but = f" but {len(refs)} of class {present[0]}" if present else ""
            raise DataError(
                f"{self.root}: all {len(self)} images{but} were learnt from or are in train or val; scan others"
            )
        return replace(self, refs=refs, n_learnt_skipped=len(self) - len(refs))

    def viewed(self, view: View) -> Images:
        """The same images shown to the model in another way."""
        return replace(self, view=view)

    def to_try(self, size: tuple[int, int]) -> Tensor:
        """A few of the images, and noise, black and white (B, C, H, W), to try a model on."""
        chosen = [self.load(ref, size) for ref in self.limited(MAX_TRIED, 0).refs]
        noise = torch.rand(chosen[0].shape, generator=torch.Generator().manual_seed(0))
        return torch.stack([*chosen, noise, torch.zeros_like(noise), torch.ones_like(noise)])

    def size_of_first(self) -> tuple[int, int]:
        """(height, width) of the first image as it is shown, before any resizing."""
        height, width, *_ = read_stored(self.refs[0].path, self.refs[0].member, self.view).picture.pixels.shape
        return (width, height) if self.view.transpose else (height, width)

    def ordered_as(self, classes: Sequence[str]) -> Images:
        """The same images with the class order of the model's outputs.

        Raises:
            DataError: an image's class is not among `classes`.
        """
        if self.numbered and set(self.classes) - set(classes) and len(self.classes) <= len(classes):
            refs = (replace(ref, label=classes[int(ref.label)]) for ref in self.refs)
            return replace(self, refs=tuple(refs), classes=tuple(classes))
        spelt = _spelling({ref.label for ref in self.refs}, classes)
        unknown = sorted(set(spelt.values()) - set(classes))
        if unknown:
            first = next(ref.id for ref in self.refs if spelt[ref.label] == unknown[0])
            raise DataError(
                f"{self.root}: holds class {', '.join(unknown)}, the model knows {', '.join(classes)}; "
                f"rename folders or labels (such as that of {first}), or use --classes or --merge"
            )
        refs = (replace(ref, label=spelt[ref.label]) for ref in self.refs)
        return replace(self, refs=tuple(refs), classes=tuple(classes))

    def limited(self, limit: int | None, seed: int) -> Images:
        """At most `limit` images, each class in proportion, chosen by hash so that order plays no part."""
        if limit is None or limit >= len(self):
            return self
        queue = []
        for name in self.classes:
            members = sorted((ref for ref in self.refs if ref.label == name), key=lambda ref: ref.lot(seed))
            # One of each class first; then whoever's class has had the smallest share of its images.
            queue += [(rank > 0, (rank + 0.5) / len(members), ref.id) for rank, ref in enumerate(members)]
        chosen = {id_ for *_, id_ in sorted(queue)[:limit]}
        return replace(self, refs=tuple(ref for ref in self.refs if ref.id in chosen))


def open_images(
    path: Location,
    split: Split | None = None,
    *,
    classes: Sequence[str] | None = None,
    merge: Mapping[str, Sequence[str]] | None = None,
    limit: int | None = None,
    seed: int = 0,
    view: View | None = None,
    on_bad_image: Literal["fail", "skip"] = "fail",
    progress: Progress | None = None,
) -> Images:
    """List, hash and try every image of a folder, a manifest or a MedMNIST file.

    Args:
        path: folder of classes, folder of train/val/test folders of classes, manifest (CSV or
            Parquet with path, label[, split, patient_id]), or MedMNIST .npz.
        split: which part; None, or data without parts, takes the whole.
        classes: class order of the model's outputs; default sorted names.
        merge: new class -> folders joined into it.
        limit: stratified, seeded upper bound on the number of images.
        seed: decides which images `limit` keeps.
        view: how they are shown to the model; None as they are.
        on_bad_image: `skip` leaves unreadable images out and counts them.
        progress: told of every image.

    Raises:
        DataError: nothing there, a missing part, fewer than two classes, two of one name, an unknown class in `merge`,
            a patient of the test part in another, an unreadable image, or a slice or window that no image follows.
        SettingsError: `limit` or `on_bad_image` is none.
    """
    if limit is not None and limit < 1:
        raise SettingsError(f"--limit {limit}: wanted 1 or more")
    if on_bad_image not in ("fail", "skip"):
        raise SettingsError(f"--on-bad-image {on_bad_image}: wanted fail or skip")
    progress, view = progress or Silent(), view or View()
    listing = list_images(path, split)
    for words in (
        left_out.words_for(listing.left_out),
        masks.words_for(listing.masks),
        masks.words_for_listed(masks.masks_among(listing.items)),
    ):
        if words:
            progress.say(words)
    _refuse_twins(path, listing.labels)
    listing = _merged(path, listing, merge or {})
    found = _examine(listing.items, view, on_bad_image, progress)
    present = sorted({ref.label for ref in found.refs})
    if len(present) < 2:
        held = f"only class {present[0]}" if present else "no readable image"
        raise DataError(f"{path}: holds {held}; an audit needs a folder with one sub-folder of images per class")
    _require_followed(path, view, found.follow)
    if twins := _under_two_classes(found.refs):
        progress.say(f"{path}: {twins}")
    names = present if listing.numbered is None else map(str, range(listing.numbered))
    images = Images(
        path, found.refs, tuple(names), found.channels, found.skipped,
        numbered=listing.numbered is not None, view=view,
    ).limited(limit, seed)  # fmt: skip
    return images.ordered_as(classes) if classes else images


def pictures_of(path: Location, parts: Collection[Split], view: View, progress: Progress) -> frozenset[str]:
    """Hashes of the pixels of every readable image of some parts, in whatever classes; empty where there are none.

    Raises:
        DataError: nothing there, a faulty manifest, or a patient of the test part in another.
    """
    items = [item for item in list_images(path, None).items if item.split in parts]
    refs = _examine(items, view, "skip", progress).refs if items else ()
    return frozenset(ref.pixel_sha256 for ref in refs)


def _under_two_classes(refs: Sequence[ImageRef]) -> str | None:
    """How many pictures have labels of which one must be wrong, whatever files they lie in."""
    first: dict[str, ImageRef] = {}
    pairs = [(first.setdefault(ref.pixel_sha256, ref), ref) for ref in refs]
    found = {one.pixel_sha256: (one.id, other.id) for one, other in pairs if one.label != other.label}
    if not found:
        return None
    shown = " and ".join(next(iter(found.values())))
    return (
        f"{len(found)} picture(s) are under two classes, such as {shown}, and no answer is right for both; remove one"
    )


def _spelling(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Each name as it is spelt among those known: an accent is one character, or two that look the same."""
    spelt = {unicodedata.normalize("NFC", name): name for name in known}
    return {name: spelt.get(unicodedata.normalize("NFC", name), name) for name in names}


def _refuse_twins(path: Location, labels: Iterable[str]) -> None:
    """Refuse two classes whose names are the same but for how an accent is written: nobody could tell them apart."""
    first: dict[str, str] = {}
    for label in sorted(labels):
        other = first.setdefault(unicodedata.normalize("NFC", label), label)
        if other != label:
            raise DataError(
                f"{path}: has classes {other!a} and {label!a}, one name with its accents written in two ways; rename "
                "one, or put their images together"
            )


def _require_followed(path: Location, view: View, follow: frozenset[str]) -> None:
    """Refuse options that would stand in the record and have changed nothing."""
    for flag, asked, wanted in (
        ("--slice", view.slice, "volume (NIfTI, 3-D MedMNIST)"), ("--window", view.window, "DICOM or NIfTI")
    ):  # fmt: skip
        if asked is not None and flag not in follow:
            raise DataError(f"{path}: holds no {wanted}, got {flag}, which says what is seen of these; leave it out")


def _merged(path: Location, listing: Listing, merge: Mapping[str, Sequence[str]]) -> Listing:
    """Labels joined into new classes, unless they are already: a split that robaudit wrote has the new ones.

    Raises:
        DataError: a class to be joined is not there, or goes into two.
    """
    spelt = _spelling(chain.from_iterable(merge.values()), listing.labels)
    merge = {new: [spelt[old] for old in joined] for new, joined in merge.items()}
    merge = {new: olds for new, olds in merge.items() if new not in listing.labels or listing.labels & set(olds)}
    olds = [old for joined in merge.values() for old in joined]
    if unknown := sorted(set(olds) - listing.labels):
        has = ", ".join(sorted(listing.labels))
        raise DataError(f"{path}: has no class {', '.join(unknown)} to merge, it has {has}; correct --merge")
    if twice := sorted(old for old in set(olds) if olds.count(old) > 1):
        raise DataError(f"{path}: class {', '.join(twice)} is merged into two; name it in one --merge only")
    if not merge:
        return listing
    new_name = {old: new for new, joined in merge.items() for old in joined}
    items = (replace(item, label=new_name.get(item.label, item.label)) for item in listing.items)
    return Listing(tuple(items), listing.labels)


def _examine(listed: Sequence[Listed], view: View, on_bad_image: str, progress: Progress) -> Examined:
    """Hash and decode every image once, so that a bad one is named before hours are spent."""
    refs: list[ImageRef] = []
    skipped: list[Listed] = []
    grey, follow = True, frozenset[str]()
    progress.start("reading images", len(listed))
    for item, found in zip(listed, _looked_at(listed, view), strict=True):
        if isinstance(found, DataError):
            if on_bad_image == "fail":
                raise found
            progress.say(f"skipped: {found}")
            skipped.append(item)
        else:
            ref, is_grey, follows = found
            grey, follow = grey and is_grey, follow | follows
            refs.append(ref)
        progress.advance()
    progress.finish()
    return Examined(tuple(refs), 1 if grey else 3, tuple(skipped), follow)


def _looked_at(listed: Sequence[Listed], view: View) -> Iterator[Look]:
    """What is seen in each image, in order; images elsewhere several at a time, as most of it is waiting."""
    look = partial(_look, view=view)
    if not any(isinstance(item.path, Remote) for item in listed):
        yield from map(look, listed)
        return
    with ThreadPoolExecutor(MAX_READERS) as readers:
        for start in range(0, len(listed), 16 * MAX_READERS):
            yield from readers.map(look, listed[start : start + 16 * MAX_READERS])


def _look(item: Listed, view: View) -> Look:
    try:
        _require_text(item)
        stored = read_stored(item.path, item.member, view, item.pinned)
    except DataError as error:
        return DataError(f"{item.row}{error}")
    return _ref(item, stored), stored.picture.is_grey, stored.follows


def _require_text(item: Listed) -> None:
    """Refuse names that no record can hold: file systems take any bytes, JSON takes text."""
    try:
        f"{item.id}{item.label}".encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{item.path}: its name is no text in the encoding of this locale; rename it or use --on-bad-image skip"
        ) from None


def _ref(item: Listed, stored: Stored) -> ImageRef:
    return ImageRef(
        id=item.id,
        path=item.path,
        label=item.label,
        sha256=stored.sha256,
        pixel_sha256=stored.picture.sha256,
        levels=stored.picture.levels,
        patient=item.patient,
        member=item.member,
    )
