"""The training loop of a retrofit, on one page.

Stops early on what it selects by: the validation loss, the very objective that is minimised; in adversarial training,
the validation images correct under attack, weighed by class where classes have weights. Keeps the best epoch's weights.
The model before the first step is measured (epoch 0) but not kept: it is the vanilla model.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from robaudit.attack.prepare import channels_last
from robaudit.errors import SettingsError, TrainingError
from robaudit.float32 import true_float32
from robaudit.load.classifier import Classifier
from robaudit.load.evaluating import evaluating
from robaudit.load.features import head_weights
from robaudit.progress import Progress
from robaudit.retrofit.loss import NotFiniteError
from robaudit.retrofit.objective import Objective, class_weights
from robaudit.retrofit.samples import Samples
from robaudit.retrofit.settings import TrainConfig, Trains
from robaudit.retrofit.state import Keeper, Standing
from robaudit.retrofit.sums import LossSums, equation, line
from robaudit.retrofit.team import ALONE, Step, Team
from robaudit.retrofit.validate import validate
from robaudit.retrofit_records import EpochMetrics, UnderAttack, Validation

Stopped = Literal["epochs", "patience", "nan"]

BLIND_DROP = 0.2
"""Share of the validation images at which fast FGSM counts as gone blind (catastrophic overfitting takes what
withstands PGD to about zero within an epoch; Wong, Rice & Kolter 2020): how far fewer withstand PGD than at the best so
far, and how far the first epoch may pull apart what single steps show and what PGD does."""


@dataclass(frozen=True)
class Trained:
    """How training went; the classifier holds the weights of `best`."""

    best: EpochMetrics
    n_epochs: int
    stopped: Stopped
    seconds: float


@true_float32()
@torch.random.fork_rng()
def train(
    classifier: Classifier,
    training: Samples,
    validation: Samples,
    config: TrainConfig,
    *,
    progress: Progress,
    on_epoch: Callable[[EpochMetrics], None],
    state: Keeper | None = None,
    team: Team = ALONE,
) -> Trained:
    """Minimise the assimilation loss; leaves the classifier in evaluation mode with its best epoch's weights.

    The same seed, data, settings, device and thread count give the same weights, interrupted or not. The caller's
    random state is untouched.

    Args:
        classifier: with its front, or without one to fine-tune it alone.
        training: images to learn from.
        validation: images to select by.
        config: everything that decides what training does.
        progress: told of every batch and epoch.
        on_epoch: given the metrics of every epoch, the one before the first step included.
        state: where training goes on from if it had begun, and is kept after every epoch.
        team: the processes that call this function together, each with its own copies of everything.

    Raises:
        TrainingError: the loss was not finite before any epoch was completed.
        SettingsError: `front+head` for a backbone without a last layer of its own, `network` for one of constants, or
            class weights that do not fit the classes.
        OutputError: the state cannot be read or written.
    """
    torch.manual_seed(config.seed)  # dropout and its kin
    channels_last(classifier)  # halves the time of T and C on a CPU
    weights = class_weights(config.class_weights, training.per_class)
    objective = Objective(classifier, config, None if weights is None else weights.to(classifier.device), team)
    choose_trained(classifier, config.trains, training.batch([0]).pixels)
    now = Standing(
        classifier, _optimiser(classifier, config), torch.Generator().manual_seed(config.seed), config.adversary.robust
    )
    if state is not None and state.restore(now):
        progress.say(f"going on after epoch {now.epoch}")
    else:
        before = _before_training(objective, validation)
        now.begin(before)
        on_epoch(before)
    step = team.step(classifier, objective.in_training)
    stopped: Stopped = "epochs"

    progress.start("training", config.epochs * len(training), done=now.epoch * len(training))
    while now.epoch < config.epochs:
        if now.best is not None and now.epoch - now.best.epoch >= config.patience:
            stopped = "patience"
            break
        start = time.monotonic()
        try:
            seen = _train_epoch(objective, step, training, now, progress)
            measured = validate(objective, validation, single_step=now.epoch == 0 and now.attack == "fgsm")
        except NotFiniteError:
            stopped = "nan"
            break
        metrics = EpochMetrics(
            epoch=now.epoch + 1, train=seen.losses(), val=measured, seconds=time.monotonic() - start,
            worst_patch=seen.worst_patch(), worst_feature=seen.worst_feature(),
            learning_rate=_learning_rate(now.optimiser), attack=None if now.attack == "none" else now.attack,
            fell_back=_gone_blind(now, measured),
        )  # fmt: skip
        on_epoch(metrics)
        progress.say(line(metrics, config))
        now.epoch, now.seconds = metrics.epoch, now.seconds + metrics.seconds
        if metrics.fell_back:
            _fall_back(now, progress)
        elif now.best is None or _rank(metrics, weights) < _rank(now.best, weights):
            now.keep_weights(metrics)
        if state is not None:
            state.save(now)
    progress.finish()

    if now.best is None:
        rates = config.rates
        lower = f"lower {' or '.join(rates)}"
        if stopped == "nan":
            used = " and ".join(f"{option} {rate:g}" for option, rate in rates.items())
            why, remedy = f"the loss was not finite in epoch {now.epoch + 1} with {used}", lower
        else:
            why = "fast FGSM went blind in the only epoch (catastrophic overfitting)"
            remedy = f"use more --epochs, --robust-by pgd, or {lower}"
        raise TrainingError(f"training: {why}; nothing was written; {remedy}")
    classifier.load_state_dict(now.best_weights)
    classifier.eval()
    return Trained(now.best, now.epoch, stopped, now.seconds)


@contextmanager
def before_the_first_step() -> Iterator[None]:
    """What looks at the loss of the model as it came.

    Raises:
        TrainingError: it is not finite.
    """
    try:
        yield
    except NotFiniteError:
        raise TrainingError(
            "training: the model's loss is not finite before the first step; check --mean and --std, and the weights"
        ) from None


@before_the_first_step()
def _before_training(objective: Objective, validation: Samples) -> EpochMetrics:
    start = time.monotonic()
    measured = validate(objective, validation, single_step=objective.config.adversary.robust == "fgsm")
    seconds = time.monotonic() - start
    return EpochMetrics(epoch=0, train=None, val=measured, seconds=seconds, worst_patch=None, worst_feature=None)


def _train_epoch(objective: Objective, step: Step, training: Samples, now: Standing, progress: Progress) -> LossSums:
    config, team, total = objective.config, objective.team, LossSums()
    team.begin_epoch(config.seed, now.epoch)
    set_mode(objective.classifier, config.trains)
    batches = list(even_batches(torch.randperm(len(training), generator=now.random), config.batch_size))
    for index, indices in enumerate(batches):
        _set_learning_rates(now.optimiser, config, done=(now.epoch + index / len(batches)) / config.epochs)
        part = team.part(indices)
        batch, draws = training.batch(part.indices), part.draws(now.random)
        parts = team.agreed(partial(step, batch, now.attack, draws))
        now.optimiser.zero_grad()
        team.backward(parts.total, part)
        now.optimiser.step()
        team.share_statistics(objective.classifier, part)
        total.add(parts, len(batch))
        progress.advance(
            len(indices), note=f"epoch {now.epoch + 1}/{config.epochs}  {equation(total.losses(), config.alpha)}"
        )
    return LossSums.merged(team.gathered(total))


def _rank(metrics: EpochMetrics, weights: Tensor | None) -> tuple[float, float]:
    """What training selects by; the lowest is best.

    Images under attack are weighed by class, as they are in the loss. Else an epoch that calls everybody healthy would
    be kept where few are ill, whatever weight these were given.
    """
    attacked = metrics.val.under_attack
    if attacked is None:
        return 0, metrics.val.losses.total
    if weights is None:
        return -attacked.n_correct, attacked.cross_entropy
    weight = sum(w * n for w, n in zip(weights.tolist(), attacked.n_correct_of_class, strict=False))
    return -weight, attacked.cross_entropy


def _gone_blind(now: Standing, measured: Validation) -> bool:
    """Whether fast FGSM has begun to train against what PGD does not need: the guard of adversarial training.

    Where the model before the first step had little to lose to PGD, a collapse of the first epoch is seen by the
    single steps that it withstands all the same.
    """
    attacked = measured.under_attack
    reached = [metrics.val.under_attack for metrics in (now.before, now.best) if metrics and metrics.val.under_attack]
    if now.attack != "fgsm" or attacked is None or not reached:
        return False
    fallen = max(earlier.n_correct for earlier in reached) - attacked.n_correct
    pulled_apart = _seen_by_single_steps_alone(attacked) - _seen_by_single_steps_alone(reached[0])
    return max(fallen, pulled_apart) > max(BLIND_DROP * attacked.n_images, 1)  # one image alone may be chance


def _seen_by_single_steps_alone(attacked: UnderAttack) -> int:
    """How many more images withstand a single step than PGD; 0 where none do, or where that was not measured."""
    single_step = attacked.n_correct_single_step
    return 0 if single_step is None else max(0, single_step - attacked.n_correct)


def _fall_back(now: Standing, progress: Progress) -> None:
    """Go back to the best weights, and on with PGD."""
    where = "the model before training" if now.best is None else f"epoch {now.best.epoch}"
    progress.say(
        f"fast FGSM has gone blind (catastrophic overfitting): back to {where}, and on with PGD, whose epochs take "
        "longer"
    )
    now.classifier.load_state_dict(now.best_weights)
    now.optimiser.state.clear()
    now.attack = "pgd"


def _optimiser(classifier: Classifier, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW with a learning rate for T and C, and one for the network."""
    groups = [
        {"params": [weight for weight in part.parameters() if weight.requires_grad], "lr": rate, "full_lr": rate}
        for part, rate in (
            (classifier.front, config.front_learning_rate),
            (classifier.backbone, config.learning_rate),
        )
        if part is not None
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def _set_learning_rates(optimiser: torch.optim.Optimizer, config: TrainConfig, done: float) -> None:
    """Where the schedule is after the share `done` of all epochs."""
    factor = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1.0
    for group in optimiser.param_groups:
        group["lr"] = factor * group["full_lr"]


def _learning_rate(optimiser: torch.optim.Optimizer) -> float:
    """Of the network, or of T and C where nothing else trains."""
    rates: list[float] = [group["lr"] for group in optimiser.param_groups if group["params"]]
    return rates[-1]


def choose_trained(classifier: Classifier, trains: Trains, pixels: Tensor) -> None:
    """Let gradients flow to the parameters that train, and to no others.

    Args:
        classifier: with or without a front.
        trains: which parameters.
        pixels: (B, C, H, W) in [0, 1], by which the last layer is found.

    Raises:
        SettingsError: `front+head` for a backbone without a last layer of its own, or `network` for one of constants.
    """
    if trains == "network" and next(classifier.backbone.parameters(), None) is None:
        raise SettingsError(
            "--trains network: the weights of this model are constants of its program, as after torch.jit.freeze; use "
            "front or all, or the file from before it was frozen"
        )
    head = _head(classifier, pixels) if trains == "front+head" else []
    classifier.requires_grad_(trains in ("all", "network"))
    if classifier.front is not None:
        classifier.front.requires_grad_(trains != "network")
    for weight in head:
        weight.requires_grad_(True)


def _head(classifier: Classifier, pixels: Tensor) -> list[Tensor]:
    classifier.requires_grad_(True)
    with evaluating(classifier):
        weights = head_weights(classifier.backbone, classifier.normalized(classifier.features_in(pixels)))
    if not weights:
        raise SettingsError(
            "--trains front+head: the last layer of this model, of a number per class, was not found; use front or all"
        )
    return weights


def set_mode(classifier: Classifier, trains: Trains) -> None:
    """Training mode; a frozen backbone stays in evaluation mode, so its batch-norm statistics are frozen too."""
    classifier.train()
    if trains not in ("all", "network"):
        classifier.backbone.eval()


def smallest_step(n_images: int, batch_size: int) -> int:
    """Images of the smallest of `even_batches`."""
    return n_images // math.ceil(n_images / batch_size)


def even_batches(order: Tensor, batch_size: int) -> Iterator[list[int]]:
    """Batches of nearly equal size: a last batch of one image would be no batch to batch-norm."""
    for part in order.tensor_split(math.ceil(len(order) / batch_size)):
        yield part.tolist()
