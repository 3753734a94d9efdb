"""The table of Chen & Luo (PAKDD 2024, arXiv 2402.16005) on your images: set x backbone x arm x seed, resumable.

Every arm starts from the same fine-tuned network and gets the same number of epochs; every cell is then attacked as the
source does it. Interrupted or out of time? The same command goes on; cells without a result say "not run".

    python examples/paper/table.py --set chest-ct=DATA --backbone resnet18=WEIGHTS --epochs 15 --out out/paper
    python examples/paper/table.py --set chest-ct=DATA --set breast-us=DATA2 --backbone resnet18=WEIGHTS \
        --backbone densenet121=WEIGHTS2 --seeds 0,1,2 --arms all --minutes 600 --out out/paper

In under a minute, on generated phantoms and an untrained network, to see that it works (the figures mean nothing):

    python examples/paper/table.py --epochs 1 --limit 8 --eps 4 --arms vanilla,assimilation --out out/tried
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

import robaudit
from robaudit.errors import RobauditError
from robaudit.job.phantoms import SIDE, write_phantoms
from robaudit.load.images import open_images
from robaudit.load.model import load_model
from robaudit.progress import Silent
from robaudit.records import AuditRecord, read_audit

ARMS: dict[str, dict[str, Any]] = {
    "vanilla": {},
    "assimilation": {},
    "fine-tuning": {"front": "none"},
    "no-glcm": {"alpha": 1.0},
    # Ablations, and adversarial training with its rival.
    "t-only": {"front": "T"},
    "c-only": {"front": "C"},
    "random-front": {"random_front": True, "trains": "network"},
    "robust": {"robust": "fgsm"},
    "robust-fine-tuning": {"robust": "fgsm", "front": "none"},
}
"""Arm -> what it changes of the paper's preset. Vanilla is the network that the others start from."""

THE_SOURCES = ("vanilla", "assimilation", "fine-tuning", "no-glcm")


@dataclass(frozen=True)
class Cell:
    """One network on one set of images, trained in one way from one seed."""

    images: str
    backbone: str
    seed: int
    arm: str

    def folder(self, out: Path) -> Path:
        """Where its model and audit lie."""
        return out / self.images / self.backbone / f"seed-{self.seed}" / self.arm

    def vanilla(self) -> "Cell":
        """The cell that it starts from."""
        return Cell(self.images, self.backbone, self.seed, "vanilla")


def main() -> None:
    options = read_options()
    cells = list(grid(options))
    stop_at = time.monotonic() + 60 * options.minutes
    for cell in cells:
        if time.monotonic() < stop_at:
            run(cell, options)
    for cell in cells:
        if cell.arm == "assimilation":
            draw(cell, options.out)
    table = "\n".join(rows(cells, options))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(table + "\n", encoding="utf-8")
    print(table)


def grid(options: argparse.Namespace) -> Iterator[Cell]:
    """Cells in the order in which they are run: a vanilla network before what starts from it."""
    for images in options.sets:
        for backbone in options.backbones:
            for seed in options.seeds:
                for arm in sorted(options.arms, key=list(ARMS).index):
                    yield Cell(images, backbone, seed, arm)


def run(cell: Cell, options: argparse.Namespace) -> None:
    """Train and attack one cell; what is finished is reused."""
    folder, data = cell.folder(options.out), options.sets[cell.images]
    if cell.arm == "vanilla":
        start = folder / "start"
        write_start(start, options.backbones[cell.backbone], cell, data)
        settings: dict[str, Any] = {"front": "none"}
    else:
        start = cell.vanilla().folder(options.out) / "model"
        settings = ARMS[cell.arm]
    if not start.exists():
        print(f"{folder}: waits for vanilla", file=sys.stderr)
        return
    shared: dict[str, Any] = {"limit": options.limit, "seed": cell.seed}
    try:
        robaudit.assimilate(
            start, data, out=folder / "model", preset="paper", epochs=options.epochs, **shared, **settings
        )
        robaudit.scan(folder / "model", data, out=folder / "audit", preset="paper", eps=options.eps, **shared)
    except RobauditError as error:
        print(f"{folder}: {error}", file=sys.stderr)


