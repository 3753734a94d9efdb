"""The one shape every audited model takes: pixels in [0, 1] in, logits out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from robaudit.data.images import Images
from robaudit.data.picture import other_channels
from robaudit.data.resizing import Resizing
from robaudit.errors import ModelError, first_line
from robaudit.front.front import Front
from robaudit.load.evaluating import evaluating
from robaudit.load.outputs import OutputKind, Outputs, find_outputs
from robaudit.load.recipe import Recipe
from robaudit.memory import ran_out
from robaudit.records import ModelInfo, Normalization


class Classifier(nn.Module):
    """front (T and C, if any) -> normalisation -> backbone, so that eps is always in display units.

    A grey image stays one channel up to here: its repeat to RGB, T and C and the normalisation are part of the
    attacked function.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        normalization: Normalization,
        *,
        in_chans: int,
        front: Front | None = None,
        outputs: Outputs = Outputs(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.front = front
        self.outputs = outputs
        """How logits are had from what the backbone answers."""
        self.in_chans = in_chans
        """Channels the backbone sees."""
        self.normalization = normalization
        self.register_buffer("mean", torch.tensor(normalization.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalization.std).view(1, -1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it computes, and wants its pictures."""
        return self.mean.device

    @property
    def takes_channels(self) -> int:
        """Channels of the images it takes; a grey image is repeated to them."""
        return self.in_chans if self.front is None else self.front.in_channels

    def features_in(self, x: Tensor) -> Tensor:
        """What the backbone sees before normalisation.

        Args:
            x: (B, C, H, W) in [0, 1], C 1 (grey) or 3.

        Returns:
            (B, in_chans, H, W) in [0, 1].
        """
        if self.front is None:
            return x.expand(-1, self.in_chans, -1, -1) if x.shape[1] == 1 else x
        coloured: Tensor = self.front(x)
        return coloured

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> logits (B, K)."""
        return self.answer(self.features_in(x))

    def answer(self, seen: Tensor) -> Tensor:
        """What the backbone makes of what it sees: (B, in_chans, H, W) in [0, 1] -> logits (B, K)."""
        return self.outputs.logits(self.backbone, self.normalized(seen))

    def normalized(self, seen: Tensor) -> Tensor:
        """(B, in_chans, H, W) in [0, 1] -> what the backbone takes."""
        return (seen - self.mean) / self.std


@dataclass(frozen=True)
class LoadedModel:
    """A classifier with what its record needs: where it came from and how it expects its input."""

    classifier: Classifier
    info: ModelInfo
    recipe: Recipe = field(default_factory=Recipe)
    """What builds the network again, where the name of its architecture does not."""
    resizing: Resizing | None = None
    """How its folder says that images come to the grid, which robaudit does as `--resize` says."""
    shown: tuple[str, ...] | None = None
    """Options that say how images were shown to a retrofit in training; None where nothing tells."""
    takes_bgr: bool = False
    """Whether its folder or export says that colours come in the order blue, green, red."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input grid."""
        return self.info.input.height, self.info.input.width

    def tried_on(self, images: Images) -> tuple[LoadedModel, Images]:
        """The same model, its answers understood from some of these images, and these in the order of its classes.

        Raises:
            DataError: an image's class is none of the model's.
            ModelError: the model cannot take images of these channels, or its answers do not fit its classes.
        """
        images = images.ordered_as(self.info.classes)
        self.require_channels(images.channels, bgr=images.view.bgr)
        return self.with_outputs_seen_on(images.to_try(self.size).to(self.classifier.device)), images

    @torch.no_grad()
    def with_outputs_seen_on(self, pictures: Tensor) -> LoadedModel:
        """The same model, its answers understood from these pictures (B, C, H, W) in [0, 1].

        Raises:
            ModelError: the answers are no (B, K) numbers, K does not fit the classes, they are findings, or there are
                none: the model fails on every picture.
        """
        classifier = self.classifier
        with evaluating(classifier):
            x = classifier.normalized(classifier.features_in(pictures))
            try:
                found = find_outputs(classifier.backbone, x)
            except Exception as error:  # the model's own
                x = self._answered(x, error)
                found = find_outputs(classifier.backbone, x)
            outputs = replace(found, threshold=classifier.outputs.threshold)
            if outputs.kind is OutputKind.FINDINGS:
                n = self.info.n_classes
                raise ModelError(
                    f"{self.info.path}: ends with a sigmoid for each of its {n} outputs, findings that do not exclude "
                    "each other, and an audit counts one right answer per image; audit one of them with "
                    f"--label-index (0 to {n - 1}), or, if they do exclude each other, save it without the sigmoid"
                )
            n_columns = outputs.logits(classifier.backbone, x).shape[1]
        if n_columns != self.info.n_classes:
            raise ModelError(
                f"{self.info.path}: answers with {n_columns} numbers for {self.info.n_classes} classes "
                f"({', '.join(self.info.classes)}); pass the model's own classes with --classes"
            )
        classifier.outputs = outputs
        return replace(self, info=self.info.model_copy(update={"outputs": outputs.words or outputs.kind.value}))

    def _answered(self, x: Tensor, error: Exception) -> Tensor:
        """Those of the pictures `x`, as the backbone takes them, that it does not fail on, asked one by one.

        Raises:
            ModelError: it fails on each, or on none of them alone.
        """
        if ran_out(error):
            raise error
        kept = [one for one in torch.split(x, 1) if self._answers(one)]
        if len(kept) in (0, len(x)):
            raise ModelError(
                f"{self.info.path}: fails on the pictures that it was tried on ({type(error).__name__}: "
                f"{first_line(error)}); mend the model"
            ) from error
        return torch.cat(kept)

    def _answers(self, x: Tensor) -> bool:
        try:
            self.classifier.backbone(x)
        except Exception:  # the model's own
            return False
        return True

    def require_channels(self, image_channels: int, *, bgr: bool | None = None) -> None:
        """Refuse images whose channels the model cannot take.

        Args:
            image_channels: 1 or 3.
            bgr: whether colours are shown in the order blue, green, red; None where that is not asked.

        Raises:
            ModelError: coloured images for a model of grey ones, or a model of neither; or in the other order.
        """
        accepted = self.classifier.takes_channels
        if problem := other_channels(accepted):
            raise ModelError(f"{self.info.path}: {problem} (the pictures have {image_channels})")
        if image_channels not in (1, accepted):
            again = (
                "assimilate again with images like these" if self.classifier.front else "pass a model of colour images"
            )
            raise ModelError(
                f"{self.info.path}: takes grey pictures (1 channel), the pictures have {image_channels}; convert them "
                f"to grey, or {again}"
            )
        if image_channels == 3 and self.takes_bgr and bgr is False:
            raise ModelError(
                f"{self.info.path}: takes blue, green, red, as its configuration says (Hugging Face's "
                "do_flip_channel_order), the pictures come as red, green, blue; pass --bgr, or correct it"
            )
