"""Loss parts summed over an epoch, and the lines that tell of them."""

from collections import Counter
from collections.abc import Iterable

from robaudit.retrofit.loss import LossParts
from robaudit.retrofit.settings import TrainConfig
from robaudit.retrofit_records import EpochMetrics, Losses
from robaudit.texture.sot import COLUMNS


class LossSums:
    """Loss parts summed over images, and how often each patch and feature was the worst."""

    def __init__(self) -> None:
        self.n_images = 0
        self.total = self.cross_entropy = self.texture = self.divergence = 0.0
        self.patches: Counter[int] = Counter()
        self.columns: Counter[int] = Counter()

    def add(self, parts: LossParts, n_images: int) -> None:
        """Add the means over a batch."""
        self.n_images += n_images
        self.total += parts.total.item() * n_images
        self.cross_entropy += parts.cross_entropy.item() * n_images
        self.texture += parts.texture.item() * n_images
        self.divergence += parts.divergence.item() * n_images
        if parts.where is not None:
            self.patches.update(parts.where.patch.tolist())
            self.columns.update(parts.where.column.tolist())

    @classmethod
    def merged(cls, several: Iterable["LossSums"]) -> "LossSums":
        """The sums over the images of all."""
        total = cls()
        for sums in several:
            total.n_images += sums.n_images
            total.total += sums.total
            total.cross_entropy += sums.cross_entropy
            total.texture += sums.texture
            total.divergence += sums.divergence
            total.patches += sums.patches
            total.columns += sums.columns
        return total

    def losses(self) -> Losses:
        """Means per image."""
        n = self.n_images
        return Losses(
            total=self.total / n,
            cross_entropy=self.cross_entropy / n,
            texture=self.texture / n,
            divergence=self.divergence / n,
        )

    def worst_patch(self) -> int | None:
        """The patch that most often had the largest texture change; None without texture term."""
        return self.patches.most_common(1)[0][0] if self.patches else None

    def worst_feature(self) -> str | None:
        """The feature that most often dominated that change; None without texture term."""
        return COLUMNS[self.columns.most_common(1)[0][0]] if self.columns else None


def equation(losses: Losses, alpha: float) -> str:
    """The loss and its parts, as the eye adds them up."""
    diverged = f" + divergence {losses.divergence:.4f}" if losses.divergence else ""
    diagnosis = f"cross-entropy {losses.cross_entropy:.4f}{diverged}"
    if alpha == 1:
        return f"loss {losses.total:.4f} ({diagnosis if diverged else 'cross-entropy alone'})"
    bracketed = f"({diagnosis})" if diverged else diagnosis
    return f"loss {losses.total:.4f} = {alpha:g} x {bracketed} + {1 - alpha:.3g} x texture {losses.texture:.4f}"


def line(metrics: EpochMetrics, config: TrainConfig) -> str:
    """What a person is told of an epoch."""
    val, attacked = metrics.val, metrics.val.under_attack
    under_attack = f", {attacked.n_correct} under PGD-{attacked.steps} at {attacked.eps_255}/255" if attacked else ""
    where = (
        f"; texture moved most in patch {metrics.worst_patch}, {metrics.worst_feature}" if metrics.worst_feature else ""
    )
    return (
        f"epoch {metrics.epoch}/{config.epochs}: val {equation(val.losses, config.alpha)}, "
        f"{val.n_correct} of {val.n_images} correct{under_attack}{where}"
    )
