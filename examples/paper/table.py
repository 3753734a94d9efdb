"""The table of Chen & Luo (PAKDD 2024, arXiv 2402.16005) on your images: set x backbone x arm x seed, resumable.

Every arm starts from the same fine-tuned network and gets the same number of epochs; every cell is then attacked as the
source does it, and with --strong once more by the strongest attack at hand: table.md and table-strong.md. Interrupted
or out of time? The same command goes on; cells without a result say "not run".

    python examples/paper/table.py --set chest-ct=DATA --backbone resnet18=WEIGHTS --epochs 15 --out out/paper
    python examples/paper/table.py --set chest-ct=DATA --set breast-us=DATA2 --backbone resnet18=WEIGHTS \
        --backbone densenet121=WEIGHTS2 --seeds 0,1,2 --arms all --strong --minutes 600 --out out/paper

In a minute, on generated phantoms and an untrained network, to see that it works (the figures mean nothing):

    python examples/paper/table.py --epochs 1 --limit 2 --eps 4 --arms vanilla,assimilation --out out/tried
"""

import argparse
import json
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import timm
import torch
from cells import ARMS, THE_SOURCES, Cell, grid
from markdown_tables import strong_table, table
from safetensors.torch import save_file

import robaudit
from robaudit.data.images import open_images
from robaudit.errors import OutputError, RobauditError
from robaudit.files import write_text
from robaudit.job.phantoms import SIDE, write_phantoms
from robaudit.load.contents import read_contents
from robaudit.load.model import load_model
from robaudit.progress import Silent


def main() -> None:
    options = read_options()
    cells = list(grid(options.sets, options.backbones, options.seeds, options.arms))
    stop_at = time.monotonic() + 60 * options.minutes
    failed: set[Cell] = set()
    failed_strong: set[Cell] = set()
    # The source's table comes first; what the strongest attack says of it, where time is left.
    for strong in (False, True)[: 1 + bool(options.strong)]:
        for cell in cells:
            if time.monotonic() < stop_at and cell not in failed and not run(cell, options, strong=strong):
                (failed_strong if strong else failed).add(cell)
    failed_strong |= failed
    for cell in cells:
        if cell.arm == cells[0].arm:  # once for every network
            draw(cell, options.out, failed_strong)
    source = table(cells, options.out, options.eps, failed)
    write_text(options.out / "table.md", source)
    print(source, end="")
    if options.strong:
        strongest = strong_table(cells, options.out, failed_strong)
        write_text(options.out / "table-strong.md", strongest)
        print(f"\n{strongest}", end="")
    if failed_strong:
        sys.exit(
            f"{len(failed_strong)} of {len(cells)} cells cannot be run, as said; other settings want another --out"
        )


def run(cell: Cell, options: argparse.Namespace, *, strong: bool) -> bool:
    """Train a cell and attack it; what is finished is reused. Returns whether that could be done."""
    try:
        train(cell, options)
        robaudit.scan(
            cell.folder(options.out) / "model",
            options.sets[cell.images],
            out=cell.audit(options.out, strong=strong).parent,
            preset=options.strong if strong else "paper",
            eps=options.eps,
            limit=options.test_limit,
            seed=cell.seed,
            **options.precision,
        )
    except RobauditError as error:
        print(f"{cell.folder(options.out)}: {error}", file=sys.stderr)
        return False
    return True


def train(cell: Cell, options: argparse.Namespace) -> None:
    """Fine-tune a vanilla network, or retrofit the one that this arm starts from."""
    if cell.arm == "vanilla":
        start = cell.folder(options.out) / "start"
        write_start(start, options.backbones[cell.backbone], cell, options.sets[cell.images])
        changed: dict[str, Any] = {"front": "none"}
    else:
        start = cell.other("vanilla").folder(options.out) / "model"
        changed = ARMS[cell.arm]
    robaudit.assimilate(
        start,
        options.sets[cell.images],
        out=cell.folder(options.out) / "model",
        preset="paper",
        epochs=options.epochs,
        limit=options.limit,
        seed=cell.seed,
        **options.precision,
        **changed,
    )


def write_start(folder: Path, weights: Path | None, cell: Cell, data: Path) -> None:
    """The backbone with a new head for these classes, as a timm folder; without weights, an untrained one.

    Raises:
        RobauditError: there is one already, of other weights; or these cannot be loaded.
    """
    made_from = None if weights is None else read_contents(weights).sha256
    if (folder / "config.json").exists():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("made_from", made_from) != made_from:
            raise OutputError(f"{folder}: was made from other weights than {weights}")
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
    config = {"architecture": cell.backbone, "label_names": classes, "pretrained_cfg": cfg, "made_from": made_from}
    write_text(folder / "config.json", json.dumps(config))


def draw(cell: Cell, out: Path, failed: Collection[Cell]) -> None:
    """The source's figure, dashed before and solid after, and its pictures; the strongest attack on a page of its own.

    Arms that are not finished are left out.
    """
    audits, strong = (
        {
            arm: file
            for arm in ARMS
            if (file := cell.other(arm).audit(out, strong=strong)).exists() and cell.other(arm) not in failed
        }
        for strong in (False, True)
    )
    place = cell.folder(out).parent
    try:
        if {"vanilla", "assimilation"} <= audits.keys():
            robaudit.compare(
                audits["vanilla"], audits["assimilation"], out=place / "report", without_glcm=audits.get("no-glcm")
            )
        if "vanilla" in strong and len(strong) > 1:
            robaudit.compare(*strong.values(), out=place / "report-strong")
    except RobauditError as error:
        print(f"{place}: {error}", file=sys.stderr)


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
    parser.add_argument("--limit", type=int, help="train and validate on at most so many images each")
    parser.add_argument(
        "--test-limit", type=int, help="attack at most so many images, as many of each class; as --limit"
    )
    parser.add_argument(
        "--strong",
        nargs="?",
        const="default",
        choices=("default", "thorough"),
        help="audit every cell by this preset too (default: default)",
    )
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="of training and of the attacks' gradients"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no further cell after so long")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.test_limit = options.test_limit or options.limit
    options.precision = {"precision": options.precision} if options.precision else {}
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
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text}: wanted a name and a path, such as chest-ct=data/chest-ct")
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
