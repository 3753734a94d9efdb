"""Model in, one file out: written, run, compared with the model, and only then put in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor

from robaudit import __version__
from robaudit.data.remote import Location, located
from robaudit.deploy.formats import FORMATS, Run
from robaudit.deploy.pictures import listed_files, of_audit, of_data, stored_files
from robaudit.errors import ModelError, OutputError, SettingsError, first_line
from robaudit.files import replacing, require_apart
from robaudit.given import checked, given
from robaudit.load.classifier import LoadedModel
from robaudit.load.generated import generated
from robaudit.load.model import load_model

LOGIT_TOLERANCE = 1e-4
"""Largest difference of a logit that counts as rounding, relative to the largest logit of the picture (at least 1):
another runtime adds in another order."""
BATCH = 16


@dataclass(frozen=True)
class Checked:
    """What the exported file was compared on."""

    n_pictures: Mapping[str, int]
    """By where they came from."""
    largest_difference: float
    """Of a logit, over all pictures."""

    def sentence(self) -> str:
        """For people."""
        of = {"generated": "generated pictures"}
        where = ", ".join(f"{n} {of.get(source, source)}" for source, n in self.n_pictures.items() if n)
        return f"same decisions and logits as the model on {where} (largest difference {self.largest_difference:.1g})"


@checked
def export(
    model: Path | str,
    out: Path | str,
    *,
    form: str,
    data: Location | str | None = None,
    audit: Path | str | None = None,
    limit: PositiveInt | None = None,
    **loading: Any,
) -> Checked:
    """Write a classifier as one file that maps pixels in [0, 1] to logits without robaudit.

    The file holds normalisation, T and C. It takes any batch size, and the model's own grid and channels. It is
    compared with the model before it appears.

    Args:
        model: model file or folder.
        out: file to write.
        form: `torchscript`, `onnx` or `pt2`.
        data: also compare on these images: folder of classes, split folder (its test part is taken), manifest or URL.
        audit: audit.json; also compare on the originals and adversarials stored with it.
        limit: at most so many images of `data`.
        loading: arch, classes, mean, std, input_size, and further arguments of `load_model`, as in `scan`.

    Raises:
        InputError: something given cannot be used, the model does not go into this format, or the file would not
            answer as the model does.
    """
    model, out = Path(model), Path(out)
    data, audit = None if data is None else located(data), None if audit is None else Path(audit)
    if form not in FORMATS:
        raise SettingsError(f"--format {form}: wanted {', '.join(FORMATS)}")
    given(load_model, model, **loading)
    if out.exists() and not out.is_file():
        raise OutputError(f"{out}: is no regular file, and what is exported is read again to check it; write to a file")
    require_apart(out, (path for path in (model, data, audit) if isinstance(path, Path)))
    loaded = load_model(model, **loading)
    require_apart(out, loaded.recipe.files)  # an ONNX file may keep its numbers in others beside it
    channels = loaded.classifier.takes_channels
    pictures = {"generated": generated(channels, loaded.size)}
    loaded = loaded.with_outputs_seen_on(pictures["generated"])
    classifier = loaded.classifier.eval().requires_grad_(False)
    if data is not None:
        require_apart(out, listed_files(data))
        pictures["of your images"] = of_data(data, loaded, limit)
    if audit is not None:
        require_apart(out, stored_files(audit))
        pictures["stored by the audit"] = of_audit(audit, channels, loaded.size)

    chosen = FORMATS[form]
    with replacing(out) as temporary:
        try:
            chosen.write(classifier, pictures["generated"][:2], _metadata(loaded), temporary)
            run = chosen.read(temporary)
        except (SettingsError, OSError):
            raise
        except Exception as error:  # exporters raise whatever the unsupported operation made them think of
            raise ModelError(f"{model}: cannot be written as {form} ({_cause(error)}); try another --format") from None
        found = (_difference(model, form, classifier, run, batch) for batch in pictures.values() if len(batch))
        differences = [difference for difference in found if difference is not None]
        if not differences:
            raise ModelError(
                f"{model}: answers NaN to every picture it is compared on, so nothing was written; pass --images that "
                "it has an answer to"
            )
    return Checked({source: len(batch) for source, batch in pictures.items()}, max(differences))


def _difference(model: Path, form: str, classifier: Run, run: Run, pictures: Tensor) -> float | None:
    """Largest difference of a logit; None where both answer NaN to every picture.

    A model that standardises each picture by itself answers NaN to one of a single grey.

    Raises:
        ModelError: it is more than rounding, or a decision differs.
    """
    differences: list[float] = []
    for batch in (*torch.split(pictures, BATCH), pictures[:1]):  # alone too: `.squeeze()` drops a batch of one
        with torch.no_grad():
            wanted, got = classifier(batch), _answered(model, form, run, batch)
        answered = ~(wanted.isnan() & got.isnan()).any(1)
        wanted, got = wanted[answered], got[answered]
        difference = (got - wanted).abs().amax(1)
        bound = LOGIT_TOLERANCE * wanted.abs().amax(1).clamp_min(1)
        if not bool((difference <= bound).all()) or not torch.equal(got.argmax(1), wanted.argmax(1)):
            raise ModelError(
                f"{model}: as {form} answers otherwise (a logit differs by {float(difference.max()):.2g}); "
                "nothing was written; try another --format"
            )
        differences += difference.tolist()
    return max(differences, default=None)


def _answered(model: Path, form: str, run: Run, batch: Tensor) -> Tensor:
    """What the file answers.

    Raises:
        ModelError: it cannot be run on this batch.
    """
    try:
        return run(batch).detach()
    except Exception as error:  # runtimes raise whatever they like
        raise ModelError(
            f"{model}: as {form} does not run on a batch of {len(batch)} ({_cause(error)}); nothing was written; try "
            "another --format"
        ) from None


def _cause(error: BaseException) -> str:
    """What went wrong at the bottom of it: exporters wrap it up in advice to whoever develops them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _metadata(loaded: LoadedModel) -> dict[str, Any]:
    height, width = loaded.size
    return {
        "robaudit_version": __version__,
        "model": {"sha256": loaded.info.sha256, "arch": loaded.info.arch},
        "classes": list(loaded.info.classes),
        "input": {"shape": ["batch", loaded.classifier.takes_channels, height, width], "range": [0, 1]},
        "output": "logits",
        "threshold": loaded.classifier.outputs.threshold,
        "inside": ["normalisation"] if loaded.classifier.front is None else ["T and C", "normalisation"],
        "bgr": loaded.takes_bgr,
        "shown": None if loaded.shown is None else list(loaded.shown),
    }
