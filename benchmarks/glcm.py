"""The SOT matrix against scikit-image: same patches, grey levels and orientations; prints times and ratios.

python benchmarks/glcm.py [--batch 32] [--levels 32] [--threads 1] [--rounds 5] [--device cuda]

scikit-image is timed on one image (it takes one patch at a time, so its cost is linear) on one thread of the CPU, and
computes no gradients. Minimum over rounds on both sides, interleaved. Then what the texture term adds to a training
step of ResNet18 behind T and C, on clean images and under fast FGSM, per image, with the targets computed before.
"""

import argparse
import platform
from collections.abc import Callable

import numpy as np
import skimage
import timm
import torch
from skimage.feature import graycomatrix, graycoprops
from torch.nn import functional as F

from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.records import Normalization
from robaudit.retrofit.draws import Draws
from robaudit.retrofit.objective import Objective
from robaudit.retrofit.pace import seconds_of
from robaudit.retrofit.samples import Batch
from robaudit.retrofit.settings import train_config
from robaudit.texture.orientations import COMPUTED
from robaudit.texture.patches import cut
from robaudit.texture.sot import loss_features, second_order_texture

SIDE = 224


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    images = textured(arguments.batch).to(arguments.device)
    leaf = images.clone().requires_grad_()
    patches = (cut(images[:1].cpu())[0] * (arguments.levels - 1)).round().to(torch.uint8).numpy()

    jobs: dict[str, tuple[int, Callable[[], object]]] = {
        "scikit-image": (1, lambda: by_scikit_image(patches, arguments.levels)),
        "forward": (arguments.batch, lambda: second_order_texture(images, levels=arguments.levels)),
        "loss features, forward": (arguments.batch, lambda: loss_features(images, levels=arguments.levels)),
        "loss features, forward + backward": (
            arguments.batch,
            lambda: loss_features(leaf, levels=arguments.levels).sum().backward(),
        ),
    }
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(arguments.rounds):
        for name, (n_images, job) in jobs.items():
            best[name] = min(best[name], seconds_of(job, arguments.device) / n_images)

    print(
        f"torch {torch.__version__} on {where(arguments)}, scikit-image {skimage.__version__}, "
        f"Python {platform.python_version()}; {len(patches)} patches of a {SIDE}x{SIDE} image, "
        f"{arguments.levels} levels, {len(COMPUTED)} orientations, batch {arguments.batch}"
    )
    for name, seconds in best.items():
        print(f"{name:36} {seconds * 1e3:9.2f} ms per image {best['scikit-image'] / seconds:8.1f} x")
    print()
    for attack in ("none", "fgsm"):
        without, with_texture = step_seconds(attack, arguments)
        print(
            f"training step, {attack:5} {without * 1e3:9.2f} ms per image without, {with_texture * 1e3:.2f} with "
            f"texture: {with_texture / without - 1:+.1%}"
        )


def step_seconds(attack: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Seconds per image of a training step at alpha 1 and at the default alpha, interleaved, the fastest of each."""
    network = timm.create_model("resnet18", num_classes=2)
    normalization = Normalization(mean=(0.5,) * 3, std=(0.25,) * 3, source="benchmark")
    classifier = Classifier(network, normalization, in_chans=3, front=Front(1, 3))
    classifier = classifier.to(arguments.device, memory_format=torch.channels_last).train()
    pixels = textured(arguments.step_images).to(arguments.device)
    objectives = [
        Objective(classifier, train_config(robust=attack, **term))
        for term in ({"alpha": 1.0}, {"levels": arguments.levels})
    ]
    labels = torch.arange(len(pixels), device=pixels.device) % 2
    batch = Batch(pixels, labels, objectives[1].config.texture.features(pixels))
    best = [float("inf")] * 2
    for _ in range(arguments.rounds):
        for index, objective in enumerate(objectives):

            def step(objective: Objective = objective) -> None:
                objective.in_training(batch, attack, Draws(torch.Generator().manual_seed(0))).total.backward()

            best[index] = min(best[index], seconds_of(step, arguments.device) / len(pixels))
    return best[0], best[1]


def where(arguments: argparse.Namespace) -> str:
    """What computes."""
    if arguments.device.type == "cuda":
        return torch.cuda.get_device_name(arguments.device)
    return f"{arguments.threads} thread(s)"


def by_scikit_image(patches: np.ndarray, levels: int) -> None:
    """The five features as one would get them; its homogeneity has another definition at the same cost."""
    for patch in patches:
        matrix = graycomatrix(patch, [3], np.radians(COMPUTED), levels=levels, normed=True)
        for name in ("ASM", "contrast", "homogeneity", "correlation", "dissimilarity"):
            graycoprops(matrix, name)


def textured(n_images: int) -> torch.Tensor:
    """Blurred noise: neighbouring pixels are alike, as in a real image."""
    noise = torch.rand(n_images, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(noise, 5, stride=1, padding=2)
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--levels", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step-images", type=int, default=8, help="batch of the training step")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
