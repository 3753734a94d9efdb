"""Groups of options that several commands take: one parameter of the command, an option each on the command line."""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

from robaudit.cli import options


@dataclass(frozen=True)
class ModelOptions:
    """What a person says of the model."""

    arch: options.Arch = None
    factory: options.Factory = None
    trust: options.Trust = None
    weights: options.Weights = None
    output: options.Output = None
    label_index: options.LabelIndex = None
    threshold: options.Threshold = None
    classes: options.Classes = None
    mean: options.Mean = None
    std: options.Std = None
    normalization: options.NormalizationPreset = None
    input_size: options.InputSize = None

    def given(self) -> dict[str, Any]:
        """What was said, as keywords of the library.

        Raises:
            SettingsError: something in it is not what its option takes.
        """
        read = vars(self) | {
            "classes": options.names(self.classes),
            "mean": options.numbers("--mean", self.mean),
            "std": options.numbers("--std", self.std),
            "input_size": options.size(self.input_size),
        }
        return {name: value for name, value in read.items() if value is not None}


@dataclass(frozen=True)
class ViewOptions:
    """How images are shown to the model."""

    invert: options.Invert = False
    bgr: options.Bgr = False
    transpose: options.Transpose = False
    resize: options.Resize = "stretch"
    slice_: options.Slice = None
    window: options.Window = None

    def view(self) -> Any:
        """The `View` of it.

        Raises:
            SettingsError: something in it is not what its option takes.
        """
        from robaudit.data.resizing import RESIZES
        from robaudit.data.view import View

        return View(
            self.invert,
            self.bgr,
            self.transpose,
            options.choice("--resize", self.resize, *RESIZES),
            options.volume_slice(self.slice_),
            options.window_of(self.window),
        )


GROUPS = (ModelOptions, ViewOptions)


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer has to see it: in place of each group the options that are in it."""
    parameters = signature(command).parameters
    kinds: dict[str, Any] = {name: parameter.annotation for name, parameter in parameters.items()}
    groups = {name: kind for name, kind in kinds.items() if kind in GROUPS}

    @wraps(command)
    def of_options(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    seen = [option for parameter in parameters.values() for option in _options_of(parameter)]
    of_options.__signature__ = Signature(seen)  # type: ignore[attr-defined]
    return of_options


def _options_of(parameter: Parameter) -> Iterator[Parameter]:
    if parameter.annotation not in GROUPS:
        yield parameter
        return
    for field in fields(parameter.annotation):
        assert field.default is not MISSING, "an option of a group is one that may be left out"
        yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
