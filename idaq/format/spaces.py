"""The spaces that metadata.json states, held against the columns that they are of: one verdict for verify and loader.

Read from Minari's JSON without Minari or Gymnasium, which take half a second to import; what passes here, they read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from idaq.core.errors import CorruptDatasetError
from idaq.core.types import Array
from idaq.format.documents import Column

COLUMN_OF = {"observation_space": "observations", "action_space": "actions"}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Lowest and highest value of each number of a row, in the row's shape and dtype."""

    low: Array
    high: Array


def read_bounds(metadata: Mapping[str, Any], columns: Mapping[str, Column], where: str) -> dict[str, Bounds]:
    """The Box of each space, by the name of its column.

    Raises CorruptDatasetError, naming `where`, for what is no Box, not of its column's shape and dtype, or has bounds
    that no value fits.
    """
    return {column: _bounds(metadata, name, columns[column], where) for name, column in COLUMN_OF.items()}


def _bounds(metadata: Mapping[str, Any], name: str, column: Column, where: str) -> Bounds:
    what = f"{where}: the {name.replace('_', ' ')}"
    try:
        space = json.loads(metadata[name])
        kind, shape, dtype = space["type"], space["shape"], np.dtype(str(space["dtype"])).newbyteorder("<")
        stated = (str(kind), [int(size) for size in shape], dtype.str)
        bounds = Bounds(low=np.array(space["low"], dtype), high=np.array(space["high"], dtype))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, MemoryError):
        raise CorruptDatasetError(f"{what} is not a Box with low and high") from None
    if stated != ("Box", column.shape, column.dtype) or any(type(size) is not int for size in shape):
        found = f"{_short(kind)} of shape {_short(shape)} and {_short(dtype)}"
        raise CorruptDatasetError(f"{what} is a {found}, its column has {column.shape} of {column.dtype}")
    if bounds.low.shape != tuple(column.shape) or bounds.high.shape != tuple(column.shape):
        raise CorruptDatasetError(
            f"{what} has bounds of shapes {bounds.low.shape} and {bounds.high.shape}, not its own"
        )
    if not (bounds.low <= bounds.high).all():
        raise CorruptDatasetError(f"{what} has bounds that no value fits: a lowest value above the highest")
    return bounds


def _short(value: object) -> str:
    return ascii(str(value))[1:-1][:60]
