"""A zoo: a small trained network, honest relatives of it, and fake defences around it. All seeded; all opaque modules.

The task is to tell gratings by their direction, under noise: learnt in seconds, and fooled within a few grey levels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from robaudit.front.front import Front
from robaudit.load.classifier import Classifier
from robaudit.records import Normalization

SIDE = 20
N_PER_CLASS = 8
AMPLITUDE = 0.045
NOISE = 0.05


def pictures(n_classes: int, n_per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Grey gratings (N, 1, SIDE, SIDE), rounded to 8 bits, and their classes (N,)."""
    dice = torch.Generator().manual_seed(seed)
    labels = torch.arange(n_classes).repeat_interleave(n_per_class)
    ys, xs = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    angles = (labels * math.pi / n_classes).view(-1, 1, 1)
    phases = 2 * math.pi * torch.rand((len(labels), 1, 1), generator=dice)
    waves = torch.sin(2 * math.pi * 0.2 * (xs * angles.cos() + ys * angles.sin()) + phases)
    brightness = 0.35 + 0.3 * torch.rand((len(labels), 1, 1), generator=dice)
    noise = NOISE * torch.randn(waves.shape, generator=dice)
    grey = (brightness + AMPLITUDE * waves + noise).clamp(0, 1)
    return ((grey * 255).round() / 255)[:, None], labels


def write_pictures(folder: Path, n_classes: int, seed: int = 1) -> Path:
    """A folder of classes."""
    x, y = pictures(n_classes, N_PER_CLASS if n_classes < 10 else 3, seed)
    for index, (picture, label) in enumerate(zip(x, y.tolist(), strict=True)):
        place = folder / f"class{label:02d}"
        place.mkdir(parents=True, exist_ok=True)
        levels = (picture[0] * 255).round().to(torch.uint8).numpy()
        Image.fromarray(levels).save(place / f"{index:03d}.png")
    return folder


def trained(n_classes: int = 2, adversarially: bool = False) -> nn.Module:
    """A small network, the caller's own; adversarially trained against a few signed steps of 4/255 where asked."""
    return copy.deepcopy(_trained(n_classes, adversarially))


