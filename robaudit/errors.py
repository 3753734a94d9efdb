"""What can go wrong, and the exit code each kind ends with. A leaf: imports nothing of robaudit.

    RobauditError                 the message says what, got, wanted and what to do next, in one line
    ├── InputError        exit 2  what the user gave cannot be used
    │   ├── ModelError            the model file, or its fit with the architecture
    │   ├── DataError             the images or their labels
    │   ├── SettingsError         an option, or a combination of options
    │   ├── RecordError           an audit record: unreadable, newer, or not comparable
    │   ├── PolicyError           a gate policy
    │   └── OutputError           the output folder
    └── TrainingError     exit 3  training went wrong (a NaN loss); the last good weights were kept

Anything else that escapes is a bug in robaudit: exit 4. Ctrl-C: exit 130.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes that scripts rely on."""

    OK = 0
    GATE_FAILED = 1
    UNUSABLE_INPUT = 2
    INCONCLUSIVE = 3
    INTERNAL_ERROR = 4
    INTERRUPTED = 130


class RobauditError(Exception):
    """A problem the user can act on; `str(error)` is one line."""

    exit_code = ExitCode.INTERNAL_ERROR


class InputError(RobauditError):
    """What the user gave cannot be used as it is."""

    exit_code = ExitCode.UNUSABLE_INPUT


class ModelError(InputError):
    """The model file cannot be loaded, or does not fit the architecture."""


class DataError(InputError):
    """Images or labels cannot be read as declared."""


class SettingsError(InputError):
    """An option is out of range or contradicts another."""


class RecordError(InputError):
    """An audit record is unreadable, written by a newer robaudit, or not comparable."""


class PolicyError(InputError):
    """A gate policy is invalid."""


class OutputError(InputError):
    """The output folder cannot be written, or holds the result of other settings."""


class TrainingError(RobauditError):
    """Training could not go on; the last good weights were kept."""

    exit_code = ExitCode.INCONCLUSIVE


def first_line(error: BaseException) -> str:
    """What went wrong, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
