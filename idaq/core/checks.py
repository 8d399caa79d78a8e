"""Checks of arrays from other people's files, before anything is built on them. S rows.

Each raises DatasetError that names the place, the column and the row.
"""

from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.types import Array


def check_numbers(name: str, value: object, where: str) -> Array:
    """The value as an array of booleans, integers or floats of at most 8 bytes, in this machine's byte order.

    Raises DatasetError for anything else: text, dates, records.
    """
    if not _is_array(value) or value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
        kind = value.dtype if _is_array(value) else type(value).__name__
        raise DatasetError(f"{where}: {name} is no array of numbers of up to 8 bytes but of {kind}")
    return value.astype(value.dtype.newbyteorder("="), copy=False)


def _is_array(value: object) -> TypeGuard[Array]:
    return isinstance(value, np.ndarray)


def check_finite(name: str, array: Array, where: str) -> None:
    """Raise DatasetError for NaN or infinity, naming the first row (S, ...) that holds one."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argmax(~np.isfinite(array).reshape(len(array), -1).all(1)))
        said = f"{where}: {name} holds NaN or infinity in row {row}"
        raise DatasetError(said, hint="nothing can learn from such a row: leave its episode out of the file")


def as_column(name: str, array: Array, where: str) -> Array:
    """(S,) from one number a row. Raises DatasetError for rows of several."""
    if array.size != len(array):
        raise DatasetError(f"{where}: {name} must hold one number a row, not rows of shape {array.shape[1:]}")
    return array.reshape(len(array))


def as_flags(name: str, array: Array, where: str) -> NDArray[np.bool_]:
    """(S,) booleans from booleans or from numbers that are 0 or 1. Raises DatasetError for other numbers."""
    column = as_column(name, array, where)
    wrong = np.flatnonzero((column != 0) & (column != 1))
    if len(wrong):
        raise DatasetError(f"{where}: {name} holds {column[wrong[0]]} in row {wrong[0]}: flags are 0 or 1")
    return column.astype(bool)


def as_indices(name: str, array: Array, where: str) -> NDArray[np.int64]:
    """(S,) whole numbers from 0 to 2^53. Raises DatasetError for other numbers."""
    column = as_column(name, array, where)
    wide = column.astype(np.float64)
    good = (wide >= 0) & (wide <= 2**53) & (wide == np.floor(wide))
    wrong = np.flatnonzero(~good)
    if len(wrong):
        found = column[wrong[0]]
        raise DatasetError(f"{where}: {name} holds {found} in row {wrong[0]}: it numbers from 0, in whole numbers")
    return column.astype(np.int64)


def check_returns(rewards: Array, where: str) -> None:
    """Raise DatasetError for rewards (S,) whose returns have no mean and standard deviation in float64."""
    with np.errstate(over="ignore"):
        square = np.abs(rewards.astype(np.float64)).sum() ** 2
    if not np.isfinite(square):
        raise DatasetError(
            f"{where}: rewards of up to {np.abs(rewards).max():g} have no standard deviation in float64",
            hint="scale the rewards",
        )
