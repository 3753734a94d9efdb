"""What T and C did to the texture of images: the table and the sentence, from what the retrofit measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from robaudit.report.words import NOT_MEASURED, number
from robaudit.retrofit_records import FeatureMoved, TextureMoved

UNMOVED = 0.01
"""Change of a mean, as a share of it, below which a feature counts as left alone."""

_FEATURES = {
    "asm": (
        "Angular second moment",
        "near 0 where no two pairs of pixels are alike; where all are, 1 at a grey level and down to 0.25 between two",
    ),
    "contrast": ("Contrast", "mean squared step within a pair, in grey levels"),
    "homogeneity": ("Homogeneity", "1 where the two pixels of every pair are equal"),
    "correlation": ("Correlation", "how far one pixel of a pair tells the other; 1 where it does, and in flat patches"),
    "dissimilarity": ("Dissimilarity", "mean step within a pair, in grey levels"),
}
_MEANING = (
    "More contrast and dissimilarity are a rougher texture; more homogeneity a plainer one, and more angular second "
    "moment as well, but brightness alone moves that too, as pixels come nearer to a grey level or leave it. "
    "The GLCM loss asks that no patch changes much. How far texture moved says nothing about robustness: the counts do."
)


@dataclass(frozen=True)
class FeatureRow:
    """A feature and its numbers."""

    name: str
    meaning: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Moved:
    """The texture features before and after T and C, or the one of them that there is."""

    modules: str
    sentence: str
    meaning: str
    measured: str
    headings: tuple[str, ...]
    rows: tuple[FeatureRow, ...]


def moved(found: TextureMoved, modules: str) -> Moved | None:
    """Lay out the features that are known here; None where none is. `modules` is `T and C`, `T` or `C`."""
    known = {name: found.features[name] for name in _FEATURES if name in found.features}
    if not known:
        return None
    return Moved(
        modules=modules,
        sentence=_sentence(known, found.n_images, modules),
        meaning=_MEANING,
        measured=(
            f"Means over {number(found.n_images)} validation images, their patches of {found.patch}×{found.patch} "
            f"pixels, and eight orientations; pairs {found.distance} pixels apart, {found.levels} grey levels. By "
            "patch is the mean absolute difference between image and what the network sees, which also counts what "
            "cancels out in the means."
        ),
        headings=("image", "after T", "after C" if modules == "C" else "after T and C", "change", "by patch"),
        rows=tuple(FeatureRow(*_FEATURES[name], _values(feature)) for name, feature in known.items()),
    )


def _sentence(known: Mapping[str, FeatureMoved], n_images: int, modules: str) -> str:
    # Correlation is no amount: it can be zero or negative, and a share of it says nothing.
    amounts = {name: feature for name, feature in known.items() if name != "correlation"} or known
    name, most = max(amounts.items(), key=lambda item: abs(_change(item[1])))
    over = f"over {number(n_images)} validation images"
    if abs(_change(most)) < UNMOVED:
        return f"{modules} left texture as it was: no feature's mean changed by {UNMOVED:.0%} or more, {over}."
    what = _FEATURES[name][0].lower()
    return (
        f"{modules} moved {what} most: from {most.original:.3g} in the image to {most.seen:.3g} in what the network "
        f"sees ({_change(most):+.0%}), mean {over}."
    )


def _values(feature: FeatureMoved) -> tuple[str, ...]:
    stages = (feature.original, feature.after_texture, feature.after_colour)
    return (
        *(NOT_MEASURED if value is None else f"{value:.3f}" for value in stages),
        f"{feature.seen - feature.original:+.3f}",
        f"{feature.moved:.3f}",
    )


def _change(feature: FeatureMoved) -> float:
    """Of the mean, as a share of it; 0 where it was zero."""
    return (feature.seen - feature.original) / abs(feature.original) if feature.original else 0.0
