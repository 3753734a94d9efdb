"""The curve engine against foolbox, torchattacks and ART: gradients, wall time, peak memory, and the four curves.

    python benchmarks/engine_vs_peers.py MODEL DATA [--limit 8] [--own-limit 48] [--seeds 0,1,2]

Same classifier, images, steps, step sizes and eps (1..8/255) in every arm; each arm runs in a process of its own.
Every curve is nested in eps; ours also keeps the best iterate, peers judge the last. The first seed is timed with
all four attacks; further seeds run PGD alone, the only one of the four that draws random numbers. In `foolbox-
tuned` the model has frozen parameters and channels-last memory; otherwise peers get it as their users have it. With
--own-limit our arms run the first seed over more images than the slow peers, for batches are only full where there are
enough; times are compared an image, curves on the images that all have. `bare` is the mean of bare passes timed in
between, under the same load. foolbox comes with robaudit; torchattacks and ART are measured where installed.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
from subject import opened, parser
from torch import Tensor, nn

from robaudit.attack.curve import Engine
from robaudit.attack.names import parse_attacks
from robaudit.attack.prepare import Speedups, judging
from robaudit.attack.threats import FOUR, TABLE, Source
from robaudit.attack.trial import Plan
from robaudit.tally import Sums

GRID = tuple(range(1, 9))
PEER_BATCH = 16
PACKAGES = ("torch", "timm", "foolbox", "torchattacks", "adversarial-robustness-toolbox")
ARMS = {
    "robaudit": "robaudit",
    "robaudit-bf16": "robaudit",
    "foolbox": "foolbox",
    "foolbox-tuned": "foolbox",
    "torchattacks": "torchattacks",
    "art": "art",
}


class Counting(nn.Module):
    """A classifier that counts the images it sees, with and without a gradient wanted."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.gradients = self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        """Answer and count."""
        if x.requires_grad:
            self.gradients += len(x)
        else:
            self.forwards += len(x)
        return self.inner(x)


def robaudit_arm(
    name: str, model: nn.Module, images: Any, size: tuple[int, int], seed: int, attacks: tuple[str, ...], n_shared: int
) -> dict[str, Any]:
    """Our engine, with its default search; its curves are of the images that the peers have too."""
    speedups = Speedups(bfloat16=name.endswith("bf16"))
    engine = Engine(model, size, images.channels, Plan(parse_attacks(attacks), GRID, seed), None, speedups)
    gradient, forward = bare_passes(engine)
    measured, gradients, forwards = [], [gradient()], [forward()]
    started = time.perf_counter()
    for each in engine.measure(images, images.refs):
        measured.append(each)
        gradients.append(gradient())
        forwards.append(forward())
    seconds = time.perf_counter() - started - sum(gradients[1:]) - sum(forwards[1:])
    shared = {ref.id for ref in images.limited(n_shared, 0).refs}
    sums = Sums(engine.plan.attacks, (), images.classes, GRID)
    sums.add(*(each.row for each in measured if each.row.id in shared))
    return {
        "n_images": len(images),
        "seconds": seconds,
        "gradients": sum(each.work.gradients for each in measured),
        "forwards": sum(each.work.forwards for each in measured),
        "bare": sum(gradients) / len(gradients) / engine.width,
        "bare_forward": sum(forwards) / len(forwards) / engine.width,
        "curves": {
            attack: [point.n_correct for point in nested]
            for attack, (nested, _) in zip(attacks, sums.curves, strict=True)
        },
    }


def peer_arm(
    name: str, model: nn.Module, images: Any, size: tuple[int, int], seed: int, attacks: tuple[str, ...], n_shared: int
) -> dict[str, Any]:
    """A peer: every attack at every eps over all images, in batches; success judged on its final pictures."""
    model = copy.deepcopy(model).eval()
    if name.endswith("tuned"):
        model = model.requires_grad_(False).to(memory_format=torch.channels_last)
    counting = Counting(model).eval()
    pictures = torch.stack([images.load(ref, size) for ref in images.refs])
    labels = torch.tensor([images.label_index(ref) for ref in images.refs])
    torch.manual_seed(seed)
    make = {
        "foolbox": foolbox_attack,
        "torchattacks": torchattacks_attack,
        "art": partial(art_attack, input_shape=tuple(pictures.shape[1:])),
    }[ARMS[name]]
    curves: dict[str, list[int]] = {}
    started = time.perf_counter()
    for attack in attacks:
        standing = torch.ones(len(labels), dtype=torch.bool)
        curves[attack] = []
        for eps_255 in GRID:
            perturb = make(attack, eps_255 / 255, counting)
            withstood = []
            for x, y in zip(pictures.split(PEER_BATCH), labels.split(PEER_BATCH), strict=True):
                adversarial = perturb(x, y)
                with torch.no_grad():
                    withstood.append(counting(adversarial).argmax(1) == y)
            standing &= torch.cat(withstood)  # nested, as ours: once fooled, fooled at every larger eps
            curves[attack].append(int(standing.sum()))
    return {
        "n_images": len(images),
        "seconds": time.perf_counter() - started,
        "gradients": counting.gradients,
        "forwards": counting.forwards,
        "curves": curves,
    }


def foolbox_attack(name: str, eps: float, model: nn.Module) -> Any:
    """Our steps in foolbox."""
    import foolbox

    steps, fraction = TABLE[name].steps, TABLE[name].step_fraction
    attack = {
        "fgsm": lambda: foolbox.attacks.LinfFastGradientAttack(),
        "bim": lambda: foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=fraction, steps=steps),
        "mifgsm": lambda: foolbox.attacks.LinfMomentumIterativeFastGradientMethod(
            rel_stepsize=fraction, steps=steps, momentum=1.0
        ),
        "pgd": lambda: foolbox.attacks.LinfPGD(rel_stepsize=fraction, steps=steps),
    }[name]()
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    return lambda x, y: attack.run(wrapped, x, y, epsilon=eps)


def torchattacks_attack(name: str, eps: float, model: nn.Module) -> Any:
    """Our steps in torchattacks."""
    import torchattacks

    steps, alpha = TABLE[name].steps, TABLE[name].step_fraction * eps
    return {
        "fgsm": lambda: torchattacks.FGSM(model, eps=eps),
        "bim": lambda: torchattacks.BIM(model, eps=eps, alpha=alpha, steps=steps),
        "mifgsm": lambda: torchattacks.MIFGSM(model, eps=eps, alpha=alpha, steps=steps, decay=1.0),
        "pgd": lambda: torchattacks.PGD(model, eps=eps, alpha=alpha, steps=steps, random_start=True),
    }[name]()


def art_attack(name: str, eps: float, model: nn.Module, input_shape: tuple[int, ...]) -> Any:
    """Our steps in ART."""
    from art.attacks.evasion import (
        BasicIterativeMethod,
        FastGradientMethod,
        MomentumIterativeMethod,
        ProjectedGradientDescent,
    )
    from art.estimators.classification import PyTorchClassifier

    with torch.no_grad():
        n_classes = model(torch.zeros(1, *input_shape)).shape[1]
    estimator = PyTorchClassifier(
        model, loss=nn.CrossEntropyLoss(), input_shape=input_shape, nb_classes=n_classes, clip_values=(0.0, 1.0)
    )
    steps, alpha = TABLE[name].steps, TABLE[name].step_fraction * eps
    options = {"eps": eps, "eps_step": alpha, "max_iter": steps, "batch_size": PEER_BATCH, "verbose": False}
    attack = {
        "fgsm": lambda: FastGradientMethod(estimator, eps=eps, batch_size=PEER_BATCH),
        "bim": lambda: BasicIterativeMethod(estimator, **options),
        "mifgsm": lambda: MomentumIterativeMethod(estimator, decay=1.0, **options),
        "pgd": lambda: ProjectedGradientDescent(estimator, num_random_init=1, **options),
    }[name]()
    return lambda x, y: torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def bare_passes(engine: Engine) -> tuple[Callable[[], float], Callable[[], float]]:
    """Time a batch of the cheapest bare gradients, and one of the untouched model's bare forward passes; in seconds."""
    x = torch.rand(engine.width, engine.channels, *engine.size)

    def gradient() -> float:
        started = time.perf_counter()
        point = x.clone().requires_grad_()
        torch.autograd.grad(engine.sources[Source.MODEL](point).sum(), point)
        return time.perf_counter() - started

    def forward() -> float:
        started = time.perf_counter()
        with torch.no_grad(), judging(engine.model) as untouched:
            untouched(x)
        return time.perf_counter() - started

    for warm_up in (gradient, forward):
        warm_up()
    return gradient, forward


