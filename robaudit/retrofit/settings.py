"""The settings of a retrofit, and which of them the source states."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from torch import Tensor

from robaudit.errors import SettingsError
from robaudit.front.front import Modules
from robaudit.given import as_stated
from robaudit.retrofit.adversary import Adversary, Attack
from robaudit.retrofit.augment import AUGMENTATIONS
from robaudit.retrofit.loss import GlcmOn, Rows, TextureTerm
from robaudit.typed import flag

Trains = Literal["all", "front", "front+head", "network"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "bfloat16"]
FrontChoice = Literal[Modules, "none"]

OPTIMISER = "AdamW"
"""Of every training; the source names none."""

# What Chen & Luo (2024) state. They give no alpha, optimiser, grey levels, width of T and C, or stopping criterion.
STATED: dict[str, Any] = {
    "epochs": 300,
    "learning_rate": 1e-4,
    "front_learning_rate": 1e-4,
    "batch_size": 32,
    "patience": 30,
    "trains": "all",
    "front": "T+C",
    "patch": 20,
    "glcm_on": "color",
}

PRESETS: dict[str, dict[str, Any]] = {"paper": STATED}

ROBUST: dict[str, Any] = {"schedule": "cosine", "patience": 15}
"""What adversarial fine-tuning takes unless told otherwise: it gains most while the learning rate falls to zero, so
stopping early would cut off the best part."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what training does."""

    epochs: int = 15
    learning_rate: float = 1e-4
    front_learning_rate: float = 1e-3
    """Of T and C, which start from nothing where the network starts from what it knows."""
    schedule: Schedule = "constant"
    """Of both learning rates; `cosine` ends at zero after `epochs`."""
    batch_size: int = 32
    alpha: float = 0.9
    """Share of the cross-entropy; docs/assimilation.md says why."""
    patience: int = 5
    """Epochs without improvement on the validation images before training stops."""
    trains: Trains = "all"
    front: FrontChoice = "T+C"
    """Modules before the network; `none` fine-tunes the network alone, without texture term: the honest rival."""
    tint: bool = False
    """C can colour pure black and white too."""
    random_front: bool = False
    """T and C start at random instead of changing nothing: with trains=network, the ablation of their training."""
    augment: str = ""
    """Names out of `AUGMENTATIONS`, separated by commas."""
    class_weights: str = ""
    """`balanced`, or a weight per class in the order of the model's outputs; empty for none."""
    precision: Precision = "float32"
    """Of the network's passes in training; T, C, texture and all of validation stay in float32."""
    weight_decay: float = 0.0
    seed: int = 0
    texture: TextureTerm = field(default_factory=TextureTerm)
    adversary: Adversary = field(default_factory=Adversary)

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            SettingsError: naming the option, its value and its range.
        """
        texture, adversary = self.texture, self.adversary
        _require("--epochs", self.epochs, self.epochs >= 1, "at least 1")
        _require("--lr", self.learning_rate, 0 < self.learning_rate < float("inf"), "above 0")
        front_rate = self.front_learning_rate
        _require("--front-lr", front_rate, 0 < front_rate < float("inf"), "above 0")
        _require("--batch-size", self.batch_size, self.batch_size >= 1, "at least 1")
        _require("--alpha", self.alpha, 0 <= self.alpha <= 1, "between 0 and 1")
        _require("--patience", self.patience, self.patience >= 1, "at least 1")
        _require("--seed", self.seed, 0 <= self.seed < 2**63, "from 0 to 2^63 - 1")
        _require("--weight-decay", self.weight_decay, 0 <= self.weight_decay < float("inf"), "0 or more")
        _require("--levels", texture.levels, 2 <= texture.levels <= 256, "from 2 to 256")
        _require("--patch", texture.patch, texture.patch >= 4, "at least 4, to hold pairs 3 apart")
        _require("--robust-eps", adversary.robust_eps_255, 1 <= adversary.robust_eps_255 <= 255, "from 1 to 255")
        _require("--robust-steps", adversary.robust_steps, adversary.robust_steps >= 1, "at least 1")
        _require("--val-steps", adversary.val_steps, adversary.val_steps >= 1, "at least 1")
        _require("--trades-beta", adversary.trades_beta, 0 <= adversary.trades_beta < float("inf"), "0 or more")
        _require_one_of("--trains", self.trains, get_args(Trains))
        _require_one_of("--schedule", self.schedule, get_args(Schedule))
        _require_one_of("--precision", self.precision, get_args(Precision))
        _require_one_of("--front", self.front, (*get_args(Modules), "none"))
        _require_one_of("--rows", texture.rows, get_args(Rows))
        _require_one_of("--glcm-on", texture.glcm_on, get_args(GlcmOn))
        _require_one_of("--robust-by", adversary.robust, get_args(Attack))
        for name in self.augmentations:
            _require_one_of("--augment", name, AUGMENTATIONS)
        if self.front == "none" and (self.alpha < 1 or self.trains in ("front", "front+head") or self.random_front):
            raise SettingsError(
                "--front none: without T and C there is no texture term, and no front to train or to start at random; "
                "leave --alpha, --trains and --random-front out"
            )

    @property
    def texture_kept(self) -> Callable[[Tensor], Tensor] | None:
        """What the texture of an image is measured by, (B, C, H, W) -> (B, N, 40); None without texture term."""
        return self.texture.features if self.alpha < 1 else None

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Names of the augmentations."""
        return tuple(name for name in self.augment.split(",") if name)

    @property
    def rates(self) -> dict[str, float]:
        """The learning rates in use, by their option."""
        rates = {"learning_rate": self.learning_rate, "front_learning_rate": self.front_learning_rate}
        return {_FLAGS[name]: rate for name, rate in rates.items() if name not in self.idle()}

    def flat(self) -> dict[str, Any]:
        """Every setting under its own name; JSON scalars."""
        settings = asdict(self)
        texture: dict[str, Any] = settings.pop("texture")
        adversary: dict[str, Any] = settings.pop("adversary")
        return settings | texture | adversary

    def ours(self) -> tuple[str, ...]:
        """Names of the settings in use that the source does not state, or states otherwise."""
        idle = self.idle()
        chosen = (name for name, value in self.flat().items() if name not in idle and STATED.get(name) != value)
        return "optimiser", *chosen

    def idle(self) -> dict[str, str]:
        """Settings that nothing looks at, given the others, and why; in words that go on from `--name value: `."""
        idle: dict[str, str] = {}
        front, robust = self.front, self.adversary.robust
        if self.trains == "front":
            idle["learning_rate"] = "is the network's, which --trains front leaves as it is; use --front-lr"
        if front == "none" or self.trains == "network":
            who = "--front none leaves out" if front == "none" else "--trains network leaves as they are"
            idle["front_learning_rate"] = f"is that of T and C, which {who}; leave it out"
        if front == "none":
            idle["random_front"] = "is how T and C start, which --front none leaves out; leave it out"
        if front != "T+C":
            idle["glcm_on"] = f"tells C(T(X)) from C(X), and --front {front} has not both T and C; leave it out"
        if front in ("T", "none"):
            idle["tint"] = f"is what C may do, and --front {front} has no C; leave it out"
        if self.alpha == 1:
            idle |= dict.fromkeys(
                OF_TEXTURE, "is of the texture term, which --alpha 1 is without; leave one of them out"
            )
        if not self.adversary.on:
            idle |= dict.fromkeys(_OF_ADVERSARY, "is for adversarial training; add --robust")
        elif robust != "trades":
            idle["trades_beta"] = f"is for --robust-by trades, not {robust}"
        return idle


