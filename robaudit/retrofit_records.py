"""What a retrofit leaves on record, as frozen data, for who writes it and who reads it. A leaf: no torch."""

from datetime import datetime
from statistics import median
from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from robaudit.records import Count, DataInfo, Environment, Eps255, FileRef, ModelInfo, Record, Scalar

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PICTURES_FOLDER = "pictures"


class Readable(Record):
    """A file of a retrofit, or a line of one."""

    @classmethod
    def read(cls, json: str | bytes) -> Self:
        """Read what some robaudit wrote; what a later one wrote besides is passed over.

        Raises:
            ValidationError: something that is known here is missing, or no such thing.
        """
        return cls.model_validate_json(json, extra="ignore")


class Losses(Record):
    """The loss and its parts, mean per image."""

    total: float
    cross_entropy: float
    texture: float
    """Zero where alpha is 1: then it is not computed."""
    divergence: float = 0.0
    """Of the perturbed from the clean answers, weighted by beta; zero but under TRADES."""


class Counted(Record):
    """Answers on the validation images."""

    n_correct: Count
    n_images: Count

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.n_correct > self.n_images:
            raise ValueError(f"{self.n_correct} correct are more than {self.n_images} images")
        return self


class UnderAttack(Counted):
    """What the model does on the validation images under PGD, from the same random starts in every epoch."""

    cross_entropy: float
    eps_255: Eps255
    steps: Count
    n_correct_single_step: Count | None = None
    """The same under the single step that fast FGSM trains against; measured before training and after its first epoch,
    where there is no best epoch yet to fall below."""
    n_correct_of_class: tuple[Count, ...] = ()
    """`n_correct` by class, in the order of the model's outputs; empty in older records."""


class Validation(Counted):
    """What the model does on the validation images."""

    losses: Losses
    saturated: float | None
    """Share of T's and C's amounts at their bound, where training can hardly move them; null without T and C."""
    under_attack: UnderAttack | None = None
    """Null unless training is adversarial."""


class EpochMetrics(Readable):
    """One line of metrics.jsonl. Epoch 0 is the model before the first step."""

    epoch: Count
    train: Losses | None
    """Null for epoch 0. Measured while the weights change, so not comparable to `val` to the last digit."""
    val: Validation
    seconds: float
    worst_patch: Count | None
    """The patch (row by row) that most often had the largest texture change in training; null at alpha 1."""
    worst_feature: str | None
    """The feature that most often dominated that change, such as `contrast@45`."""
    learning_rate: float | None = None
    """Of the network, or of T and C where these alone train, at the end of the epoch; null for epoch 0."""
    attack: str | None = None
    """What training faced; null for epoch 0 and for training on clean images."""
    fell_back: bool = False
    """Whether fast FGSM was found blind after this epoch: its weights were dropped, and PGD took over."""


class ModelDiagnostics(Record):
    """One model on the images."""

    attention_share: tuple[float | None, ...]
    """Per image, share of pixels that holds `held` of the input gradient; null where it is zero everywhere."""
    curvature: tuple[float, ...] = Field(min_length=1)
    """Per image, eigenvalue of largest size of the Hessian of the loss."""
    surface: tuple[tuple[float, ...], ...]
    """Mean loss; adversarial direction down, random direction across, in steps of `steps_255`."""

    @property
    def median_attention_share(self) -> float | None:
        """Over the images that have one; None where none has."""
        shares = [share for share in self.attention_share if share is not None]
        return median(shares) if shares else None

    @property
    def sharpness(self) -> float:
        """Median curvature by size: a loss that bends sharply downwards is no flatter for it."""
        return median(map(abs, self.curvature))


class FeatureMoved(Record):
    """One texture feature, in units of grey levels: means over images, their patches and the orientations."""

    original: float
    """Of the images as the model is given them."""
    after_texture: float | None
    """After T; null where there is none."""
    after_colour: float | None
    """After T and C, in grey; null where there is no C."""
    moved: float
    """How far what the network sees is from the image, patch by patch: the mean absolute difference. It is larger than
    the difference of the means where some patches gain what others lose."""

    @property
    def seen(self) -> float:
        """Of what the network sees."""
        stages = (self.after_colour, self.after_texture, self.original)
        return next(value for value in stages if value is not None)


class TextureMoved(Record):
    """What T and C do to the second-order texture of validation images."""

    n_images: PositiveInt
    levels: Count
    """Grey levels of the co-occurrence matrix."""
    patch: Count
    """Side of a patch in pixels."""
    distance: Count
    """Between the pixels of a pair."""
    features: dict[str, FeatureMoved] = Field(min_length=1)
    """asm, contrast, homogeneity, correlation, dissimilarity."""


class ToneCurve(Record):
    """What the network sees of pictures of one grey each, in levels of 255, as the mean over its channels."""

    grey: tuple[Count, ...] = Field(min_length=2)
    seen: tuple[float, ...] = Field(min_length=2)


class Diagnostics(Readable):
    """diagnostics.json: the same validation images before and after the retrofit."""

    format_version: int = 1
    image_ids: tuple[str, ...] = Field(min_length=1)
    held: float
    steps_255: tuple[int, ...]
    before: ModelDiagnostics
    after: ModelDiagnostics
    texture: TextureMoved | None = None
    """Null without T and C."""
    tone: ToneCurve | None = None
    """Likewise."""
    pictures: dict[str, str]
    """Paths relative to the folder: `surface-before`, `attention-after-0`, ... and `original-0`, ..."""


class TrainingRecord(Readable):
    """training.json: how a retrofitted model came about."""

    format_version: Literal[1] = 1
    robaudit_version: str
    created: datetime
    settings: dict[str, Scalar]
    ours: tuple[str, ...]
    """Settings that the source (arXiv 2402.16005) does not state, or states otherwise."""
    optimiser: str = "AdamW"
    """Older records do not name it, and theirs was this."""
    idle: tuple[str, ...] = ()
    """Settings that nothing looked at, given the others."""
    vanilla: ModelInfo
    """The model before the retrofit."""
    train: DataInfo
    val: DataInfo
    modules: str
    """`T+C`, `T` (always for a one-channel backbone), `C`, or `none`: the network alone was fine-tuned."""
    stopped: Literal["epochs", "patience", "nan"]
    """What ended training: all epochs done, no improvement for `patience` epochs, or a loss that is not finite."""
    n_epochs: Count
    """Completed epochs."""
    best: EpochMetrics
    """The epoch whose weights were kept: the lowest validation loss; in adversarial training, most validation images
    correct under attack (each weighed by its class where classes have weights), then the lowest loss there."""
    weights: FileRef
    config: FileRef | None = None
    """config.json; null in records of older versions."""
    seconds: float
    """Of training, the time before an interruption included."""
    engine: Literal["local", "ray"] = "local"
    """Who trained: one process, or workers of a Ray cluster."""
    workers: Count = 1
    """Processes that shared every batch, when training ended."""
    environment: Environment
