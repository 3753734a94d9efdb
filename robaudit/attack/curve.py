"""The curve engine: classifier x images x plan -> one row per image, as each is done.

Images stream: only those being worked on are in memory, and their adversarials are dropped unless asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from robaudit.attack.batching import Batches, Dialogue, Task, Work, judge
from robaudit.attack.climb import Adversarial
from robaudit.attack.examine import Findings, Plan, Subject, examine
from robaudit.attack.foolbox_adapter import FoolboxRunner, find_attack
from robaudit.attack.prepare import Speedups, judging, working_copy
from robaudit.attack.threats import FoolboxAttack
from robaudit.load.images import ImageRef, Images
from robaudit.records import ImageRow

CPU_BATCH_SIZE = 8
"""Per-image cost is flat from 8 up on CPUs, and a small batch wastes least while the last images finish."""
CUDA_BATCH_SIZE = 128
"""First try on a GPU; halved until it fits. Not more, as a set of few images cannot fill it."""

NO_FINITE_ANSWER = "the model gave no finite answer"

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """One image's row, what it cost, and its adversarial where that was asked for."""

    row: ImageRow
    work: Work
    batch_size: int
    """Of the batches it was measured in."""
    adversarial: Adversarial | None = None
    adversarial_attack: str | None = None


@dataclass
class Engine:
    """Runs a plan over images with one model."""

    model: nn.Module
    """The untouched classifier: pixels (B, C, H, W) in [0, 1] -> logits."""
    size: tuple[int, int]
    """(height, width) of its input grid."""
    channels: int
    """Channels of the images, 1 or 3."""
    plan: Plan
    batch_size: int | None = None
    """Padded batch shape; None chooses, and halves when memory runs out."""
    speedups: Speedups = Speedups()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        """Prepare the working copy, and find a batch shape that fits.

        Raises:
            SettingsError: foolbox has no such attack, or it does not belong in an L-inf audit.
        """
        for attack in self.plan.attacks:
            if isinstance(attack, FoolboxAttack):
                find_attack(attack.class_name)
        self.device = next(self.model.parameters()).device
        shape = (2, self.channels, *self.size)
        example = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        self.working = working_copy(self.model, example, self.speedups)
        self.width = self.batch_size or self._fitting_width(example)

    def clean_predictions(self, images: Images, refs: Sequence[ImageRef]) -> Iterator[tuple[ImageRef, int | None]]:
        """What the untouched model sees in each image (None: no finite answer), in no particular order."""

        def ask(ref: ImageRef) -> Dialogue[tuple[ImageRef, int | None]]:
            predictions = yield from judge([self._picture(images, ref)])
            return ref, predictions[0]

        yield from self._conduct(refs, lambda ref: Task(ask(ref), Work()))

    def measure(
        self,
        images: Images,
        refs: Sequence[ImageRef],
        keep_adversarials_of: Collection[str] = (),
        clean: Mapping[str, int | None] | None = None,
    ) -> Iterator[Measured]:
        """Examine images, yielding each as it is done (not in order).

        Args:
            images: the set they belong to.
            refs: those to examine.
            keep_adversarials_of: ids whose adversarial picture is wanted.
            clean: clean predictions by id, where they are known; None asks for them.

        Raises:
            DataError: an image changed on disk.
            torch.OutOfMemoryError: at a given batch size, or for one image alone. A chosen batch size is halved, and
                what was under way is done again.
        """
        if clean is None:
            clean = {ref.id: prediction for ref, prediction in self.clean_predictions(images, refs)}

        def task(ref: ImageRef) -> Task[tuple[ImageRef, Measured]]:
            work = Work(forwards=1)  # the clean prediction
            return Task(self._examined(images, ref, clean[ref.id], work, ref.id in keep_adversarials_of), work)

        for _, measured in self._conduct(refs, task):
            yield measured

    def unrepeatable(self, images: Images) -> float:
        """Largest change of a logit between two runs of the same batch, relative to the largest logit; 0 is exact."""
        pictures = torch.stack([self._picture(images, ref) for ref in images.refs[: self.width]])
        with judging(self.model) as untouched, torch.no_grad():
            first, second = untouched(pictures), untouched(pictures)
        if not torch.equal(first.isfinite(), second.isfinite()):
            return float("inf")
        change = torch.nan_to_num((first - second).abs()).amax()
        return float(change / torch.nan_to_num(first.abs()).amax().clamp_min(1e-12))

    def _conduct(
        self, refs: Sequence[ImageRef], task: Callable[[ImageRef], Task[tuple[ImageRef, T]]]
    ) -> Iterator[tuple[ImageRef, T]]:
        """Run a task per image, with a smaller batch where memory runs out."""
        remaining = {ref.id: ref for ref in refs}
        while remaining:
            try:
                with judging(self.model) as untouched:
                    batches = Batches(self.working, untouched, self.width)
                    for ref, result in batches.run(task(ref) for ref in list(remaining.values())):
                        del remaining[ref.id]
                        yield ref, result
            except torch.OutOfMemoryError:
                if self.batch_size is not None or self.width == 1:
                    raise
                self.width //= 2

    def _examined(
        self, images: Images, ref: ImageRef, prediction: int | None, work: Work, keep: bool
    ) -> Dialogue[tuple[ImageRef, Measured]]:
        subject = Subject(self._picture(images, ref), images.label_index(ref), ref.sha256, prediction)
        findings = yield from examine(subject, self.plan, FoolboxRunner(self.working, self.device, work))
        row = _row(ref, findings, images.classes)
        if not keep:
            return ref, Measured(row, work, self.width)
        return ref, Measured(row, work, self.width, findings.adversarial, findings.adversarial_attack)

    def _picture(self, images: Images, ref: ImageRef) -> Tensor:
        return images.load(ref, self.size).to(self.device)

    def _fitting_width(self, example: Tensor) -> int:
        """The largest power-of-two batch that one gradient fits into, with as much again to spare."""
        if self.device.type == "cpu":
            return CPU_BATCH_SIZE
        width = CUDA_BATCH_SIZE
        while width > 1:
            try:
                x = example[:1].repeat(2 * width, 1, 1, 1).requires_grad_()
                torch.autograd.grad(self.working(x).sum(), x)
                return width
            except torch.OutOfMemoryError:
                width //= 2
        return width


def _row(ref: ImageRef, findings: Findings, classes: Sequence[str]) -> ImageRow:
    seen = findings.prediction
    return ImageRow(
        id=ref.id,
        sha256=ref.sha256,
        label=ref.label,
        prediction=None if seen is None else classes[seen],
        fooled_at=findings.fooled_at,
        raw_fooled_at=findings.raw_fooled_at,
        error=NO_FINITE_ANSWER if seen is None else None,
    )