def measure(arm: str, options: argparse.Namespace, seed: int, attacks: tuple[str, ...], queue: Any) -> None:
    """Run one arm in this process and put its result on the queue."""
    is_ours = ARMS[arm] == "robaudit"
    loaded, images = opened(
        options.model, options.data, options.own_limit if is_ours and attacks == FOUR else options.limit
    )
    run = robaudit_arm if is_ours else peer_arm
    result = run(arm, loaded.classifier, images, loaded.size, seed, attacks, options.limit)
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    queue.put(result)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--limit", type=int, default=20)
    arguments.add_argument("--own-limit", type=int, help="images of our arms; --limit's are among them")
    arguments.add_argument("--seeds", default="0")
    arguments.add_argument("--arms", default="robaudit,robaudit-bf16,foolbox,torchattacks,art")
    options = arguments.parse_args()
    options.own_limit = max(options.limit, options.own_limit or 0)
    arms = [arm for arm in options.arms.split(",") if find_spec(ARMS[arm])]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    print({package: installed(package) for package in PACKAGES})
    print(
        f"{options.model.name}, {options.limit} images (ours {options.own_limit}), eps 1..8/255, "
        f"{torch.get_num_threads()} threads, seeds {seeds}"
    )

    results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    context = multiprocessing.get_context("spawn")
    for seed in seeds:
        for arm in arms:
            queue = context.Queue()
            attacks = FOUR if seed == seeds[0] else ("pgd",)
            process = context.Process(target=measure, args=(arm, options, seed, attacks, queue))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{arm} failed; its error is above")
            results[arm].append(queue.get())
            print(json.dumps({"arm": arm, "seed": seed, **results[arm][-1]}), flush=True)
    print_ratios(results)


