"""Another model of the same classes, to make pictures on that may fool the audited one too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from robaudit.data.images import Images
from robaudit.errors import ModelError
from robaudit.load.classifier import Classifier, LoadedModel
from robaudit.load.model import load_model
from robaudit.progress import Progress
from robaudit.records import FileRef


class AsAudited(nn.Module):
    """A classifier that takes the audited model's pictures and answers in the order of its classes."""

    def __init__(self, classifier: Classifier, size: tuple[int, int], order: tuple[int, ...]) -> None:
        super().__init__()
        self.classifier, self.size, self.order = classifier, size, order

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] on the audited model's grid -> logits (B, K)."""
        logits: Tensor = self.classifier(resized(x, self.size))[:, list(self.order)]
        return logits


@dataclass(frozen=True)
class Surrogate:
    """The other model, and where it came from."""

    network: AsAudited
    file: FileRef


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (B, C, H, W) on another grid; unchanged where it is their own."""
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def load_surrogate(
    path: Path | str | None, audited: LoadedModel, images: Images, progress: Progress
) -> Surrogate | None:
    """Load the model that was named, or the one a retrofit was made from.

    Args:
        path: its file; None takes the model before the retrofit, where the audited one is a retrofit.
        audited: the model it stands in for; its normalisation is assumed where the file does not tell.
        images: that are audited; some of them show what it answers with.
        progress: told where the model before the retrofit is not found any more, or cannot be loaded.

    Returns:
        The surrogate, or None where none was named and none is known.

    Raises:
        ModelError: the model that was named cannot be loaded, or has other classes.
    """
    info = audited.info
    if path is None:
        if info.front is None:
            return None
        vanilla = Path(info.front.vanilla.path)
        try:
            # Nothing is fetched from the hub because a folder says so.
            loaded = _loaded(vanilla, audited, **_as_retrofitted(audited)) if vanilla.exists() else None
        except ModelError as error:  # it took words to load it that its retrofit does not keep, such as --trust
            progress.say(f"{error}; no transfer check without the model before the retrofit, or name it by --surrogate")
            return None
        if loaded is None or loaded.info.sha256 != info.front.vanilla.sha256:
            progress.say(
                f"{vanilla}: the model before the retrofit is not there unchanged; no transfer check without it, or "
                "name it by --surrogate"
            )
            return None
        path = vanilla
    else:
        loaded = _loaded(Path(path), audited)
    if set(loaded.info.classes) != set(info.classes):
        raise ModelError(
            f"{path}: has classes {', '.join(loaded.info.classes)}, the audited model {', '.join(info.classes)}; "
            "name a surrogate of the same classes"
        )
    pictures = images.to_try(audited.size).to(audited.classifier.device)
    classifier = loaded.with_outputs_seen_on(resized(pictures, loaded.size)).classifier
    order = tuple(loaded.info.classes.index(name) for name in info.classes)
    network = AsAudited(classifier, loaded.size, order).eval()
    return Surrogate(network, FileRef(path=str(path), sha256=loaded.info.sha256))


def _loaded(path: Path, audited: LoadedModel, **asked: Any) -> LoadedModel:
    info = audited.info
    return load_model(
        path, folder_classes=info.classes, mean=info.normalization.mean, std=info.normalization.std,
        device=str(audited.classifier.device), **asked,
    )  # fmt: skip


def _as_retrofitted(audited: LoadedModel) -> dict[str, Any]:
    """What was said of the model before the retrofit when it was made, as far as the retrofit keeps it."""
    info, recipe = audited.info, audited.recipe
    is_named = not recipe.files and not {"factory", "library"} & recipe.config.keys()
    answered = {} if info.loading is None else {
        name: getattr(info.loading, name) for name in ("output", "label_index", "threshold")
    }  # fmt: skip
    return answered | {
        "arch": info.arch if is_named else None,
        "factory": recipe.config.get("factory"),
        "input_size": audited.size,
        "classes": info.classes,
    }
