"""Which slice of a volume is the image: nobody but its owner knows."""

from __future__ import annotations

from robaudit.data.refusing import SKIP
from robaudit.data.remote import Location
from robaudit.data.view import View
from robaudit.errors import DataError


def place_of_slice(file: Location, shape: tuple[int, ...], view: View) -> tuple[int, int]:
    """(axis, index) of the slice asked for.

    Raises:
        DataError: none is asked for, it is not there, or the volume has not three axes.
    """
    if view.slice is None:
        raise DataError(f"{file}: is a volume of {shape}; say which slice with --slice AXIS,INDEX, such as 2,middle")
    axis, index = view.slice
    if len(shape) != 3 or min(shape) < 1:
        raise DataError(f"{file}: has axes {shape}, wanted three; save one volume")
    index = shape[axis] // 2 if index is None else index
    if not 0 <= index < shape[axis]:
        raise DataError(f"{file}: has slices 0 to {shape[axis] - 1} along axis {axis}, not {index}; {SKIP}")
    return axis, index