OF_TEXTURE = tuple(field.name for field in fields(TextureTerm))
"""Names of the settings of the texture term."""
_OF_ADVERSARY = tuple(field.name for field in fields(Adversary))

PASSED_OVER = ("front_learning_rate", *OF_TEXTURE)
"""What `--front none` passes over and names, so that one command serves both sides of a comparison."""


def train_config(preset: str | None = None, **chosen: Any) -> TrainConfig:
    """Settings from a preset, with those chosen (not None) taking precedence.

    Raises:
        SettingsError: the preset or a setting is unknown, a value is of another kind or out of range, or nothing would
            look at it.
    """
    if preset is not None and preset not in PRESETS:
        raise SettingsError(f"--preset {preset}: is unknown; there is {', '.join(PRESETS)}")
    if unknown := sorted(chosen.keys() - SETTINGS):
        raise SettingsError(
            f"{', '.join(unknown)}: is no setting of a training; there are {', '.join(sorted(SETTINGS))}"
        )
    chosen = {name: _as_stated(name, value) for name, value in chosen.items() if value is not None}
    values = PRESETS.get(preset or "", {})
    if chosen.get("robust", "none") != "none":
        values = ROBUST | values  # what a preset says was asked for by its name
    if chosen.get("front") == "none":
        values = values | {"alpha": 1.0}
    values = values | chosen
    texture, adversary = (_taken(values, kind) for kind in (TextureTerm, Adversary))
    config = TrainConfig(texture=texture, adversary=adversary, **values)
    _require_use(config, chosen)
    return config


def _require_use(config: TrainConfig, chosen: Mapping[str, Any]) -> None:
    """Refuse what somebody chose and nothing would look at: they would believe that another model was trained."""
    passed_over = PASSED_OVER if config.front == "none" else ()
    for name, why in config.idle().items():
        if name in chosen and name not in passed_over and not _is_off(name, chosen[name]):
            raise SettingsError(f"{_in_words(name, chosen[name])}: {why}")


def _is_off(name: str, value: object) -> bool:
    """Whether a setting that can be switched on is off: nothing was asked for."""
    return (name, value) in (("tint", False), ("random_front", False), ("robust", "none"))


_FLAGS = {
    "learning_rate": "--lr",
    "front_learning_rate": "--front-lr",
    "robust": "--robust-by",
    "scaled": "--raw-features",
}
"""Options that are not called as their setting is."""


def _in_words(name: str, value: object) -> str:
    option = _FLAGS.get(name) or f"--{name.removesuffix('_255').replace('_', '-')}"
    if isinstance(value, bool):
        return option
    return flag(option, _said(value))


def _as_stated(name: str, value: object) -> object:
    """A number or text as the setting states it; names out of a few are told apart by `TrainConfig` itself."""
    kind = _KINDS[name]
    return as_stated(name, value, kind) if kind in (int, float, str, bool) else value


def _taken(values: dict[str, Any], kind: type[Any]) -> Any:
    """An instance of the dataclass `kind` made of its fields among `values`, which lose them."""
    return kind(**{field.name: values.pop(field.name) for field in fields(kind) if field.name in values})


def _require(name: str, value: object, fits: bool, wanted: str) -> None:
    if not fits:
        raise SettingsError(f"{flag(name, _said(value))}: wanted {wanted}")


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _require_one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    *others, last = allowed
    _require(name, value, value in allowed, f"{', '.join(others)} or {last}")


_KINDS = {setting.name: setting.type for kind in (TrainConfig, TextureTerm, Adversary) for setting in fields(kind)}
SETTINGS = frozenset(TrainConfig().flat())
"""Names of all settings that `train_config` takes."""