def print_ratios(results: dict[str, list[dict[str, Any]]]) -> None:
    """One line per arm, of the first seed, with ratios to foolbox where it ran; then curves, means over seeds."""
    timed = {arm: runs[0] for arm, runs in results.items()}
    reference = timed.get("foolbox")
    heads = ("gradients", "forwards", "share", "s/image", "speed-up", "wall/gradients", "wall/all passes", "MiB")
    print("\n{:14} {:>10} {:>9} {:>7} {:>8} {:>9} {:>15} {:>16} {:>6}".format("arm", *heads))
    for arm, one in timed.items():
        n = one["n_images"]
        share = f"{per_image(one, 'gradients') / per_image(reference, 'gradients'):.1%}" if reference else "-"
        speedup = f"{per_image(reference, 'seconds') / per_image(one, 'seconds'):.1f}x" if reference else "-"
        limits = ["-", "-"]
        if "bare" in one:
            gradients = one["gradients"] * one["bare"]
            passes = gradients + one["forwards"] * one["bare_forward"]
            limits = [f"{one['seconds'] / gradients:.2f}", f"{one['seconds'] / passes:.2f}"]
        print(
            f"{arm:14} {one['gradients'] / n:10.1f} {one['forwards'] / n:9.1f} {share:>7} "
            f"{one['seconds'] / n:8.2f} {speedup:>9} {limits[0]:>15} {limits[1]:>16} {one['peak_mib']:6.0f}"
        )
    print("\nimages still correct at eps 1..8/255, mean over the seeds that ran the attack")
    for attack in FOUR:
        for arm, runs in results.items():
            ran = [run["curves"][attack] for run in runs if attack in run["curves"]]
            curve = [sum(values) / len(ran) for values in zip(*ran, strict=True)]
            print(f"{attack:8} {arm:14} " + " ".join(f"{value:6.1f}" for value in curve))


def per_image(one: dict[str, Any], what: str) -> float:
    """A total of an arm, over its images."""
    total: float = one[what]
    return total / one["n_images"]


def installed(package: str) -> str:
    """Version of a package, or that it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
