"""The curve engine: classifier x images x plan -> one row per image, as each is done.

Images stream: only those being worked on are in memory, and their adversarials are dropped unless asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from robaudit.attack.batching import (
    Batches,
    Dialogue,
    Logits,
    Sight,
    Task,
    UnanswerableError,
    Work,
    gradients_at,
    query,
)
from robaudit.attack.climb import Adversarial, Target
from robaudit.attack.examine import Findings, examine, fooled_from_the_start, outside_by, survives_rounding
from robaudit.attack.foolbox_adapter import FoolboxRunner, find_attack
from robaudit.attack.prepare import (
    Speedups,
    StraightThrough,
    fingerprint,
    in_bfloat16,
    judging,
    unasked_copy,
    working_copy,
)
from robaudit.attack.threats import AnyAttack, Attack, FoolboxAttack, Source
from robaudit.attack.trial import Plan, smallest_eps
from robaudit.data.images import ImageRef, Images
from robaudit.errors import ModelError, SettingsError, first_line
from robaudit.float32 import true_float32
from robaudit.load.classifier import Classifier
from robaudit.load.features import last_layer
from robaudit.memory import OUT_OF_MEMORY, ran_out
from robaudit.progress import Progress, Silent
from robaudit.records import ImageRow, Observed

CPU_BATCH_SIZE = 8
"""Per-image cost is flat from 8 up on CPUs, and a small batch wastes least while the last images finish."""
CUDA_BATCH_SIZE = 64
"""First try on a GPU; halved until it fits. In twice that a gradient costs as much, and few images cannot fill it."""

NO_FINITE_ANSWER = "the model gave no finite answer"

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """One image's row, what it cost, and its adversarial where that was asked for."""

    row: ImageRow
    work: Work
    batch_size: int
    """Of the batches it was measured in."""
    observed: Observed | None = None
    adversarial: Adversarial | None = None
    adversarial_attack: str | None = None


@dataclass(frozen=True)
class Pursued:
    """What one more attack found for an image."""

    found_255: int | None
    """Smallest eps that fooled; None: none of those tried."""
    adversarial: Adversarial | None
    """What fooled below the eps known before; None where nothing did."""
    work: Work
    batch_size: int
    """Padded batch shape that the image was asked in at last."""
    unfinished: Mapping[str, bool] = field(default_factory=dict)
    """Attack -> whether its last climb was still rising, where it was resisted; as `Target` has it."""
    refused: Mapping[str, bool] = field(default_factory=dict)
    """Attack -> whether it had fooled what it follows by then, and not the model; likewise."""
    excess: float = 0.0
    """How far the worst picture is outside its ball or [0, 1]; at most rounding."""
    realisable: bool | None = None
    """Whether `adversarial` still fools after rounding to the file's own grey levels; None where there is none."""
    error: str | None = None
    """Why there is no answer, where there is none."""


