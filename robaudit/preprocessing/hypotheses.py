"""What may have been meant instead: other normalisations, sizes, and ways to show the same images to a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.data.images import Images
from robaudit.data.resizing import RESIZES
from robaudit.data.view import View
from robaudit.load.classifier import LoadedModel
from robaudit.load.normalization import PRESETS
from robaudit.records import Normalization

_NORMALIZATIONS: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {
    "no normalisation": PRESETS["none"],
    "ImageNet normalisation": PRESETS["imagenet"],
    "normalisation to [-1, 1]": PRESETS["half"],
    "pixels from 0 to 255": ((0.0,), (1 / 255,)),
    "pixels from -1024 to 1024": PRESETS["xray"],
}
"""Mean and standard deviation, for every channel alike or one each."""
_SIDES = (128, 384)
"""Of input grids that people train at where the architecture's library does not."""
_APART = 1.4
"""Networks barely notice grids whose sides differ by less than this factor."""
_LOOKED_AT = 16


@dataclass(frozen=True)
class Hypothesis:
    """One way to prepare the images."""

    name: str
    flags: str
    """What to pass for it."""
    view: View
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    """(height, width) of the input grid."""

    def prepared(self, x: Tensor, stated: Normalization) -> Tensor:
        """Pixels that a model with the stated normalisation sees as this hypothesis would have it.

        Args:
            x: (B, C, H, W) in [0, 1], one channel or as many as the model takes.
            stated: what the model does with its input.

        Returns:
            (B, C, H, W), in general outside [0, 1].
        """
        if (self.mean, self.std) == (stated.mean, stated.std):
            return x
        x = x.expand(-1, len(self.mean), -1, -1)
        mean, std, own_mean, own_std = (
            torch.tensor(values, device=x.device).view(-1, 1, 1)
            for values in (self.mean, self.std, stated.mean, stated.std)
        )
        return (x - mean) / std * own_std + own_mean


def stated(loaded: LoadedModel, images: Images) -> Hypothesis:
    """What the person, or the model's folder, says."""
    norm = loaded.info.normalization
    return Hypothesis("as stated", "", images.view, norm.mean, norm.std, loaded.size)


def alternatives(loaded: LoadedModel, images: Images) -> list[Hypothesis]:
    """Everything worth a try, each differing from what is stated in one thing."""
    base = stated(loaded, images)
    return [*_other_normalizations(loaded, base), *_other_views(images, base), *_other_sizes(loaded, base)]


def _other_normalizations(loaded: LoadedModel, base: Hypothesis) -> Iterator[Hypothesis]:
    if loaded.classifier.front is not None:
        return  # a retrofit was trained with its normalisation: there is nothing to mistake
    n_channels = len(base.mean)
    double = tuple(m * (1 + s) for m, s in zip(base.mean, base.std, strict=True)), tuple(s * s for s in base.std)
    for name, (mean, std) in {**_NORMALIZATIONS, "the normalisation twice": double}.items():
        if len(mean) not in (1, n_channels):
            continue
        means, stds = (tuple(values) * (n_channels // len(values)) for values in (mean, std))
        if (means, stds) != (base.mean, base.std):
            flags = f"--mean {_listed(means)} --std {_listed(stds)}"
            yield replace(base, name=name, flags=flags, mean=means, std=stds)


def _other_sizes(loaded: LoadedModel, base: Hypothesis) -> Iterator[Hypothesis]:
    if loaded.info.input.source not in ("architecture", "assumed"):
        return  # somebody has said so
    for side in _SIDES:
        if all(max(side, own) / min(side, own) > _APART for own in base.size):
            yield replace(
                base, name=f"images of about {side}x{side}", flags=f"--input-size {side},{side}", size=(side, side)
            )


def _other_views(images: Images, base: Hypothesis) -> Iterator[Hypothesis]:
    views = {
        "inverted grey levels": replace(base.view, invert=not base.view.invert),
        "rows and columns exchanged": replace(base.view, transpose=not base.view.transpose),
    }
    if images.channels == 3:
        views["blue and red exchanged"] = replace(base.view, bgr=not base.view.bgr)
    views |= {f"images brought to size by {how}": replace(base.view, resize=how) for how in RESIZES}
    shown = _first(images, base.size)
    for name, view in views.items():
        if _is_other(images.viewed(view), base.size, shown):
            yield replace(base, name=name, flags=way_to(view.flags, base.view.flags), view=view)


def differs(images: Images, view: View, size: tuple[int, int]) -> bool:
    """Whether a view changes any of the first images: square ones are cut and padded alike."""
    return _is_other(images.viewed(view), size, _first(images, size))


def _first(images: Images, size: tuple[int, int]) -> list[Tensor]:
    return [images.load(ref, size) for ref in images.refs[:_LOOKED_AT]]


def _is_other(images: Images, size: tuple[int, int], shown: Sequence[Tensor]) -> bool:
    """Whether any of the first images is another than it was as shown before."""
    pairs = zip(images.refs, shown, strict=False)
    return any(not torch.equal(images.load(ref, size), before) for ref, before in pairs)


def way_to(wanted: Sequence[str], now: Sequence[str]) -> str:
    """What to type, or to leave out, to get from the flags of one view to those of another."""
    added = [flag for flag in wanted if flag not in now]
    given = {flag.split()[0] for flag in added}
    dropped = [f"no {flag}" for flag in now if flag not in wanted and flag.split()[0] not in given]
    return " and ".join(added + dropped)


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:.6g}" for value in values)
