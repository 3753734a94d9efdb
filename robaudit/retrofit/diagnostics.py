"""The source's explanation put to the test: attention and sharpness of a model, before and after the retrofit."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from robaudit.attack.prepare import channels_last
from robaudit.data.images import Images
from robaudit.files import replacing, write_text
from robaudit.load.evaluating import evaluating
from robaudit.progress import Progress
from robaudit.records import DIAGNOSTICS_FILE
from robaudit.retrofit.attention import HELD, attention_map, share_holding
from robaudit.retrofit.sharpness import ITERATIONS, directions, largest_curvature, loss_surface
from robaudit.retrofit_records import (
    PICTURES_FOLDER,
    Diagnostics,
    ModelDiagnostics,
    TextureMoved,
    ToneCurve,
)

N_IMAGES = 8
STEPS_255 = (-8, -4, 0, 4, 8)
"""How far the loss is followed along each direction."""
SURFACE_PIXELS = 280
AT_A_TIME = 2
"""Images examined together: more hardly take less time each, and would show no progress."""
GRADIENTS, FORWARDS = 2 + 2 * ITERATIONS, len(STEPS_255) ** 2
"""What the examination of an image costs."""


class Examined:
    """What is measured of one model, and the maps that pictures are drawn from."""

    def __init__(
        self, classifier: nn.Module, ids: Sequence[str], pixels: Tensor, labels: Tensor, when: str, progress: Progress
    ) -> None:
        """Examine.

        Args:
            classifier: (B, C, H, W) in [0, 1] -> (B, K); left in channels-last layout, which is faster on a CPU.
            ids: of the images.
            pixels: (B, C, H, W) in [0, 1].
            labels: (B,).
            when: `before` or `after`, for the progress.
            progress: told of every few images.
        """
        channels_last(classifier)
        steps = torch.tensor(STEPS_255, device=pixels.device)
        maps, surfaces, curvatures = [], [], []
        progress.start(f"attention and sharpness {when}", len(pixels))
        with evaluating(classifier):
            for seed, few in enumerate(
                zip(torch.split(pixels, AT_A_TIME), torch.split(labels, AT_A_TIME), strict=True)
            ):
                progress.asking(ids[seed * AT_A_TIME :][:AT_A_TIME])
                along = directions(classifier, *few, seed=seed)
                maps.append(attention_map(classifier, few[0]).cpu())
                surfaces.append(len(few[0]) * loss_surface(classifier, *few, along, steps).cpu())
                curvatures.append(largest_curvature(classifier, *few, seed=seed).cpu())
                progress.advance(len(few[0]))
        progress.finish()
        self.maps, self.curvature = torch.cat(maps), torch.cat(curvatures)
        self.surface = torch.stack(surfaces).sum(0) / len(pixels)

    def record(self) -> ModelDiagnostics:
        """As plain numbers."""
        shares = share_holding(self.maps).tolist()
        return ModelDiagnostics(
            attention_share=tuple(None if math.isnan(share) else share for share in shares),
            curvature=tuple(self.curvature.tolist()),
            surface=tuple(tuple(row) for row in self.surface.tolist()),
        )


def some_of(images: Images, size: tuple[int, int], device: torch.device) -> tuple[Images, Tensor, Tensor]:
    """A few images of each class, the same whatever their order: images, pixels (B, C, H, W), labels (B,)."""
    few = images.limited(N_IMAGES, seed=0)
    pixels = torch.stack([few.load(ref, size) for ref in few.refs]).to(device)
    return few, pixels, torch.tensor([few.label_index(ref) for ref in few.refs], device=device)


def write_diagnostics(
    folder: Path,
    images: Images,
    pixels: Tensor,
    before: Examined,
    after: Examined,
    texture: TextureMoved | None,
    tone: ToneCurve | None,
) -> Diagnostics:
    """Write diagnostics.json and its pictures to `folder`.

    Raises:
        OutputError: the disk is full.
    """
    files: dict[str, str] = {}

    def draw(name: str, picture: Image.Image) -> None:
        files[name] = f"{PICTURES_FOLDER}/{name}.png"
        with replacing(folder / files[name]) as temporary:
            picture.save(temporary, format="PNG")

    highest = max(float(before.surface.max()), float(after.surface.max()), 1e-12)
    for when, examined in (("before", before), ("after", after)):
        surface = _shaded(examined.surface / highest)
        draw(f"surface-{when}", surface.resize((SURFACE_PIXELS, SURFACE_PIXELS), Image.Resampling.BICUBIC))
        for index, one in enumerate(examined.maps):
            draw(f"attention-{when}-{index}", _shaded(one / one.quantile(0.99).clamp_min(1e-12)))
    for index, one in enumerate(pixels.cpu()):
        draw(f"original-{index}", _shaded(one.mean(0)))
    diagnostics = Diagnostics(
        image_ids=tuple(ref.id for ref in images.refs),
        held=HELD,
        steps_255=STEPS_255,
        before=before.record(),
        after=after.record(),
        texture=texture,
        tone=tone,
        pictures=files,
    )
    write_text(folder / DIAGNOSTICS_FILE, diagnostics.model_dump_json(indent=2) + "\n")
    return diagnostics


def _shaded(values: Tensor) -> Image.Image:
    """(H, W), clipped to [0, 1], as a grey picture."""
    return Image.fromarray((values.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
