"""Makes timm find retrofitted models: after `import robaudit.timm`, `timm.create_model("local-dir:DIR")` gives one.

What it gives is the whole, T and C and normalisation included: it takes pixels in [0, 1], grey in one channel, answers
with logits, and its `pretrained_cfg` says so to timm's own preprocessing (mean 0, standard deviation 1).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from timm.models import register_model

from robaudit.errors import ModelError
from robaudit.load.classifier import Classifier
from robaudit.load.generated import generated
from robaudit.load.model import load_model

__all__ = ["robaudit_assimilated"]


@register_model  # type: ignore[untyped-decorator]
def robaudit_assimilated(
    pretrained: bool = False,
    pretrained_cfg: dict[str, Any] | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    factory: str | None = None,
    **_: Any,
) -> Classifier:
    """The model in a folder that `robaudit assimilate` wrote, in evaluation mode.

    Args:
        pretrained: of no effect: the weights are always loaded, for without them there is no retrofit.
        pretrained_cfg: what timm read from the folder's config.json.
        num_classes: must be the model's own.
        in_chans: likewise.
        factory: `package.module:function`, for a retrofit of a network of your own code.

    Raises:
        ModelError: called without a folder, or for other classes or channels than the model has.
    """
    folder = (pretrained_cfg or {}).get("file")
    if not folder:
        raise ModelError("robaudit_assimilated: has no weights of its own; use timm.create_model('local-dir:DIR')")
    loaded = load_model(Path(folder), factory=factory)
    channels = loaded.classifier.takes_channels
    # A network that answers with probabilities gives the logits that scan attacks.
    loaded = loaded.with_outputs_seen_on(generated(channels, loaded.size).to(loaded.classifier.device))
    classifier, info = loaded.classifier, loaded.info
    for name, asked, own in (
        ("num_classes", num_classes, info.n_classes),
        ("in_chans", in_chans, channels),
    ):
        if asked not in (None, own):
            raise ModelError(f"{folder}: {name} is {own}, not {asked}; a retrofitted model cannot be refitted by timm")
    height, width = loaded.size
    classifier.pretrained_cfg = classifier.default_cfg = {  # type: ignore[assignment]
        "architecture": "robaudit_assimilated",
        "input_size": (channels, height, width),
        "mean": (0.0,) * channels,
        "std": (1.0,) * channels,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "num_classes": info.n_classes,
        "label_names": list(info.classes),
    }
    classifier.num_classes = info.n_classes  # type: ignore[assignment]
    return classifier
