"""Is the thorough ensemble as strong as what a sceptic would run? Its worst case beside three peers'.

    python benchmarks/strength.py MODEL DATA [--limit 6] [--eps 1,2,3,4,5,6,7,8] [--seeds 0,1,2] [--arms foolbox,...]

Peers: foolbox PGD of 100 steps with restarts, torchattacks APGD and PGD, AutoAttack's APGD on cross-entropy and its
Square Attack (its other attacks need four classes or more, and are run where the model has them). A peer attacks an
image where it matters: at the largest eps at which our ensemble left it standing, and, where it gets through, at the
next smaller one, until it does not. There it may take more gradients than our ensemble took for the whole grid; both
are printed. At larger eps nothing is left to find; at smaller ones, the ball that it could not leave is smaller still.
`missed` is how many images a peer breaks that our curve counts as standing; its mean over seeds should be one
or less at every eps. Peers are measured where installed.
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
from robaudit.data.images import Images
from robaudit.float32 import true_float32

STEPS, RESTARTS = 100, 4
QUERIES = 1000
BATCH = 2
"""Of ours on a CPU. Square's queries come one after another: few images would leave most of a larger batch empty."""
Perturb = Callable[[Tensor, Tensor], Tensor]


def ours(loaded: Any, images: Images, grid: tuple[int, ...], seed: int) -> tuple[list[int], float]:
    """Per image, the smallest eps at which the thorough preset fooled it (0: clean error), and its cost."""
    on_cpu = loaded.classifier.device.type == "cpu"
    engine = preset_engine(loaded, images, "thorough", grid, seed, BATCH if on_cpu else len(images))
    measured = {each.row.id: each for each in engine.measure(images, images.refs)}
    found = [tally.worst_eps(measured[ref.id].row) for ref in images.refs]
    return found, sum(each.work.gradients for each in measured.values()) / len(measured)


def foolbox_attacks(model: Any, eps: float, n_classes: int, seed: int, device: torch.device) -> Iterator[Perturb]:
    """PGD of foolbox with restarts, its step the one that can cross the ball."""
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=device)
    for _ in range(RESTARTS):
        attack = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / STEPS, steps=STEPS)
        yield lambda x, y, attack=attack: attack.run(wrapped, x, y, epsilon=eps)


