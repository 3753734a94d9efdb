"""What a public function is given from Python, held against what it says it takes. A leaf."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, validate_call

from robaudit.errors import SettingsError

P = ParamSpec("P")
R = TypeVar("R")

_CONFIG = ConfigDict(arbitrary_types_allowed=True)  # networks, and who is told of progress
_FAULTS = {
    "unexpected_keyword_argument": "is no argument here",
    "unexpected_positional_argument": "is given by name alone",
    "missing_keyword_only_argument": "is missing",
    "missing_argument": "is missing",
    "multiple_argument_values": "is given twice",
}
_KINDS = {
    "Input should be ": "",
    "'str' instances are not allowed as a Sequence value": "a list, not one text",
    "Input is not a valid path": "a path",
    " for <class 'pathlib.Path'>": "",
    "an instance of Sequence": "a list",
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function that refuses arguments of other kinds than its annotations state, before it does anything."""

    @wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        stated_args, stated_options = given(function, *args, **options)
        return function(*stated_args, **stated_options)

    return call


def given(function: Callable[..., Any], *args: Any, **options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call as the function's annotations state them: 3.0 as the whole number 3, an array as a list.

    Raises:
        SettingsError: one is of another kind, out of the range stated, missing, or none of the function's.
    """

    @validate_call(config=_CONFIG)
    @wraps(function)
    def told(*args: Any, **options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, options

    try:
        return told(*map(_plain, args), **_plain(options))
    except ValidationError as error:
        # A name or place that is wrong explains the argument that is then missing, so it is told first.
        problem = min(error.errors(include_url=False), key=lambda problem: problem["type"].startswith("missing"))
        where, *_ = problem["loc"]
        name = list(signature(function).parameters)[where] if isinstance(where, int) else str(where)
        if problem["type"] in _FAULTS:
            raise SettingsError(f"{name}: {_FAULTS[problem['type']]}") from None
        raise SettingsError(f"{name} {_in_words(error, where)}") from None


def _plain(value: Any) -> Any:
    """The same with lists for arrays and tensors, also within a dictionary."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def as_stated(name: str, value: object, kind: Any) -> Any:
    """One value as its annotation `kind` states it.

    Raises:
        SettingsError: it is of another kind.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise SettingsError(f"{name} {_in_words(error)}") from None


def _in_words(error: ValidationError, where: int | str | None = None) -> str:
    """`value: wanted`, of the argument `where`; of a union, each of the kinds that would do."""
    problems = error.errors(include_url=False)
    alike = [problem for problem in problems if where is None or problem["loc"][0] == where]
    kinds = []
    for problem in alike:
        message = problem["msg"]
        for theirs, ours in _KINDS.items():
            message = message.replace(theirs, ours)
        kinds.append(message)
    value = " ".join(str(alike[0]["input"]).split())[:60]
    return f"{value}: wanted {' or '.join(dict.fromkeys(kinds))}"
