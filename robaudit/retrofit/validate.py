"""What a model does on the validation images: as they are, and under PGD where training is adversarial."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from robaudit.retrofit.adversary import perturbed, pgd
from robaudit.retrofit.objective import NotFiniteError, Objective
from robaudit.retrofit.record import UnderAttack, Validation
from robaudit.retrofit.samples import Batch, Samples
from robaudit.retrofit.sums import LossSums

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
    front, total = objective.classifier.front, LossSums()
    n_correct, saturated = 0, 0.0
    objective.classifier.eval()
    for indices in _batches(validation, objective.config.batch_size):
        batch = validation.batch(indices)
        parts, logits = objective.in_validation(batch)
        total.add(parts, len(batch))
        n_correct += int((logits.argmax(1) == batch.labels).sum())
        saturated += 0.0 if front is None else front.saturated(batch.pixels) * len(batch)
    return Validation(
        losses=total.losses(),
        n_correct=n_correct,
        n_images=len(validation),
        saturated=None if front is None else saturated / len(validation),
        under_attack=_under_attack(objective, validation, single_step) if objective.config.adversary.on else None,
    )


def _under_attack(objective: Objective, validation: Samples, single_step: bool) -> UnderAttack:
    adversary = objective.config.adversary

    def by_pgd(batch: Batch, random: torch.Generator) -> Tensor:
        return pgd(objective.logits, batch.pixels, batch.labels, adversary.eps, adversary.val_steps, random)

    def by_single_step(batch: Batch, random: torch.Generator) -> Tensor:
        return perturbed(objective.logits, batch.pixels, batch.labels, adversary, "fgsm", random)

    n_correct, cross_entropy = _withstood(objective, validation, by_pgd)
    return UnderAttack(
        n_correct=n_correct,
        n_images=len(validation),
        cross_entropy=cross_entropy,
        eps_255=adversary.robust_eps_255,
        steps=adversary.val_steps,
        n_correct_single_step=_withstood(objective, validation, by_single_step)[0] if single_step else None,
    )


def _withstood(
    objective: Objective, validation: Samples, attack: Callable[[Batch, torch.Generator], Tensor]
) -> tuple[int, float]:
    """How many attacked images are answered rightly, and their mean cross-entropy."""
    random = torch.Generator().manual_seed(START_SEED)
    n_correct, cross_entropy = 0, 0.0
    for indices in _batches(validation, objective.config.batch_size):
        batch = validation.batch(indices)
        attacked = attack(batch, random)
        with torch.no_grad():
            logits = objective.classifier(attacked)
        if not logits.isfinite().all():
            raise NotFiniteError
        n_correct += int((logits.argmax(1) == batch.labels).sum())
        cross_entropy += F.cross_entropy(logits, batch.labels, reduction="sum").item()
    return n_correct, cross_entropy / len(validation)


def _batches(validation: Samples, batch_size: int) -> list[list[int]]:
    return [part.tolist() for part in torch.split(torch.arange(len(validation)), batch_size)]