@cache
def _trained(n_classes: int, adversarially: bool) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(24, n_classes),
        )  # fmt: skip
        x, y = pictures(n_classes, 480 // n_classes, seed=0)
        epochs = 12 if adversarially else 8
        optimiser = torch.optim.AdamW(network.parameters(), lr=8e-3, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, total_steps=epochs * (len(x) // 32))
        for _ in range(epochs):
            for batch in torch.randperm(len(x))[: len(x) // 32 * 32].split(32):
                seen = attacked(network, x[batch], y[batch]) if adversarially else x[batch]
                loss = F.cross_entropy(network(seen), y[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return network.eval().requires_grad_(False)


def attacked(network: nn.Module, x: Tensor, y: Tensor, eps: float = 4 / 255) -> Tensor:
    """Three signed steps of the training attack, from a random start."""
    moved = (x + eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(3):
        moved.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(network(moved), y), moved)
        moved = (moved.detach() + eps / 2 * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
    return moved.detach()


class Around(nn.Module):
    """Something done to the picture before a network, and to its answer after it."""

    def __init__(
        self,
        inner: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inner(self.before(x)))


def quantised(n_levels: int) -> Callable[[Tensor], Tensor]:
    """Pictures in few grey levels; rounding has no slope."""
    return lambda x: (x * (n_levels - 1)).round() / (n_levels - 1)


def thermometer(x: Tensor) -> Tensor:
    """The share of 16 thresholds that a pixel exceeds: a step function again, spelt otherwise."""
    thresholds = torch.linspace(0, 1, 18)[1:-1].view(1, -1, 1, 1)
    return (x > thresholds).to(x.dtype).mean(1, keepdim=True)


def jpeg_like(x: Tensor) -> Tensor:
    """A block-wise cosine transform, its coefficients rounded: what JPEG does to a grey picture, roughly."""
    n = 4
    k, i = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    basis = torch.cos(math.pi * k * (2 * i + 1) / (2 * n)) * torch.where(k == 0, (1 / n) ** 0.5, (2 / n) ** 0.5)
    blocks = x.unfold(2, n, n).unfold(3, n, n)
    coefficients = basis @ blocks @ basis.T
    rounded = (coefficients / 0.06).round() * 0.06
    back = basis.T @ rounded @ basis
    return back.permute(0, 1, 2, 4, 3, 5).reshape(x.shape)


def noisy(x: Tensor) -> Tensor:
    return x + 0.1 * torch.randn_like(x)


def randomly_resized(x: Tensor) -> Tensor:
    side = int(torch.randint(SIDE - 4, SIDE + 1, ()))
    small = F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
    return F.pad(small, (0, SIDE - side, 0, SIDE - side), value=0.5)


def forgotten_dropout(z: Tensor) -> Tensor:
    return F.dropout(z, 0.3, training=True)


def without_finite_gradient(x: Tensor) -> Tensor:
    """The same picture, by way of the root of zero."""
    return x + (0 * x).sqrt()


class Detector(nn.Module):
    """Answers the first class for whatever looks rougher than its training pictures."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        x, _ = pictures(2, 200, seed=0)
        self.limit = float(self.roughness(x).quantile(0.95))

    @staticmethod
    def roughness(x: Tensor) -> Tensor:
        return (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3))

    def forward(self, x: Tensor) -> Tensor:
        refused = (self.roughness(x) > self.limit)[:, None]
        constant = torch.zeros(1, 2).index_fill(1, torch.tensor(0), 10.0)
        return torch.where(refused, constant, self.inner(x))


class HotFront(Front):
    """T and C whose amounts are driven to their bounds by a huge temperature: right forwards, mute backwards."""

    def __init__(self) -> None:
        super().__init__(1, 1)

    def forward(self, image: Tensor) -> Tensor:
        # A staircase through tanh: as good as the picture itself, with a slope of nothing almost everywhere.
        n_steps = 40
        nearest = (image * n_steps).round() / n_steps
        return nearest + torch.tanh(1e4 * (image - nearest)) * 0.25 / n_steps


def clamped(z: Tensor) -> Tensor:
    """Logits blown up and cut off: the decision stays where it was, the slope is gone."""
    return (100 * (z - z.mean(1, keepdim=True))).clamp(-1, 1)


def one_sigmoid(z: Tensor) -> Tensor:
    return (z[:, 1:] - z[:, :1]).sigmoid()


def by_hand(z: Tensor) -> Tensor:
    """A softmax that no hook can see."""
    powers = (z - z.amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)


def behind(front: Front) -> Classifier:
    """The network of two classes behind a front."""
    return Classifier(trained(), Normalization(mean=(0.0,), std=(1.0,), source="none"), in_chans=1, front=front).eval()


class Scrambled(nn.Module):
    """Right answers of a confidence that says nothing of how near the other class is, wherever pictures look natural.

    What is told away from them is honest, so that attacks without a bound succeed.
    """

    def __init__(self, inner: nn.Module, told: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.told = inner, told
        x, _ = pictures(2, 200, seed=0)
        self.limit = 1.5 * float(Detector.roughness(x).max())
        self.direction = torch.randn(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(x)
        margin = z[:, 1:] - z[:, :1]
        wave = torch.sin(10 * (self.direction * x).sum((1, 2, 3)))[:, None]
        told = self.told(margin, wave)
        natural = (Detector.roughness(x) < self.limit)[:, None]
        return torch.where(natural, torch.cat([-told / 2, told / 2], 1), z)


class InStep(Scrambled):
    """Waves on the margin that turn by five quarters in a grey level along them, so that a step of one level rises."""

    def __init__(self) -> None:
        super().__init__(NoLinearLayer(), lambda margin, wave: margin * (1 + 0.9 * wave))
        self.direction = self.direction.sign() * (2.5 * math.pi * 255 / (10 * SIDE * SIDE))


class NoLinearLayer(nn.Module):
    """The network of two classes, its last layer written as a sum that no hook can see."""

    def __init__(self) -> None:
        super().__init__()
        *body, last = trained().children()
        self.body, self.weight, self.bias = nn.Sequential(*body), last.weight, last.bias

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bd,kd->bk", self.body(x), self.weight) + self.bias


class Reversed(torch.autograd.Function):
    """The picture itself, and the opposite of its gradient: a straight-through estimator that lies."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return -gradient


def recording_matters(x: Tensor) -> Tensor:
    """The picture, but where gradients are recorded something else that has one."""
    return 0.5 + 1e-3 * x.transpose(2, 3) if torch.is_grad_enabled() else x


def noise_of_the_image(x: Tensor) -> Tensor:
    """Noise that is the same for the same picture: repeatable, and as jagged as any."""
    return x + 0.03 * torch.sin(1e5 * x.detach())


def rippled(x: Tensor) -> Tensor:
    """A fifth of a grey level of ripples, 16 to the level: slopes from -19 to 21, and 21 at every whole level."""
    pace = 2 * math.pi * 16 * 255
    return x + 20 / pace * torch.sin(pace * x)


def half_the_pixels(x: Tensor) -> Tensor:
    """Every other pixel passes no gradient on, as where half of a picture goes by way of another library."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return torch.where((rows + columns) % 2 == 0, x, x.detach())


def reversed_where_dark(x: Tensor) -> Tensor:
    """The gradient of a third of the pictures points the other way."""
    return torch.where(x.mean((1, 2, 3), keepdim=True) < 0.45, Reversed.apply(x), x)


def standardised(x: Tensor) -> Tensor:
    """Every picture's own mean and deviation, as much medical code has it: full contrast until there is none."""
    mean, deviation = x.mean((1, 2, 3), keepdim=True), x.std((1, 2, 3), keepdim=True)
    return 0.5 + 0.06 * (x - mean) / (deviation + 1e-6)


def stretched(x: Tensor) -> Tensor:
    """Every picture from its own darkest pixel to its own lightest."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return 0.3 + 0.35 * (x - low) / (high - low + 1e-8)


def batch_centred(z: Tensor) -> Tensor:
    """What batch-norm without running statistics does: an answer that depends on the other pictures asked."""
    return z - 0.5 * z.mean(0, keepdim=True)


def noisy_off_the_grid(x: Tensor) -> Tensor:
    """Noise for pictures that no file of 8 bits holds: every adversarial, and no image."""
    levels = x * 255
    is_off = ((levels - levels.round()).abs().amax((1, 2, 3)) > 1e-3).view(-1, 1, 1, 1)
    return x + is_off * 0.1 * torch.randn_like(x)


def equalised(x: Tensor) -> Tensor:
    """Every pixel's rank among the others: histogram equalisation, which has no slope."""
    ranks = x.flatten(1).argsort(1).argsort(1) / (x[0].numel() - 1)
    return 0.35 + 0.3 * ranks.view_as(x)


class Pruned(nn.Module):
    """Leaves small activations out by chance, and makes up for it in the others (Dhillon et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        layers = [*trained().children()]
        self.before, self.after = nn.Sequential(*layers[:4]), nn.Sequential(*layers[4:])

    def forward(self, x: Tensor) -> Tensor:
        seen = self.before(x)
        share = seen.abs() / seen.abs().sum((1, 2, 3), keepdim=True)
        kept = 1 - (1 - share) ** seen[0].numel()
        return self.after(seen * (torch.rand_like(seen) < kept) / kept.clamp_min(1e-6))


class Ranked(nn.Module):
    """Answers with the share of its training pictures that were further from the class: isotonic, and a staircase."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = trained()
        z = self.inner(pictures(2, 200, seed=0)[0])
        self.known = (z[:, 1] - z[:, 0]).sort().values

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(x)
        share = torch.searchsorted(self.known, z[:, 1] - z[:, 0]) / len(self.known)
        return torch.stack([1 - share, share], 1)


class HalfDetached(nn.Module):
    """Half of its first filters pass no gradient on: what is left leads up, and not the steepest way."""

    def __init__(self) -> None:
        super().__init__()
        first, *rest = trained().children()
        self.first, self.rest = first, nn.Sequential(*rest)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.first(x)
        half = seen.shape[1] // 2
        return self.rest(torch.cat([seen[:, :half].detach(), seen[:, half:]], 1))


class Vote(nn.Module):
    """Three networks vote, two of them of one mind: whoever looks behind the answers sees the one outvoted."""

    def __init__(self) -> None:
        super().__init__()
        self.two, self.one = trained(adversarially=True), trained()

    def forward(self, x: Tensor) -> Tensor:
        two, one = (torch.tanh(200 * (z[:, 1:] - z[:, :1])) for z in (self.two(x), self.one(x)))
        return torch.cat([-2 * two - one, 2 * two + one], 1)


class Decoy(nn.Module):
    """Answers cut off, and a linear layer asked last, of which nothing is made."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.decoy = NoLinearLayer(), nn.Linear(SIDE * SIDE, 2)

    def forward(self, x: Tensor) -> Tensor:
        answers = clamped(self.inner(x))
        self.decoy(x.flatten(1))
        return answers


class Constant(nn.Module):
    """Calls everybody healthy."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[1.0, 3.0]]).expand(len(x), 2) + 0 * x.mean((1, 2, 3))[:, None]


HONEST: dict[str, Callable[[], nn.Module]] = {
    "vanilla": trained,
    "adversarially trained": lambda: trained(adversarially=True),
    "retrofitted": lambda: behind(Front(1, 1)),
    "3 classes": lambda: trained(3),
    "4 classes": lambda: trained(4),
    "10 classes": lambda: trained(10),
    "no linear layer": NoLinearLayer,
    "standardised": lambda: Around(trained(), before=standardised),
    "stretched": lambda: Around(trained(), before=stretched),
}

FAKE: dict[str, Callable[[], nn.Module]] = {
    "logits x30": lambda: Around(trained(), after=lambda z: 30 * z),
    "logits x300": lambda: Around(trained(), after=lambda z: 300 * z),
    "softmax": lambda: Around(trained(), after=lambda z: z.softmax(1)),
    "saturated softmax": lambda: Around(trained(), after=lambda z: (100 * z).softmax(1)),
    "softmax by hand": lambda: Around(trained(), after=lambda z: by_hand(100 * z)),
    "one sigmoid": lambda: Around(trained(), after=one_sigmoid),
    "rounded logits": lambda: Around(trained(), after=lambda z: (20 * z).round()),
    "sign of logits": lambda: Around(trained(), after=lambda z: (z - z.mean(1, keepdim=True)).sign()),
    "detached": lambda: Around(trained(), before=lambda x: x.detach()),
    "half detached": HalfDetached,
    "8 levels": lambda: Around(trained(), before=quantised(8)),
    "32 levels": lambda: Around(trained(), before=quantised(32)),
    "jpeg-like": lambda: Around(trained(), before=jpeg_like),
    "noise": lambda: Around(trained(), before=noisy),
    "random resize": lambda: Around(trained(), before=randomly_resized),
    "thermometer": lambda: Around(trained(), before=thermometer),
    "dropout left on": lambda: Around(trained(), after=forgotten_dropout),
    "no finite gradient": lambda: Around(trained(), before=without_finite_gradient),
    "detector": lambda: Detector(trained()),
    "clamped logits": lambda: Around(trained(), after=clamped),
    "hot front": lambda: behind(HotFront()),
    "scrambled confidence": lambda: Scrambled(trained(), lambda margin, wave: margin.sign() * (5 + wave)),
    "waves on logits": lambda: Scrambled(trained(), lambda margin, wave: margin * (1 + 0.9 * wave)),
    "cliff": lambda: Scrambled(trained(), lambda margin, wave: 3 * (1e3 * margin).tanh() + 1e-3 * wave),
    "scrambled, unseen": lambda: Scrambled(NoLinearLayer(), lambda margin, wave: margin.sign() * (5 + wave)),
    "cliff, unseen": lambda: Scrambled(NoLinearLayer(), lambda margin, wave: 3 * (1e3 * margin).tanh() + 1e-3 * wave),
    "reversed gradient": lambda: Around(NoLinearLayer(), before=Reversed.apply),
    "another pass for gradients": lambda: Around(trained(), before=recording_matters),
    "noise made of the image": lambda: Around(trained(), before=noise_of_the_image),
    "centred over the batch": lambda: Around(trained(), after=batch_centred),
    "noise off the grid": lambda: Around(trained(), before=noisy_off_the_grid),
    "vote": Vote,
    "equalised": lambda: Around(trained(), before=equalised),
    "pruned at random": Pruned,
    "ranked answers": Ranked,
    "half the pixels": lambda: Around(trained(), before=half_the_pixels),
    "reversed where dark": lambda: Around(NoLinearLayer(), before=reversed_where_dark),
    "waves in step": InStep,
    "faint answers of noise": lambda: Around(trained(), before=noisy, after=lambda z: 1e-20 * z),
}
