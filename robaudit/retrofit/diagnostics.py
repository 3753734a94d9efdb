"""The source's explanation put to the test: attention and sharpness of a model, before and after the retrofit."""

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from robaudit.files import replacing, write_text
from robaudit.load.images import Images
from robaudit.retrofit.attention import HELD, attention_map, share_holding
from robaudit.retrofit.objective import evaluating
from robaudit.retrofit.record import (
    DIAGNOSTICS_FILE,
    PICTURES_FOLDER,
    Diagnostics,
    ModelDiagnostics,
    TextureMoved,
    ToneCurve,
)
from robaudit.retrofit.sharpness import directions, largest_curvature, loss_surface

N_IMAGES = 8
STEPS_255 = (-8, -4, 0, 4, 8)
"""How far the loss is followed along each direction."""
SURFACE_PIXELS = 280


class Examined:
    """What is measured of one model, and the maps that pictures are drawn from."""

    def __init__(self, classifier: nn.Module, pixels: Tensor, labels: Tensor) -> None:
        with evaluating(classifier):
            self.maps = torch.cat([attention_map(classifier, one) for one in torch.split(pixels, 1)]).cpu()
            along = directions(classifier, pixels, labels, seed=0)
            steps = torch.tensor(STEPS_255, device=pixels.device)
            self.surface = loss_surface(classifier, pixels, labels, along, steps).cpu()
            self.curvature = largest_curvature(classifier, pixels, labels).cpu()

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
