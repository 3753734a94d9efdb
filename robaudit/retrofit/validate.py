"""What a model does on the validation images: as they are, and under PGD where training is adversarial."""

import torch
from torch.nn import functional as F

from robaudit.retrofit.adversary import pgd
from robaudit.retrofit.objective import NotFiniteError, Objective
from robaudit.retrofit.record import UnderAttack, Validation
from robaudit.retrofit.samples import Samples
from robaudit.retrofit.sums import LossSums

START_SEED = 0
"""Of the random starts of validation's PGD: the same in every epoch and run, so that epochs can be compared."""


def validate(objective: Objective, validation: Samples) -> Validation:
    """Measure the loss and the right answers, in evaluation mode and float32 (gradients as in training).

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
        under_attack=_under_attack(objective, validation) if objective.config.adversary.on else None,
    )


def _under_attack(objective: Objective, validation: Samples) -> UnderAttack:
    classifier, adversary = objective.classifier, objective.config.adversary
    random = torch.Generator().manual_seed(START_SEED)
    n_correct, cross_entropy = 0, 0.0
    for indices in _batches(validation, objective.config.batch_size):
        batch = validation.batch(indices)
        attacked = pgd(objective.logits, batch.pixels, batch.labels, adversary.eps, adversary.val_steps, random)
        with torch.no_grad():
            logits = classifier(attacked)
        if not logits.isfinite().all():
            raise NotFiniteError
        n_correct += int((logits.argmax(1) == batch.labels).sum())
        cross_entropy += F.cross_entropy(logits, batch.labels, reduction="sum").item()
    return UnderAttack(
        n_correct=n_correct,
        n_images=len(validation),
        cross_entropy=cross_entropy / len(validation),
        eps_255=adversary.robust_eps_255,
        steps=adversary.val_steps,
    )


def _batches(validation: Samples, batch_size: int) -> list[list[int]]:
    return [part.tolist() for part in torch.split(torch.arange(len(validation)), batch_size)]
