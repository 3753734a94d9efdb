"""What a batch costs: the images as training shows them, through T, C and the network, to the loss and its parts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robaudit.errors import SettingsError
from robaudit.load.classifier import Classifier
from robaudit.load.evaluating import evaluating
from robaudit.retrofit.adversary import Attack, divergence, perturbed
from robaudit.retrofit.augment import augmented
from robaudit.retrofit.draws import Draws
from robaudit.retrofit.loss import (
    LossParts,
    NotFiniteError,
    TextureDistance,
    assimilation_loss,
    texture_distance,
    weighted_cross_entropy,
    weighted_mean,
)
from robaudit.retrofit.samples import Batch
from robaudit.retrofit.settings import TrainConfig
from robaudit.retrofit.team import ALONE, Team
from robaudit.typed import flag


@dataclass(frozen=True)
class Objective:
    """The loss of a retrofit, as a function of a batch."""

    classifier: Classifier
    config: TrainConfig
    class_weights: Tensor | None = None
    """(K,), or None for ones."""
    team: Team = ALONE
    """The processes that share batches."""

    def in_training(self, batch: Batch, attack: Attack, random: Draws) -> LossParts:
        """The loss of one training step, with its graph: augmented, then attacked, then judged.

        The texture that the attacked image must show after T and C is that of the image before the attack.

        Raises:
            NotFiniteError: the loss is NaN or infinite.
        """
        config = self.config
        if config.augmentations:
            batch = self._augmented(batch, random)
        if attack == "none":
            return self._loss(batch, batch.pixels)
        with evaluating(self.classifier):
            seen = perturbed(self.logits, batch.pixels, batch.labels, config.adversary, attack, random)
        if attack == "trades":
            return self._trades(batch, seen)
        return self._loss(batch, seen)

    @torch.no_grad()
    def in_validation(self, batch: Batch) -> tuple[LossParts, Tensor]:
        """The loss on the images as they are, in float32, and the logits (B, K).

        Raises:
            NotFiniteError: the loss is NaN or infinite.
        """
        seen = self.classifier.features_in(batch.pixels)
        logits = self.classifier.answer(seen)
        cross_entropy = self.cross_entropy(logits, batch.labels)
        return _finite(
            assimilation_loss(cross_entropy, self.config.alpha, lambda: self._distance(batch, batch.pixels, seen))
        ), logits

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the images, each weighed by its class, of logits (B, K) and labels (B,).

        It is that of the network's own probabilities: of logits that decide at 0 it would move the probability at which
        the network decides to 0.5, away from its threshold.
        """
        return weighted_cross_entropy(self.classifier.outputs.unshifted(logits), labels, self.class_weights)

    def _loss(self, batch: Batch, pixels: Tensor) -> LossParts:
        seen = self.classifier.features_in(pixels)
        cross_entropy = self.cross_entropy(self._network(seen), batch.labels)
        return _finite(assimilation_loss(cross_entropy, self.config.alpha, lambda: self._distance(batch, pixels, seen)))

    def _trades(self, batch: Batch, pixels: Tensor) -> LossParts:
        both = self.classifier.features_in(torch.cat([batch.pixels, pixels]))
        clean, attacked = self.classifier.outputs.unshifted(self._network(both)).chunk(2)
        cross_entropy = weighted_cross_entropy(clean, batch.labels, self.class_weights)
        diverged = weighted_mean(divergence(clean.log_softmax(1), attacked), batch.labels, self.class_weights)
        return _finite(
            assimilation_loss(
                cross_entropy,
                self.config.alpha,
                lambda: self._distance(batch, pixels, both.chunk(2)[1]),
                self.config.adversary.trades_beta * diverged,
            )
        )

    def _distance(self, batch: Batch, pixels: Tensor, seen: Tensor) -> TextureDistance:
        front, term = self.classifier.front, self.config.texture
        assert front is not None
        picture = term.picture(front, pixels, seen)
        if not bool(picture.isfinite().all()):
            raise NotFiniteError  # what is not a number has no grey level to be counted in
        return texture_distance(term.features(picture), batch.texture, term.rows)

    def _augmented(self, batch: Batch, random: Draws) -> Batch:
        """Another batch with its own texture, which augmentation changes."""
        pixels = augmented(batch.pixels, self.config.augmentations, random)
        with torch.no_grad():
            texture = self.config.texture.features(pixels) if self.config.alpha < 1 else batch.texture
        return replace(batch, pixels=pixels, texture=texture)

    def logits(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, K), in the precision of training."""
        return self._network(self.classifier.features_in(pixels))

    def _network(self, seen: Tensor) -> Tensor:
        device = self.classifier.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            try:
                return self.classifier.answer(seen).float()
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise SettingsError(
                    f"--batch-size {self.config.batch_size}: leaves one image to a step, and batch-norm of this "
                    "network needs several; pass another, or --trains front"
                ) from None


def class_weights(text: str, per_class: Mapping[str, int]) -> Tensor | None:
    """Read the setting of that name.

    Args:
        text: `balanced` is n / (K n_class), so that the mean over images is one; numbers separated by commas; or empty.
        per_class: training images of each class, in class order.

    Returns:
        (K,), or None for ones.

    Raises:
        SettingsError: not a number above zero for each class.
    """
    if not text:
        return None
    if text == "balanced":
        counts = torch.tensor(list(per_class.values()), dtype=torch.float32)
        return counts.sum() / (len(counts) * counts.clamp_min(1))
    try:
        weights = torch.tensor([float(part) for part in text.split(",")])
    except ValueError:
        weights = torch.empty(0)
    if len(weights) != len(per_class) or not bool((weights.isfinite() & (weights > 0)).all()):
        raise SettingsError(
            f"{flag('--class-weights', text)}: wanted balanced, or a number above 0 for each of {', '.join(per_class)}"
        )
    return weights


def _finite(parts: LossParts) -> LossParts:
    if not math.isfinite(parts.total.item()):
        raise NotFiniteError
    return parts
