"""What another process is sent to work with: sealed by the driver, opened by whoever works."""

import os
import pickle
from contextlib import suppress
from typing import Any

from robaudit.errors import ModelError, first_line
from robaudit.load.trusted import own_code_importable


def seal(content: object, way_out: str) -> bytes:
    """Content that holds a model, as bytes.

    Args:
        content: a plain object.
        way_out: what the person can do where that is impossible.

    Raises:
        ModelError: the model cannot be sent to another process.
    """
    try:
        return pickle.dumps(content)
    except Exception as error:  # somebody's network may refuse in any way
        raise ModelError(f"the model cannot be sent to another process ({first_line(error)}); {way_out}") from None


def unseal(parcel: bytes) -> Any:
    """What was sealed; a person's own network is looked up as in the driver."""
    with own_code_importable():
        return pickle.loads(parcel)


def work_in(folder: str) -> None:
    """Go where the driver runs, for paths of images may be relative to it; not where that is another machine's."""
    with suppress(OSError):
        os.chdir(folder)