def write_start(folder: Path, weights: Path | None, cell: Cell, data: Path) -> None:
    """The backbone with a new head for these classes, as a timm folder; without weights, an untrained one."""
    if (folder / "config.json").exists():
        return
    classes = open_images(data, "train").classes
    torch.manual_seed(cell.seed)
    if weights is None:
        network, mean, std, size = timm.create_model(cell.backbone), (0.5,) * 3, (0.25,) * 3, (SIDE, SIDE)
    else:
        loaded = load_model(weights, arch=cell.backbone)
        network, normalization, size = loaded.classifier.backbone, loaded.info.normalization, loaded.size
        mean, std = normalization.mean, normalization.std
    network.reset_classifier(len(classes))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )
    cfg = {"mean": mean, "std": std, "input_size": [3, *size]}
    config = {"architecture": cell.backbone, "label_names": classes, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def draw(cell: Cell, out: Path) -> None:
    """The figure of the source: dashed before, solid after, per attack; and the pictures with and without GLCM loss."""
    audits = [
        Cell(cell.images, cell.backbone, cell.seed, arm).folder(out) / "audit" / "audit.json"
        for arm in ("vanilla", "assimilation", "no-glcm")
    ]
    before, after, without_glcm = audits
    if before.exists() and after.exists():
        robaudit.compare(
            before,
            after,
            out=cell.vanilla().folder(out).parent / "report",
            without_glcm=without_glcm if without_glcm.exists() else None,
        )


def rows(cells: list[Cell], options: argparse.Namespace) -> Iterator[str]:
    """The table in Markdown: accuracy in percent, one line per cell and attack."""
    heads = ["set", "backbone", "seed", "arm", "attack", "images", "clean", *(f"{eps}/255" for eps in options.eps)]
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for cell in cells:
        names = [cell.images, cell.backbone, str(cell.seed), cell.arm]
        file = cell.folder(options.out) / "audit" / "audit.json"
        for found in of_audit(read_audit(file)) if file.exists() else [["", "", *["not run"] * (1 + len(options.eps))]]:
            yield f"| {' | '.join(names + found)} |"


def of_audit(audit: AuditRecord) -> Iterator[list[str]]:
    """What the table shows of an audit, attack by attack."""
    for attack in audit.attacks:
        tallies = [audit.clean, *attack.points]
        shares = [f"{100 * tally.n_correct / tally.n_images:.1f}" for tally in tallies]
        yield [attack.name, str(audit.clean.n_images), *shares]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", type=named_path, default=[], metavar="NAME=DATA", dest="sets")
    parser.add_argument(
        "--backbone", action="append", type=named_path, default=[], metavar="ARCH=WEIGHTS", dest="backbones"
    )
    parser.add_argument("--arms", type=arms, default=list(THE_SOURCES), help=f"all, or of {', '.join(ARMS)}")
    parser.add_argument("--seeds", type=numbers, default=[0])
    parser.add_argument("--epochs", type=int, default=15, help="of every arm; the source has 300")
    parser.add_argument("--eps", type=numbers, default=list(range(1, 9)))
    parser.add_argument("--limit", type=int, help="use at most so many images of each part")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further cell after so long")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if bool(options.sets) != bool(options.backbones):
        parser.error("--set and --backbone belong together")
    options.sets, options.backbones = dict(options.sets), dict(options.backbones)
    if not options.sets:
        phantoms = options.out / "phantoms"
        write_phantoms(phantoms, seed=0, progress=Silent())
        options.sets, options.backbones = {"phantoms": phantoms}, {"test_resnet": None}
    return options


def named_path(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def arms(text: str) -> list[str]:
    chosen = list(ARMS) if text == "all" else text.split(",")
    unknown = set(chosen) - ARMS.keys()
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: wanted of {', '.join(ARMS)}")
    return chosen


if __name__ == "__main__":
    main()
