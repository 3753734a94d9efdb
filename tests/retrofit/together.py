"""One of several processes that train together, joined by torch.distributed alone: what a Ray worker does, without Ray.

python together.py RANK SIZE STORE MODEL DATA OUT
"""

import json
import sys
from pathlib import Path

import torch
from torch import distributed, nn

from robaudit.data.images import open_images
from robaudit.load.model import load_model
from robaudit.progress import Silent
from robaudit.retrofit.before_training import retrofitted
from robaudit.retrofit.samples import Samples
from robaudit.retrofit.settings import train_config
from robaudit.retrofit.team import ALONE, Together
from robaudit.retrofit.train import train

CASES = {
    "frozen": {"trains": "front", "augment": "flip,shift,intensity"},
    "robust": {"trains": "front", "robust": "fgsm", "robust_eps_255": 8},
    "trades": {"trains": "front", "robust": "trades", "robust_eps_255": 8, "val_steps": 2},
    "batch-norm": {"trains": "all", "learning_rate": 1e-3},
}
COMMON = {"epochs": 2, "batch_size": 5, "seed": 5}
"""16 images in steps of 4, 8 to validate in 5 and 3: parts of two processes are equal and unequal."""


def trained(case, model, data, team=ALONE):
    """Metrics of every epoch, without the times, and the weights."""
    training, validation = (open_images(data, part) for part in ("train", "val"))
    vanilla = load_model(model, folder_classes=training.classes)
    config = train_config(**COMMON | CASES[case])
    classifier = retrofitted(vanilla, training.channels, config)
    samples = [
        Samples(images, vanilla.size, config.texture_kept, torch.device("cpu")) for images in (training, validation)
    ]
    rows = []
    train(classifier, *samples, config, progress=Silent(), on_epoch=rows.append, team=team)
    metrics = [row.model_dump(mode="json", exclude={"seconds"}) for row in rows]
    return metrics, classifier.state_dict()


def statistics(team=ALONE):
    """Running mean of a batch-norm layer that has seen seven images, each process some of them."""
    images = torch.rand(7, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    layer, part = nn.BatchNorm2d(3).train(), team.part(list(range(7)))
    layer(images[part.indices])
    team.share_statistics(layer, part)
    return layer.running_mean


def main():
    rank, size, store, model, data, out = sys.argv[1:]
    torch.set_num_threads(1)
    team = Together(int(rank), int(size))
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=team.rank, world_size=team.size)
    for case in CASES:
        metrics, weights = trained(case, Path(model), Path(data), team)
        (Path(out) / f"{case}-{rank}.json").write_text(json.dumps(metrics))
        torch.save(weights, Path(out) / f"{case}-{rank}.pt")
    torch.save(statistics(team), Path(out) / f"statistics-{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
