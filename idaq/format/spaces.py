"""The spaces that metadata.json states, held against the columns that they are of: one verdict for verify and loader.

Read from Minari's JSON without Minari or Gymnasium, which take half a second to import; what passes here, they read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from idaq.core.errors import CorruptDatasetError
from idaq.core.types import ACTIONS, OBSERVATIONS, Array, is_observation
from idaq.format.documents import Column
from idaq.format.layout import is_segment

Kind = Literal["Box", "Discrete", "MultiDiscrete", "MultiBinary"]
_DEEPEST = 16
"""Dict spaces within each other"""
_MOST_NUMBERS = 2**26
"""of one value: a few letters of a document may not fill the memory"""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A space that one column holds values of: all but Dict."""

    kind: Kind
    dtype: str
    """NumPy notation, little-endian. What is not a Box may lie in a column of any integers"""
    shape: tuple[int, ...]
    low: Array
    """lowest value of each number, in the shape"""
    high: Array
    """highest value of each number, in the shape"""

    @property
    def text(self) -> str:
        """For people: `Discrete from 0 to 80`, `Box from -1 to 1`, `Box, unbounded`."""
        if not self.low.size:
            return self.kind
        low, high = self.low.min(), self.high.max()
        if np.isinf(low) and np.isinf(high):
            return f"{self.kind}, unbounded"
        return f"{self.kind} from {low:g} to {high:g}"

    @property
    def counts(self) -> Array | None:
        """How many values each number can have, in the shape; None of a Box."""
        return None if self.kind == "Box" else self.high.astype(np.int64) - self.low.astype(np.int64) + 1


def read_leaves(metadata: Mapping[str, Any], columns: Mapping[str, Column], where: str) -> dict[str, Leaf]:
    """The space of each column of observations and actions, by its name.

    Raises CorruptDatasetError, naming `where`, for what is no space of these columns, or has bounds that no value fits.
    """
    found = parse_leaves(metadata, where)
    held, seen = ([name for name in names if is_observation(name)] for names in (found, columns))
    if held != seen:
        said = f"{where}: the observation space holds {', '.join(held) or 'nothing'}; the columns are"
        raise CorruptDatasetError(f"{said} {', '.join(seen)}"[:1000])
    for name, leaf in found.items():
        space = "observation space" if is_observation(name) else "action space"
        _check_column(leaf, columns[name], f"{where}: the {space} of {name}")
    return found


def parse_leaves(metadata: Mapping[str, Any], where: str) -> dict[str, Leaf]:
    """The leaves of both spaces, whatever the columns are. Raises CorruptDatasetError for what is no space."""
    found = _leaves(_parsed(metadata, "observation_space", where), OBSERVATIONS, f"{where}: the observation space")
    found |= _leaves(_parsed(metadata, "action_space", where), ACTIONS, f"{where}: the action space")
    if ACTIONS not in found:
        raise CorruptDatasetError(f"{where}: the action space is a Dict; actions are one column")
    return found


def _parsed(metadata: Mapping[str, Any], name: str, where: str) -> Any:
    try:
        return json.loads(metadata[name])
    except (ValueError, KeyError, TypeError, RecursionError):
        what = name.replace("_", " ")
        raise CorruptDatasetError(f"{where}: the {what} is no {', '.join(_LEAVES)} or Dict") from None


def _leaves(space: Any, name: str, where: str, depth: int = 0) -> dict[str, Leaf]:
    """The leaves by name, in the order of a file: keys sorted at every level."""
    if isinstance(space, dict) and space.get("type") == "Dict" and depth < _DEEPEST:
        inner = space.get("subspaces")
        if not isinstance(inner, dict) or list(inner) != sorted(filter(is_segment, inner)) or not inner:
            raise CorruptDatasetError(f"{where} (of {name}) is no Dict of named spaces, in order")
        found: dict[str, Leaf] = {}
        for key, child in inner.items():
            found |= _leaves(child, f"{name}/{key}", where, depth + 1)
        return found
    what = f"{where} of {name}"
    try:
        leaf = _LEAVES[space["type"]](space)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, MemoryError, AttributeError):
        raise CorruptDatasetError(f"{what} is no {', '.join(_LEAVES)} or Dict") from None
    if leaf.low.shape != leaf.shape or leaf.high.shape != leaf.shape:
        raise CorruptDatasetError(f"{what} has bounds of shapes {leaf.low.shape} and {leaf.high.shape}, not its own")
    if not (leaf.low <= leaf.high).all():
        raise CorruptDatasetError(f"{what} has bounds that no value fits: a lowest value above the highest")
    return {name: leaf}


def _box(space: dict[str, Any]) -> Leaf:
    dtype = np.dtype(str(space["dtype"])).newbyteorder("<")
    low, high = np.array(space["low"], dtype), np.array(space["high"], dtype)
    return Leaf(kind="Box", dtype=dtype.str, shape=_shape(space["shape"]), low=low, high=high)


def _discrete(space: dict[str, Any]) -> Leaf:
    start, count = _whole(space["start"]), _whole(space["n"])
    low, high = np.array(start, np.int64), np.array(start + count - 1, np.int64)
    return Leaf(kind="Discrete", dtype="<i8", shape=(), low=low, high=high)


def _multi_discrete(space: dict[str, Any]) -> Leaf:
    dtype = np.dtype(str(space["dtype"])).newbyteorder("<")
    low, counts = _wholes(space["start"]), _wholes(space["nvec"])
    if dtype.kind not in "iu" or not counts.size:
        raise ValueError
    return Leaf(kind="MultiDiscrete", dtype=dtype.str, shape=counts.shape, low=low, high=low + counts - 1)


def _multi_binary(space: dict[str, Any]) -> Leaf:
    size: Any = space["n"]
    shape = _shape(size if isinstance(size, list) else [size])
    low, high = np.zeros(shape, np.int8), np.ones(shape, np.int8)
    return Leaf(kind="MultiBinary", dtype="|i1", shape=shape, low=low, high=high)


_LEAVES = {"Box": _box, "Discrete": _discrete, "MultiDiscrete": _multi_discrete, "MultiBinary": _multi_binary}


def _whole(value: object) -> int:
    if type(value) is not int or not -(2**62) <= value <= 2**62:
        raise ValueError
    return value


def _wholes(value: Any) -> Array:
    return np.array([_wholes(inner) for inner in value] if isinstance(value, list) else _whole(value), np.int64)


def _shape(value: Any) -> tuple[int, ...]:
    shape = tuple(_whole(size) for size in value)
    if min(shape, default=1) < 1 or np.prod(shape, dtype=object) > _MOST_NUMBERS:
        raise ValueError
    return shape


def _check_column(leaf: Leaf, column: Column, what: str) -> None:
    """The column is of the leaf's shape and dtype; of what is no Box, of any integers."""
    counted = leaf.kind != "Box" and np.dtype(column.dtype).kind in "iu"
    if list(leaf.shape) != column.shape or not (counted or leaf.dtype == column.dtype):
        found = f"{leaf.kind} of shape {list(leaf.shape)} and {leaf.dtype}"
        raise CorruptDatasetError(f"{what} is a {found}, its column has {column.shape} of {column.dtype}"[:1000])
