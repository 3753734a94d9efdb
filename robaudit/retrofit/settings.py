"""The settings of a retrofit, and which of them the source states."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from robaudit.errors import SettingsError
from robaudit.retrofit.loss import TextureTerm

Trains = Literal["all", "front", "front+head"]

# What Chen & Luo (2024) state. They give no alpha, optimiser, grey levels, width of T and C, or stopping criterion.
STATED: dict[str, Any] = {
    "epochs": 300,
    "learning_rate": 1e-4,
    "batch_size": 32,
    "patience": 30,
    "trains": "all",
    "patch": 20,
    "glcm_on": "color",
}

PRESETS: dict[str, dict[str, Any]] = {"paper": STATED}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what training does."""

    epochs: int = 15
    learning_rate: float = 1e-4
    batch_size: int = 32
    alpha: float = 0.9
    """Share of the cross-entropy; docs/assimilation.md says why."""
    patience: int = 5
    """Epochs without a lower validation loss before training stops."""
    trains: Trains = "all"
    texture: TextureTerm = field(default_factory=TextureTerm)
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            SettingsError: naming the setting, its value and its range.
        """
        _require("epochs", self.epochs, self.epochs >= 1, "at least 1")
        _require("learning rate", self.learning_rate, 0 < self.learning_rate < float("inf"), "above 0")
        _require("batch size", self.batch_size, self.batch_size >= 1, "at least 1")
        _require("alpha", self.alpha, 0 <= self.alpha <= 1, "between 0 and 1")
        _require("patience", self.patience, self.patience >= 1, "at least 1")
        _require("weight decay", self.weight_decay, 0 <= self.weight_decay < float("inf"), "0 or more")
        _require("levels", self.texture.levels, 2 <= self.texture.levels <= 256, "from 2 to 256")
        _require("patch", self.texture.patch, self.texture.patch >= 4, "at least 4, to hold pairs 3 apart")
        _require("trains", self.trains, self.trains in ("all", "front", "front+head"), "all, front or front+head")
        _require("rows", self.texture.rows, self.texture.rows in ("patches", "features"), "patches or features")
        _require("glcm-on", self.texture.glcm_on, self.texture.glcm_on in ("front", "color"), "front or color")

    def flat(self) -> dict[str, Any]:
        """Every setting under its own name; JSON scalars."""
        training = asdict(self)
        texture: dict[str, Any] = training.pop("texture")
        return training | texture

    def ours(self) -> tuple[str, ...]:
        """Names of the settings that the source does not state, or states otherwise."""
        return tuple(name for name, value in self.flat().items() if STATED.get(name) != value)


def train_config(preset: str | None = None, **chosen: Any) -> TrainConfig:
    """Settings from a preset, with those chosen (not None) taking precedence.

    Raises:
        SettingsError: the preset is unknown, or a value is out of range.
    """
    if preset is not None and preset not in PRESETS:
        raise SettingsError(f"preset {preset} is unknown; there is {', '.join(PRESETS)}")
    values = PRESETS.get(preset or "", {}) | {name: value for name, value in chosen.items() if value is not None}
    of_texture = {field.name for field in fields(TextureTerm)}
    texture = TextureTerm(**{name: value for name, value in values.items() if name in of_texture})
    return TrainConfig(texture=texture, **{name: value for name, value in values.items() if name not in of_texture})


def _require(name: str, value: object, fits: bool, wanted: str) -> None:
    if not fits:
        raise SettingsError(f"{name} is {value}, wanted {wanted}")
