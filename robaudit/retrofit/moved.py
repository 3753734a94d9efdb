"""How far T and C move the texture of images: the five features as they are, after T, and as the network sees them."""

import torch
from torch import Tensor

from robaudit.data.images import Images
from robaudit.front.front import Front
from robaudit.retrofit.loss import TextureTerm, grayscale
from robaudit.retrofit_records import FeatureMoved, TextureMoved
from robaudit.texture.orientations import DISTANCE, ORIENTATIONS
from robaudit.texture.sot import FEATURES, second_order_texture

N_IMAGES = 64
"""Images measured, at most: a mean over their patches hardly changes with more."""


@torch.no_grad()
def texture_moved(front: Front, images: Images, size: tuple[int, int], term: TextureTerm) -> TextureMoved:
    """Measure the features, exact and in grey levels, of a sample of images and of what the front makes of it.

    Args:
        front: T and C, or one of them, in evaluation mode.
        images: a stratified sample of at most `N_IMAGES` is taken, the same whatever their order.
        size: (height, width) of the model's input grid.
        term: its grey levels and patches are those of training.

    Raises:
        DataError: an image cannot be read any more.
    """
    some, device = images.limited(N_IMAGES, seed=0), next(front.parameters()).device

    def features(picture: Tensor) -> Tensor:
        """(N, 5): per patch, each feature as the mean over its orientations."""
        matrix = second_order_texture(grayscale(picture), levels=term.levels, patch=term.patch)[0]
        return matrix.reshape(-1, len(ORIENTATIONS), len(FEATURES)).mean(1)

    totals: dict[str, Tensor] = {}
    for ref in some.refs:
        image = some.load(ref, size)[None].to(device)
        original = features(image)
        after = {stage: features(picture) for stage, picture in front.stages(image).items()}
        seen = [*after.values()][-1]
        for name, values in {"original": original, **after, "moved": (seen - original).abs()}.items():
            totals[name] = totals.get(name, 0) + values.mean(0).double().cpu()
    means = {name: (total / len(some)).tolist() for name, total in totals.items()}
    return TextureMoved(
        n_images=len(some),
        levels=term.levels,
        patch=term.patch,
        distance=DISTANCE,
        features={
            feature: FeatureMoved(
                original=means["original"][index],
                after_texture=means["texture"][index] if "texture" in means else None,
                after_colour=means["colour"][index] if "colour" in means else None,
                moved=means["moved"][index],
            )
            for index, feature in enumerate(FEATURES)
        },
    )
