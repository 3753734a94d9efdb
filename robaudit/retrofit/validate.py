"""What a model does on the validation images: as they are, and under PGD where training is adversarial."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from robaudit.retrofit.adversary import perturbed, pgd
from robaudit.retrofit.draws import Draws
from robaudit.retrofit.loss import NotFiniteError
from robaudit.retrofit.objective import Objective
from robaudit.retrofit.samples import Batch, Samples
from robaudit.retrofit.sums import LossSums
from robaudit.retrofit.team import Part
from robaudit.retrofit_records import UnderAttack, Validation

START_SEED = 0
"""Of the random starts of validation's PGD: the same in every epoch and run, so that epochs can be compared."""


def validate(objective: Objective, validation: Samples, *, single_step: bool = False) -> Validation:
    """Measure the loss and the right answers, in evaluation mode and float32 (gradients as in training).

    Args:
        objective: of the model.
        validation: images.
        single_step: count what withstands fast FGSM's single step too, in adversarial training.

    Raises:
        NotFiniteError: a loss is NaN or infinite.
    """
    team = objective.team
    objective.classifier.eval()
    losses, n_correct, saturated = zip(
        *team.gathered(team.agreed(lambda: _as_they_are(objective, validation))), strict=True
    )
    return Validation(
        losses=LossSums.merged(losses).losses(),
        n_correct=sum(n_correct),
        n_images=len(validation),
        saturated=None if objective.classifier.front is None else sum(saturated) / len(validation),
        under_attack=_under_attack(objective, validation, single_step) if objective.config.adversary.on else None,
    )


def _as_they_are(objective: Objective, validation: Samples) -> tuple[LossSums, int, float]:
    """Losses, right answers and saturation, summed over this process's part of the images."""
    front, total = objective.classifier.front, LossSums()
    n_correct, saturated = 0, 0.0
    for part in _parts(objective, validation):
        batch = validation.batch(part.indices)
        parts, logits = objective.in_validation(batch)
        total.add(parts, len(batch))
        n_correct += int((logits.argmax(1) == batch.labels).sum())
        saturated += 0.0 if front is None else front.saturated(batch.pixels) * len(batch)
    return total, n_correct, saturated


def _under_attack(objective: Objective, validation: Samples, single_step: bool) -> UnderAttack:
    adversary = objective.config.adversary

    def by_pgd(batch: Batch, random: Draws) -> Tensor:
        return pgd(objective.logits, batch.pixels, batch.labels, adversary.eps, adversary.val_steps, random)

    def by_single_step(batch: Batch, random: Draws) -> Tensor:
        return perturbed(objective.logits, batch.pixels, batch.labels, adversary, "fgsm", random)

    of_class, cross_entropy = _withstood(objective, validation, by_pgd)
    return UnderAttack(
        n_correct=sum(of_class),
        n_images=len(validation),
        cross_entropy=cross_entropy,
        eps_255=adversary.robust_eps_255,
        steps=adversary.val_steps,
        n_correct_single_step=sum(_withstood(objective, validation, by_single_step)[0]) if single_step else None,
        n_correct_of_class=of_class,
    )


def _withstood(
    objective: Objective, validation: Samples, attack: Callable[[Batch, Draws], Tensor]
) -> tuple[tuple[int, ...], float]:
    """How many attacked images of each class are answered rightly, and the mean cross-entropy of all."""
    team = objective.team
    found = team.gathered(team.agreed(lambda: _withstood_here(objective, validation, attack)))
    of_class, cross_entropy = zip(*found, strict=True)
    return tuple(map(sum, zip(*of_class, strict=True))), sum(cross_entropy) / len(validation)


def _withstood_here(
    objective: Objective, validation: Samples, attack: Callable[[Batch, Draws], Tensor]
) -> tuple[list[int], float]:
    """Right answers of each class and cross-entropy, summed over this process's part of the images."""
    random = torch.Generator().manual_seed(START_SEED)
    of_class, cross_entropy = torch.zeros(len(validation.per_class), dtype=torch.long), 0.0
    for part in _parts(objective, validation):
        batch = validation.batch(part.indices)
        attacked = attack(batch, part.draws(random))
        with torch.no_grad():
            logits = objective.classifier(attacked)
        if not logits.isfinite().all():
            raise NotFiniteError
        right = batch.labels[logits.argmax(1) == batch.labels]
        of_class += right.bincount(minlength=len(of_class)).cpu()
        cross_entropy += objective.cross_entropy(logits, batch.labels).item() * len(batch)
    return of_class.tolist(), cross_entropy


def _parts(objective: Objective, validation: Samples) -> Iterator[Part]:
    """Of every batch, what this process takes; a last one of few images may have nothing for it."""
    for indices in torch.split(torch.arange(len(validation)), objective.config.batch_size):
        part = objective.team.part(indices.tolist())
        if part.indices:
            yield part
