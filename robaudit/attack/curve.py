"""The curve engine: classifier x images x plan -> one row per image, as each is done.

Images stream: only those being worked on are in memory, and their adversarials are dropped unless asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robaudit.attack.batching import Batches, Dialogue, Judge, Task, Work
from robaudit.attack.examine import Findings, Plan, Subject, examine
from robaudit.attack.foolbox_adapter import FoolboxRunner
from robaudit.attack.prepare import Speedups, judging, working_copy
from robaudit.load.images import ImageRef, Images
from robaudit.records import ImageRow

CPU_BATCH_SIZE = 8
"""Per-image cost is flat from 8 up on CPUs, and a small batch wastes least while the last images finish."""
CUDA_BATCH_SIZE = 512
"""First try on a GPU; halved until it fits."""

NO_FINITE_ANSWER = "the model gave no finite answer"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """One image's row, and its adversarial picture where it was asked for."""

    row: ImageRow
    adversarial: Tensor | None
    adversarial_attack: str | None
    work: Work


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
        """Prepare the working copy, and find a batch shape that fits."""
        self.device = next(self.model.parameters()).device
        shape = (2, self.channels, *self.size)
        example = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        with judging(self.model):
            self.working = working_copy(self.model, example, self.speedups)
            self.width = self.batch_size or self._fitting_width(example)

    def measure(
        self, images: Images, refs: Sequence[ImageRef], keep_adversarials_of: Collection[str] = ()
    ) -> Iterator[Measured]:
        """Examine images, yielding each as it is done (not in order).

        Args:
            images: the set they belong to.
            refs: those to examine.
            keep_adversarials_of: ids whose adversarial picture is wanted.

        Raises:
            DataError: an image changed on disk.
            torch.OutOfMemoryError: on one image alone; before that, the batch is halved and what was under way redone.
        """
        remaining = {ref.id: ref for ref in refs}
        while remaining:
            try:
                for ref, findings, work in self._run(images, list(remaining.values())):
                    del remaining[ref.id]
                    keep = ref.id in keep_adversarials_of
                    yield Measured(
                        _row(ref, findings, images.classes),
                        findings.adversarial if keep else None,
                        findings.adversarial_attack if keep else None,
                        work,
                    )
            except torch.OutOfMemoryError:
                if self.width == 1:
                    raise
                self.width //= 2
                _log.warning("out of memory: batch halved to %d", self.width)

    def clean_predictions(self, images: Images, refs: Sequence[ImageRef]) -> Iterator[tuple[ImageRef, int | None]]:
        """What the untouched model sees in each image (None: no finite answer)."""

        def ask(ref: ImageRef) -> Dialogue[tuple[ImageRef, int | None]]:
            predictions = yield Judge([self._picture(images, ref)])
            assert predictions is not None
            return ref, predictions[0]

        with judging(self.model) as judge:
            yield from Batches(self.working, judge, self.width).run(Task(ask(ref), Work()) for ref in refs)

    def _run(self, images: Images, refs: Sequence[ImageRef]) -> Iterator[tuple[ImageRef, Findings, Work]]:
        def task(ref: ImageRef) -> Task[tuple[ImageRef, Findings, Work]]:
            work = Work()
            return Task(self._examined(images, ref, work), work)

        with judging(self.model) as judge:
            yield from Batches(self.working, judge, self.width).run(task(ref) for ref in refs)

    def _examined(self, images: Images, ref: ImageRef, work: Work) -> Dialogue[tuple[ImageRef, Findings, Work]]:
        subject = Subject(self._picture(images, ref), images.label_index(ref), ref.sha256)
        findings = yield from examine(subject, self.plan, FoolboxRunner(self.working, self.device, work))
        return ref, findings, work

    def _picture(self, images: Images, ref: ImageRef) -> Tensor:
        return images.load(ref, self.size).to(self.device)

    def _fitting_width(self, example: Tensor) -> int:
        """The largest power-of-two batch that one gradient fits into."""
        if self.device.type == "cpu":
            return CPU_BATCH_SIZE
        width = CUDA_BATCH_SIZE
        while width > 1:
            try:
                x = example[:1].repeat(width, 1, 1, 1).requires_grad_()
                torch.autograd.grad(self.working(x).sum(), x)
                return width
            except torch.OutOfMemoryError:
                width //= 2
        return width


def _row(ref: ImageRef, findings: Findings, classes: Sequence[str]) -> ImageRow:
    answered = findings.prediction is not None
    return ImageRow(
        id=ref.id,
        sha256=ref.sha256,
        label=ref.label,
        prediction=classes[findings.prediction] if findings.prediction is not None else None,
        fooled_at=findings.fooled_at,
        raw_fooled_at=findings.raw_fooled_at,
        error=None if answered else NO_FINITE_ANSWER,
    )