def torchattacks_attacks(model: Any, eps: float, n_classes: int, seed: int, device: torch.device) -> Iterator[Perturb]:
    """APGD and PGD of torchattacks."""
    import torchattacks

    yield torchattacks.APGD(model, eps=eps, steps=STEPS, n_restarts=RESTARTS // 2, seed=seed, loss="ce")
    for _ in range(RESTARTS // 2):
        yield torchattacks.PGD(model, eps=eps, alpha=2.5 * eps / STEPS, steps=STEPS, random_start=True)


def autoattack_attacks(model: Any, eps: float, n_classes: int, seed: int, device: torch.device) -> Iterator[Perturb]:
    """AutoAttack's parts, as many as two classes allow; all of them from four classes up."""
    from autoattack import AutoAttack

    parts = ["apgd-ce", "square"] if n_classes < 4 else ["apgd-ce", "apgd-dlr", "apgd-t", "square"]
    whole = AutoAttack(model, norm="Linf", eps=eps, seed=seed, verbose=False, version="custom", attacks_to_run=parts,
                       device=device)  # fmt: skip
    whole.apgd.n_restarts, whole.apgd.n_iter = RESTARTS, STEPS
    whole.square.n_queries = QUERIES
    yield lambda x, y: whole.run_standard_evaluation(x, y, bs=len(x))


PEERS = {"foolbox": foolbox_attacks, "torchattacks": torchattacks_attacks, "autoattack": autoattack_attacks}


@true_float32()
def theirs(peer: str, loaded: Any, images: Images, grid: tuple[int, ...], seed: int, found: list[int]) -> list[int]:
    """Per image, the smallest eps at which it is fooled if the peer's findings are added to ours."""
    model, device = loaded.classifier.eval().requires_grad_(False), loaded.classifier.device
    torch.manual_seed(seed)
    joint = list(found)
    for place, eps_255 in reversed(list(enumerate(grid))):
        # Those that fall at the next larger eps, as far as is known, and at no smaller one.
        fell_at = grid[place + 1] if place + 1 < len(grid) else tally.NEVER
        tried = [index for index, at in enumerate(joint) if at == fell_at]
        if not tried:
            continue
        refs = [images.refs[index] for index in tried]
        x = torch.stack([images.load(ref, loaded.size) for ref in refs]).to(device)
        y = torch.tensor([images.label_index(ref) for ref in refs], device=device)
        fooled = torch.zeros(len(tried), dtype=torch.bool, device=device)
        for perturb in PEERS[peer](model, eps_255 / 255, loaded.info.n_classes, seed, device):
            left = (~fooled).nonzero().flatten()
            if len(left):
                fooled[left] = fools(model, perturb, x[left], y[left], eps_255)
        for index, fell in zip(tried, fooled.tolist(), strict=True):
            joint[index] = eps_255 if fell else joint[index]
    return joint


def fools(model: Any, perturb: Perturb, x: Tensor, y: Tensor, eps_255: int) -> Tensor:
    """Whether the pictures that an attack returns are answered wrongly (N,); they must lie in the ball."""
    adversarial = perturb(x, y).detach()
    assert float((adversarial - x).abs().max()) <= eps_255 / 255 + 1e-6
    with torch.no_grad():
        wrong: Tensor = model(adversarial).argmax(1) != y
    return wrong


def standing(found: list[int], grid: tuple[int, ...]) -> list[int]:
    """How many images stand at each eps."""
    return [sum(fooled_at > eps for fooled_at in found) for eps in grid]


def main() -> None:
    """Run all arms and print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--limit", type=int, default=6)
    arguments.add_argument("--eps", default="1,2,3,4,5,6,7,8")
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--arms", default=",".join(PEERS))
    arguments.add_argument("--device", default="cpu")
    options = arguments.parse_args()
    grid = tuple(int(eps) for eps in options.eps.split(","))
    loaded, images = opened(options.model, options.data, options.limit, options.device)
    peers = [peer for peer in options.arms.split(",") if find_spec(peer)]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    print(f"{circumstances(options.model)}, {len(images)} images, eps {options.eps}/255, seeds {seeds}")
    curves: list[list[int]] = []
    missed: dict[str, list[list[int]]] = {peer: [] for peer in peers}
    for seed in seeds:
        started = time.perf_counter()
        found, gradients = ours(loaded, images, grid, seed)
        curves.append(standing(found, grid))
        seconds = round(time.perf_counter() - started)
        print(json.dumps({"seed": seed, "found": found, "gradients": round(gradients), "seconds": seconds}), flush=True)
        for peer in peers:
            started = time.perf_counter()
            joint = theirs(peer, loaded, images, grid, seed, found)
            missed[peer].append([a - b for a, b in zip(curves[-1], standing(joint, grid), strict=True)])
            said = {"peer": peer, "seed": seed, "joint": joint, "seconds": round(time.perf_counter() - started)}
            print(json.dumps(said), flush=True)
    print(f"\na peer takes up to {STEPS * RESTARTS} gradients an image and eps; means over {len(seeds)} seeds")
    print(f"{'ours standing':22} " + " ".join(f"{value:5.2f}" for value in means(curves)))
    for peer, counts in missed.items():
        print(f"{'missed: ' + peer:22} " + " ".join(f"{value:5.2f}" for value in means(counts)))


def means(rows: list[list[int]]) -> list[float]:
    """Column by column."""
    return [sum(values) / len(rows) for values in zip(*rows, strict=True)]


if __name__ == "__main__":
    main()
