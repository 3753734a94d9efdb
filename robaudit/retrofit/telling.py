"""What a person is told of a retrofit, before it and after."""

from torch import nn

from robaudit.data.patients import met_again
from robaudit.load.classifier import Classifier
from robaudit.progress import Progress
from robaudit.retrofit.pace import duration, measured_pace
from robaudit.retrofit.settings import PASSED_OVER, TrainConfig
from robaudit.retrofit.task import Task
from robaudit.retrofit.train import Trained
from robaudit.retrofit_records import Diagnostics


def introduce(classifier: Classifier, task: Task, progress: Progress, n_done: int = 0) -> None:
    """Say what is about to be trained, and what it will cost; `n_done` epochs were trained before an interruption."""
    front, config = classifier.front, task.config
    for shared, what in _in_both(task):
        progress.say(
            f"{shared} of {len(task.validation)} validation images are {what}: what chooses the epoch is optimistic"
        )
    if front is None:
        without_use = f"; without use here: {', '.join(names)}" if (names := _without_use(config)) else ""
        progress.say(f"no T and C: the network alone is fine-tuned, without texture term{without_use}")
    else:
        n_front, n_own = (_n_weights(part) for part in (front, classifier.backbone))
        share = f"{n_front / n_own:.2%} of the model's own" if n_own else "which alone train: the model's are constants"
        progress.say(f"{front.modules_name} in front: {n_front:,} new weights, {share}")
        if front.colour is None and config.front == "T+C":
            progress.say("this model takes one channel: T alone, there is no C")
        if config.alpha == 0 and not config.random_front:
            progress.say("alpha 0: the texture term alone asks T and C to change nothing, which is how they start")
        progress.say(f"trains {config.trains}; not stated by the source, ours: {', '.join(config.ours())}")
    pace = measured_pace(
        classifier, config, task.size, task.training.channels, len(task.training), len(task.validation)
    )
    left = config.epochs - n_done
    epochs = f"up to {left} {'more ' * bool(n_done)}epoch{'s' * (left != 1)}"
    progress.say(
        f"{epochs} of about {duration(pace.epoch)}, {duration(pace.all_epochs(left))} in all on this machine, "
        f"diagnostics before and after included; stops after {config.patience} epochs without improvement"
    )
    if config.adversary.on:
        progress.say(_price(config))


def _n_weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _without_use(config: TrainConfig) -> list[str]:
    """Settings of T, C and texture that were chosen, and that a network alone does not look at."""
    usual = TrainConfig().flat()
    return [name for name in PASSED_OVER if config.flat()[name] != usual[name]]


def _in_both(task: Task) -> list[tuple[int, str]]:
    """How many validation images stand in the training part as well, or their patients do; in words that go on."""
    learnt = {ref.pixel_sha256 for ref in task.training.refs}
    patients = met_again((ref.patient for ref in task.validation.refs), (ref.patient for ref in task.training.refs))
    counts = {
        "training images too, pixel for pixel": task.validation.n_among(learnt),
        "of patients who are in train too": sum(ref.patient in patients for ref in task.validation.refs),
    }
    return [(count, what) for what, count in counts.items() if count]


def ending(trained: Trained, config: TrainConfig) -> str:
    """Why training stopped, and which epoch was kept."""
    improvement = "lower validation loss"
    if config.adversary.on:
        improvement = f"more images correct under attack{_weighed(config)}"
    why = {
        "epochs": f"all {config.epochs} epochs done" if config.epochs > 1 else "the only epoch is done",
        "patience": f"stopped after epoch {trained.n_epochs}: no {improvement} for {config.patience} epochs",
        "nan": f"stopped in epoch {trained.n_epochs + 1}: the loss was not finite; the last good weights were kept",
    }[trained.stopped]
    val, attacked = trained.best.val, trained.best.val.under_attack
    under_attack = f", {attacked.n_correct} under attack" if attacked else ""
    return (
        f"{why}; kept epoch {trained.best.epoch}, {val.n_correct} of {val.n_images} validation images correct"
        f"{under_attack}"
    )


def explanation(diagnostics: Diagnostics) -> str:
    """Attention and sharpness, before and after, as medians over the images looked at."""
    before, after = diagnostics.before, diagnostics.after
    attention = moved = ""
    if before.median_attention_share is not None and after.median_attention_share is not None:
        attention = (
            f"attention: {before.median_attention_share:.0%} -> {after.median_attention_share:.0%} of the pixels hold "
            f"{diagnostics.held:.0%} of the input gradient; "
        )
    if diagnostics.texture is not None:
        contrast = diagnostics.texture.features["contrast"]
        moved = f"; contrast of the texture: {contrast.original:.3g} -> {contrast.seen:.3g}"
    return (
        f"{attention}size of the largest curvature of the loss: {before.sharpness:.3g} -> {after.sharpness:.3g} "
        f"(medians of {len(diagnostics.image_ids)} validation images){moved}"
    )


def _price(config: TrainConfig) -> str:
    """What adversarial training costs beside time."""
    adversary = config.adversary
    return (
        f"adversarial training ({adversary.robust} at {adversary.robust_eps_255}/255): clean accuracy may fall, the "
        "more the larger eps; the epoch kept is the one with most validation images correct under "
        f"PGD-{adversary.val_steps}{_weighed(config)}, and its clean accuracy is told with it"
    )


def _weighed(config: TrainConfig) -> str:
    """How images count towards what adversarial training selects by."""
    return " (weighed by class)" if config.class_weights else ""