@dataclass(frozen=True)
class Said(Generic[T]):
    """What came of a dialogue with one image."""

    answer: T | None
    """None also where the model fails on what it was asked about."""
    work: Work
    error: str | None = None
    """Why it fails, where it does."""


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
    surrogate: nn.Module | None = None
    """Another model of the same pixels and classes, for attacks that transfer."""
    progress: Progress = field(default_factory=Silent)
    """Told what the model is asked, and where memory ran out."""
    n_images: int | None = None
    """Images there will be, where that is known: a wider batch would never be full."""

    @true_float32()
    def __post_init__(self) -> None:
        """Prepare the working copies, and find a batch shape that fits.

        Raises:
            SettingsError: foolbox has no such attack, it does not belong in an L-inf audit, or an attack looks behind
                the answers of a model that does nothing to them after its last layer; or batches of no image.
        """
        if self.batch_size is not None and self.batch_size < 1:
            raise SettingsError(f"--batch-size {self.batch_size}: wanted 1 or more")
        for attack in self.plan.attacks:
            if isinstance(attack, FoolboxAttack):
                find_attack(attack.class_name)
        self.device = next(chain(self.model.parameters(), self.model.buffers())).device
        shape = (2, self.channels, *self.size)
        self.example = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        """Two pictures of noise, to try things on."""
        self.unasked = unasked_copy(self.model)
        """The model as it is before it is asked anything."""
        self.exact = working_copy(self.model, self.example, replace(self.speedups, bfloat16=False))
        """The working copy in float32, as a module."""
        self.sources = self._working_copies()
        for attack in self.plan.attacks:
            if isinstance(attack, Attack) and attack.source is Source.HEAD and not self.has_head:
                raise SettingsError(
                    f"--attacks {attack.name}: looks behind what is done to the answers of the last linear layer, and "
                    "this model does nothing to them; leave it out"
                )
        width = self.batch_size or self._fitting_width()
        self.width = min(width, self.n_images or width)

    @property
    def has_head(self) -> bool:
        """Whether the model does something to the answers of its last linear layer, which attacks may look behind."""
        return Source.HEAD in self.sources

    def clean_sights(self, images: Images, refs: Sequence[ImageRef]) -> Iterator[tuple[ImageRef, Sight]]:
        """What the untouched model sees in each image, in no particular order."""

        def ask(ref: ImageRef) -> Dialogue[tuple[ImageRef, Sight]]:
            try:
                (seen,) = yield from query([self.picture(images, ref)])
            except UnanswerableError as error:
                seen = Sight((), None, self._blamed(error))
            return ref, seen

        yield from self._conduct(refs, lambda ref: Task(ask(ref), Work(), ref.id))

    def measure(
        self,
        images: Images,
        refs: Sequence[ImageRef],
        keep_adversarials_of: Collection[str] = (),
        clean: Mapping[str, Sight] | None = None,
    ) -> Iterator[Measured]:
        """Examine images, yielding each as it is done (not in order).

        Args:
            images: the set they belong to.
            refs: those to examine.
            keep_adversarials_of: ids whose adversarial picture is wanted.
            clean: what the untouched model sees, by id, where that is known; None asks for it.

        Raises:
            DataError: an image changed on disk.
            SettingsError: memory ran out at a given batch size. A chosen one is halved, and what was under way is done
                again; an image that needs more memory than there is counts as an error.
        """
        if clean is None:
            clean = {ref.id: seen for ref, seen in self.clean_sights(images, refs)}

        def task(ref: ImageRef) -> Task[tuple[ImageRef, Measured]]:
            work = Work(forwards=1)  # the clean prediction
            examined = self._examined(images, ref, clean[ref.id], work, ref.id in keep_adversarials_of)
            return Task(examined, work, ref.id)

        for _, measured in self._conduct(refs, task):
            yield measured

    def pursue(
        self,
        images: Images,
        attack: AnyAttack,
        worst_255: Mapping[str, int | None],
        clean: Mapping[str, Sight],
        *,
        ties: bool = False,
    ) -> Iterator[tuple[ImageRef, Pursued]]:
        """Run one more attack on the images of `worst_255`, below the eps at which each fell (None: it stood).

        With `ties` at that eps too: so that it can be told whether the attack needs no more than others did.
        """

        def pursuit(ref: ImageRef, target: Target, work: Work) -> Dialogue[Pursued]:
            worst, foolbox = worst_255[ref.id], self._foolbox(ref, work)
            found = yield from smallest_eps(target, attack, self.plan, foolbox, worst, ties=ties)
            smallest = min(found, default=None)
            adversarial = None if smallest is None or smallest == worst else found[smallest]
            excess = max((outside_by(target, one, eps_255) for eps_255, one in found.items()), default=0.0)
            realisable = yield from survives_rounding(target, adversarial, ref.levels)
            seen = target.unfinished, target.refused, excess, realisable
            return Pursued(smallest, adversarial, work, self.width, *seen)

        for ref, said in self.interview(images, worst_255.keys(), clean, pursuit):
            yield ref, said.answer or Pursued(0, None, said.work, self.width, error=said.error)

    def interview(
        self,
        images: Images,
        ids: Collection[str],
        clean: Mapping[str, Sight],
        dialogue: Callable[[ImageRef, Target, Work], Dialogue[T]],
    ) -> Iterator[tuple[ImageRef, Said[T]]]:
        """Conduct a dialogue of one's own with each of these images, in no particular order."""

        def told(ref: ImageRef, work: Work) -> Dialogue[tuple[ImageRef, Said[T]]]:
            try:
                answer = yield from dialogue(ref, self._target(images, ref, clean[ref.id]), work)
            except UnanswerableError as error:
                return ref, Said(None, work, self._blamed(error))
            return ref, Said(answer, work)

        def task(ref: ImageRef) -> Task[tuple[ImageRef, Said[T]]]:
            work = Work()
            return Task(told(ref, work), work, ref.id)

        yield from self._conduct([ref for ref in images.refs if ref.id in ids], task)

    def failed(self, ref: ImageRef, work: Work, why: str) -> Measured:
        """An image that could not be attacked to the end: it has withstood nothing."""
        row = _row(ref, fooled_from_the_start(None, self.plan), (), why)
        return Measured(row, work, self.width)

    def _blamed(self, error: UnanswerableError) -> str:
        """Why an image has no answer; a model that fails on noise too, as on a GPU that crashed, ends the scan.

        Raises:
            ModelError: it is not the image.
        """
        x = self.example[:1].clone().requires_grad_()
        self.progress.asking([error.image])
        try:
            with torch.no_grad():
                self.model(x)
            for source in self.sources.values():
                gradients_at(x, source(x).sum(1))
        except Exception as again:
            raise ModelError(f"{error}. It fails on noise too ({first_line(again)})") from again
        finally:
            self.progress.asking(())
        return error.why

    def picture(self, images: Images, ref: ImageRef) -> Tensor:
        """Pixels (C, H, W) of an image, as the model gets them."""
        return images.load(ref, self.size).to(self.device)

    def state(self) -> str:
        """What an audit must leave as it was, as a hash."""
        return fingerprint(self.model)

    def close(self) -> None:
        """Nothing is held."""

    def _working_copies(self) -> dict[Source, Logits]:
        """What gradients are taken from; a surrogate, and a way past the front, where there is one."""
        copies: dict[Source, Logits] = {Source.MODEL: self.exact}
        if self.surrogate is not None:
            copies[Source.SURROGATE] = working_copy(self.surrogate, self.example, self.speedups)
        if isinstance(self.model, Classifier) and self.model.front is not None:
            copies[Source.BPDA] = working_copy(StraightThrough(self.model), self.example, self.speedups)
        fast = {source: in_bfloat16(copy) if self.speedups.bfloat16 else copy for source, copy in copies.items()}
        head = last_layer(self.exact, self.example)  # in float32: checks look at how smooth it is
        return {Source.EXACT: self.exact, **fast, **({} if head is None else {Source.HEAD: head})}

    def _conduct(
        self, refs: Sequence[ImageRef], task: Callable[[ImageRef], Task[tuple[ImageRef, T]]]
    ) -> Iterator[tuple[ImageRef, T]]:
        """Run a task per image, with a smaller batch where memory runs out."""
        remaining = {ref.id: ref for ref in refs}
        while remaining:
            try:
                with judging(self.model) as untouched:
                    batches = Batches(self.sources, untouched, self.width, self.progress)
                    for ref, result in batches.run(task(ref) for ref in list(remaining.values())):
                        del remaining[ref.id]
                        yield ref, result
            except Exception as error:
                if not ran_out(error):
                    raise
                self._halve()

    def _halve(self) -> None:
        """Go on with smaller batches.

        Raises:
            SettingsError: the person asked for this batch size.
            ModelError: there is no smaller one.
        """
        if self.width == 1:
            raise ModelError(f"the model: {OUT_OF_MEMORY} on a single image; free memory, or use a larger machine")
        if self.batch_size is not None:
            raise SettingsError(
                f"--batch-size {self.batch_size}: {OUT_OF_MEMORY}; pass a smaller one, or none to have it chosen"
            )
        self.width //= 2
        self.progress.say(
            f"{OUT_OF_MEMORY}: going on in batches of {self.width}; images under way are done again, and the record "
            "says so"
        )

    def _examined(
        self, images: Images, ref: ImageRef, clean: Sight, work: Work, keep: bool
    ) -> Dialogue[tuple[ImageRef, Measured]]:
        if clean.error:
            return ref, self.failed(ref, work, clean.error)
        try:
            target = self._target(images, ref, clean)
            findings = yield from examine(target, clean, ref.levels, self.plan, self._foolbox(ref, work))
        except UnanswerableError as error:
            return ref, self.failed(ref, work, self._blamed(error))
        row = _row(ref, findings, images.classes)
        kept = (findings.adversarial, findings.adversarial_attack) if keep else ()
        return ref, Measured(row, work, self.width, findings.observed, *kept)

    def _target(self, images: Images, ref: ImageRef, clean: Sight) -> Target:
        return Target(self.picture(images, ref), images.label_index(ref), ref.sha256, self.plan.seed, clean.logits)

    def _foolbox(self, ref: ImageRef, work: Work) -> FoolboxRunner:
        # They stop where their own copy errs: at a border that bfloat16 draws elsewhere, the model itself would not.
        return FoolboxRunner(self.sources[Source.EXACT], self.device, work, ref.id, self.progress)

    def _fitting_width(self) -> int:
        """The largest power-of-two batch that one gradient fits into, with as much again to spare."""
        if self.device.type == "cpu":
            return CPU_BATCH_SIZE
        width = CUDA_BATCH_SIZE
        while width > 1:
            try:
                x = self.example[:1].repeat(2 * width, 1, 1, 1).requires_grad_()
                gradients_at(x, self.exact(x).sum(1))
                return width
            except Exception as error:
                if not ran_out(error):
                    raise
                width //= 2
        return width


def _row(ref: ImageRef, findings: Findings, classes: Sequence[str], error: str = NO_FINITE_ANSWER) -> ImageRow:
    """The record of an image; `error` is why there is no prediction, where there is none."""
    seen = findings.prediction
    return ImageRow(
        id=ref.id,
        sha256=ref.sha256,
        label=ref.label,
        prediction=None if seen is None else classes[seen],
        fooled_at=findings.fooled_at,
        raw_fooled_at=findings.raw_fooled_at,
        error=error if seen is None else None,
    )
