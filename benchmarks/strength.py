"""Is the thorough ensemble as strong as what a sceptic would run? Its worst case beside three peers'.

    python benchmarks/strength.py MODEL DATA [--limit 8] [--eps 2,4,6,8] [--seeds 0,1,2] [--arms robaudit,foolbox,...]

Peers: foolbox PGD of 100 steps with restarts, torchattacks APGD and PGD, AutoAttack's APGD on cross-entropy and its
Square Attack (its other attacks need four classes or more, and are run where the model has them). On an image that
stands, each may take at least as many gradients over the grid as our whole ensemble; what both took is printed. Curves
are nested in eps, and a peer is spared images that it fooled at a smaller one, which changes no curve. `above` is how
many images our curve lies above a peer's, at most over eps; the mean over seeds should be one or less. Peers are
measured where installed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import torch
from subject import circumstances, opened, parser, preset_engine
from torch import Tensor

from robaudit import tally
from robaudit.load.images import Images

STEPS, RESTARTS = 100, 2
QUERIES = 1000
Perturb = Callable[[Tensor, Tensor], Tensor]
PACKAGE = {"foolbox": "foolbox", "torchattacks": "torchattacks", "autoattack": "autoattack", "robaudit": "robaudit"}


def ours(loaded: Any, images: Images, grid: tuple[int, ...], seed: int) -> tuple[list[int], float]:
    """Worst-case curve of the thorough preset, and its gradients an image."""
    engine = preset_engine(loaded, images, "thorough", grid, seed)
    measured = list(engine.measure(images, images.refs))
    points = tally.worst_case([each.row for each in measured], images.classes, grid)
    return [point.n_correct for point in points], sum(each.work.gradients for each in measured) / len(measured)


def foolbox_attacks(model: Any, eps: float, n_classes: int, seed: int) -> Iterator[Perturb]:
    """PGD of foolbox with restarts, its step the one that can cross the ball."""
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    for _ in range(RESTARTS):
        attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / STEPS, steps=STEPS)
        yield lambda x, y, attack=attack: attack.run(wrapped, x, y, epsilon=eps)


def torchattacks_attacks(model: Any, eps: float, n_classes: int, seed: int) -> Iterator[Perturb]:
    """APGD and PGD of torchattacks."""
    import torchattacks

    yield torchattacks.APGD(model, eps=eps, steps=STEPS, n_restarts=RESTARTS // 2, seed=seed, loss="ce")
    for _ in range(RESTARTS // 2):
        yield torchattacks.PGD(model, eps=eps, alpha=2.5 * eps / STEPS, steps=STEPS, random_start=True)


def autoattack_attacks(model: Any, eps: float, n_classes: int, seed: int) -> Iterator[Perturb]:
    """AutoAttack's parts, as many as two classes allow; all of them from four classes up."""
    from autoattack import AutoAttack

    parts = ["apgd-ce", "square"] if n_classes < 4 else ["apgd-ce", "apgd-dlr", "apgd-t", "square"]
    whole = AutoAttack(model, norm="Linf", eps=eps, seed=seed, verbose=False, version="custom", attacks_to_run=parts,
                       device="cpu")  # fmt: skip
    whole.apgd.n_restarts, whole.apgd.n_iter = RESTARTS, STEPS
    whole.square.n_queries = QUERIES
    yield lambda x, y: whole.run_standard_evaluation(x, y, bs=len(x))


PEERS = {"foolbox": foolbox_attacks, "torchattacks": torchattacks_attacks, "autoattack": autoattack_attacks}


def theirs(peer: str, loaded: Any, images: Images, grid: tuple[int, ...], seed: int) -> list[int]:
    """Worst-case curve of a peer, nested in eps."""
    model = loaded.classifier.eval().requires_grad_(False)
    x = torch.stack([images.load(ref, loaded.size) for ref in images.refs])
    y = torch.tensor([images.label_index(ref) for ref in images.refs])
    torch.manual_seed(seed)
    standing = answer(model, x) == y
    curve = []
    for eps_255 in grid:
        for perturb in PEERS[peer](model, eps_255 / 255, loaded.info.n_classes, seed):
            if not standing.any():
                break
            index = standing.nonzero()[:, 0]
            adversarial = perturb(x[index], y[index])
            assert float((adversarial - x[index]).abs().max()) <= eps_255 / 255 + 1e-6
            standing[index] &= answer(model, adversarial.detach()) == y[index]
        curve.append(int(standing.sum()))
    return curve


@torch.no_grad()
def answer(model: Any, x: Tensor) -> Tensor:
    """Predicted classes."""
    return torch.cat([model(batch).argmax(1) for batch in x.split(8)])


def main() -> None:
    """Run all arms and print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--limit", type=int, default=8)
    arguments.add_argument("--eps", default="2,4,6,8")
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--arms", default="robaudit,foolbox,torchattacks,autoattack")
    options = arguments.parse_args()
    grid = tuple(int(eps) for eps in options.eps.split(","))
    loaded, images = opened(options.model, options.data, options.limit)
    arms = [arm for arm in options.arms.split(",") if find_spec(PACKAGE[arm])]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    print(f"{circumstances(options.model)}, {len(images)} images, eps {options.eps}/255, seeds {seeds}")
    curves: dict[str, list[list[int]]] = {arm: [] for arm in arms}
    for seed in seeds:
        for arm in arms:
            started = time.perf_counter()
            if arm == "robaudit":
                curve, gradients = ours(loaded, images, grid, seed)
                print(
                    f"robaudit spends {gradients:.0f} gradients an image over all eps; "
                    f"peers up to {STEPS * RESTARTS * len(grid)}"
                )
            else:
                curve = theirs(arm, loaded, images, grid, seed)
            curves[arm].append(curve)
            said = {"arm": arm, "seed": seed, "curve": curve, "seconds": round(time.perf_counter() - started)}
            print(json.dumps(said), flush=True)
    means = {arm: [sum(values) / len(seeds) for values in zip(*runs, strict=True)] for arm, runs in curves.items()}
    print("\nimages still correct, mean over seeds")
    for arm, mean in means.items():
        above = max(a - b for a, b in zip(means["robaudit"], mean, strict=True)) if "robaudit" in means else 0
        print(f"{arm:14} " + " ".join(f"{value:6.2f}" for value in mean) + f"   ours above: {above:+.2f}")


if __name__ == "__main__":
    main()
