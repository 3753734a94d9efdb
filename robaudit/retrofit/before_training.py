"""The classifier that a retrofit's training starts from: the network that was brought, T and C in front of it."""

from typing import Literal

import torch

from robaudit.errors import ModelError, SettingsError
from robaudit.front.front import Front, Modules
from robaudit.load.classifier import Classifier, LoadedModel
from robaudit.retrofit.settings import TrainConfig
from robaudit.texture.patches import grid


def retrofitted(vanilla: LoadedModel, image_channels: Literal[1, 3], config: TrainConfig) -> Classifier:
    """The classifier that training starts from: the same network, behind a new front unless none is wanted.

    Raises:
        ModelError: it already has a front, or its channels do not fit the images.
        SettingsError: tint is wanted, and there is no C.
    """
    if config.front == "none":
        _require_without_front(vanilla, image_channels)
        if not vanilla.recipe.is_timms:
            raise ModelError(
                f"{vanilla.info.path}: is no network that a timm folder can name, which is what --front none writes; "
                "keep T or C in front"
            )
        return vanilla.classifier
    classifier = with_front(vanilla, image_channels, config.seed, config.front, config.tint)
    if config.tint and _front(classifier).colour is None:
        raise SettingsError("--tint: is what C may do, and a model that takes one channel has no C; leave it out")
    if config.random_front:
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            _front(classifier).start_at_random()
    return classifier


def _require_without_front(vanilla: LoadedModel, image_channels: Literal[1, 3]) -> None:
    """Refuse a model that has a front, or whose channels do not fit the images."""
    if vanilla.classifier.front is not None:
        raise ModelError(f"{vanilla.info.path}: is already retrofitted; pass the model before the retrofit")
    vanilla.require_channels(image_channels)


def with_front(
    vanilla: LoadedModel, image_channels: Literal[1, 3], seed: int, modules: Modules = "T+C", tint: bool = False
) -> Classifier:
    """The same network, its weights kept, behind a new T and C (T alone where it takes one channel).

    Raises:
        ModelError: it already has a front, or its channels do not fit the images.
    """
    classifier, path = vanilla.classifier, vanilla.info.path
    _require_without_front(vanilla, image_channels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            front = Front(image_channels, classifier.in_chans, modules=modules, tint=tint).to(classifier.device)
        except ValueError as error:
            raise ModelError(f"{path}: cannot be retrofitted ({error}); use --front T") from None
    return Classifier(
        classifier.backbone,
        classifier.normalization,
        in_chans=classifier.in_chans,
        front=front,
        outputs=classifier.outputs,
    ).to(classifier.device)


def require_patches(size: tuple[int, int], config: TrainConfig) -> None:
    """Refuse an input grid (height, width) whose texture cannot be measured.

    Raises:
        SettingsError: it holds no whole patch.
    """
    if config.front == "none":
        return
    try:
        grid(*size, config.texture.patch)
    except ValueError as error:
        raise SettingsError(f"texture term: {error}; use a larger --input-size or a smaller --patch") from None


def _front(classifier: Classifier) -> Front:
    assert classifier.front is not None
    return classifier.front
