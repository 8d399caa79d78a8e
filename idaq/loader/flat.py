"""The flat view: any spaces as vectors of float32, which the built-in learners read, and actions back from there.

    leaf of a space                  its numbers in the view
    Box                              as they are
    Box of uint8, 0 to 255, 2+ axes  an image: divided by 255
    Discrete, MultiDiscrete          one-hot: 1 for the value, 0 for every other; or, as "index", the value itself
    MultiBinary                      0 and 1

Leaves of a Dict follow each other in the order of a file, several axes in C order. Shapes: any leading dimensions
`...`, D numbers of an observation, A of an action.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from idaq.core.config import config
from idaq.core.errors import DatasetError, UsageError
from idaq.core.types import ACTIONS, Array, Floats, is_observation, leaves_of
from idaq.format.spaces import Leaf

DiscreteAs = Literal["one-hot", "index"]
"""how the values of Discrete and MultiDiscrete spaces become numbers"""
_WIDEST = 2**16


@config
class FlatLeaf:
    """How the values of one column stand in the view."""

    column: str
    """its name; `observations/a/b` of a Dict"""
    encoding: Literal["numbers", "image", "one-hot"]
    shape: list[Annotated[int, Field(ge=1)]]
    """of one value"""
    dtype: str
    """of one value, as the environment has it"""
    low: list[int] = Field(default_factory=list[int])
    """lowest value of each number; empty for a Box"""
    counts: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list[int])
    """how many values each number can have; empty for a Box"""

    @property
    def width(self) -> int:
        """Numbers in the view."""
        return sum(self.counts) if self.encoding == "one-hot" else math.prod(self.shape)

    @property
    def bounds(self) -> tuple[Floats, Floats] | None:
        """Lowest and highest of each number in the view; None for a Box, whose own they are."""
        if not self.counts:
            return None
        if self.encoding == "one-hot":
            return np.zeros(self.width, np.float32), np.ones(self.width, np.float32)
        low = np.array(self.low, np.float32)
        return low, low + np.array(self.counts, np.float32) - 1

    def encode(self, values: Array) -> Floats:
        """(..., *shape) -> (..., width). Raises UsageError for values that are not of the space."""
        lead = values.shape[: values.ndim - len(self.shape)]
        if values.shape != (*lead, *self.shape):
            raise UsageError(f"{self.column} are of shape {values.shape}; values of {tuple(self.shape)} are needed")
        if self.encoding == "one-hot":
            return self._one_hot(values.reshape(math.prod(lead), -1)).reshape((*lead, self.width))
        numbers = values.reshape((*lead, self.width)).astype(np.float32, copy=False)
        return numbers / np.float32(255) if self.encoding == "image" else numbers

    def decode(self, numbers: Array) -> Array:
        """(..., width) -> (..., *shape): of one-hot numbers the largest, of others the nearest that the dtype has."""
        dtype, lead = np.dtype(self.dtype), numbers.shape[:-1]
        if self.encoding == "one-hot":
            parts = np.split(numbers, np.cumsum(self.counts)[:-1], axis=-1)
            values = np.stack([part.argmax(-1) for part in parts], -1) + np.array(self.low)
            return values.astype(dtype).reshape((*lead, *self.shape))
        if dtype.kind != "f":
            numbers = np.rint(numbers).astype(dtype)
        return numbers.reshape((*lead, *self.shape))

    def _one_hot(self, values: Array) -> Floats:
        """(R, n) -> (R, width)"""
        low = np.array(self.low)
        with np.errstate(invalid="ignore"):  # NaN, which is no value either
            places = values.astype(np.int64) - low
        outside = (places < 0) | (places >= np.array(self.counts)) | (places + low != values)
        if outside.any():
            raise UsageError(f"{self.column} hold {values[outside][0]}, which is no value of their space")
        numbers = np.zeros((len(values), self.width), np.float32)
        np.put_along_axis(numbers, places + np.cumsum([0, *self.counts[:-1]]), 1, axis=1)
        return numbers


@config
class FlatView:
    """How observations and actions stand as vectors."""

    observations: list[FlatLeaf]
    """in their order"""
    actions: FlatLeaf

    @property
    def observation_size(self) -> int:
        """D"""
        return sum(leaf.width for leaf in self.observations)

    @property
    def action_size(self) -> int:
        """A"""
        return self.actions.width

    @property
    def packed_width(self) -> int:
        """Numbers of a packed transition [s, a, s', r, terminated]."""
        return 2 * self.observation_size + self.action_size + 2

    @property
    def is_plain(self) -> bool:
        """Whether it is one array of numbers for an observation, and floats for an action, as they are."""
        numbers = all(leaf.encoding == "numbers" for leaf in (*self.observations, self.actions))
        return numbers and len(self.observations) == 1 and np.dtype(self.actions.dtype).kind == "f"

    @property
    def scaled(self) -> NDArray[np.bool_]:
        """(D,) which numbers lie in 0 to 1 already: learners leave them as they are."""
        return np.repeat([leaf.encoding != "numbers" for leaf in self.observations], self._widths)

    @property
    def _widths(self) -> list[int]:
        return [leaf.width for leaf in self.observations]

    def encode_observations(self, observations: Any) -> Floats:
        """Observations (...), a nested dict of arrays where the space is a Dict, -> (..., D).

        Raises UsageError for other leaves or values than the spaces have.
        """
        return self.join(leaves_of(observations))

    def join(self, columns: Mapping[str, Any]) -> Floats:
        """The columns of observations, each (..., *shape), -> (..., D). Raises UsageError where they do not fit."""
        if missing := [leaf.column for leaf in self.observations if leaf.column not in columns]:
            raise UsageError(f"an observation lacks {', '.join(missing)}: it holds {', '.join(columns)}"[:500])
        parts = [leaf.encode(np.asarray(columns[leaf.column])) for leaf in self.observations]
        if len(parts) == 1:
            return parts[0]
        if len({part.shape[:-1] for part in parts}) > 1:
            raise UsageError("the leaves of an observation are of unlike leading dimensions")
        return np.concatenate(parts, -1)

    def encode_actions(self, actions: Any) -> Floats:
        """(..., *shape) -> (..., A)"""
        return self.actions.encode(np.asarray(actions))

    def decode_actions(self, numbers: Array) -> Array:
        """(..., A) -> (..., *shape) of the action space's dtype."""
        return self.actions.decode(numbers)


def flat_view(leaves: Mapping[str, Leaf], discrete: DiscreteAs = "one-hot") -> FlatView:
    """The view of these spaces. Raises DatasetError where one-hot numbers would be more than 65,536."""
    observations = [_flat(name, leaf, discrete) for name, leaf in leaves.items() if is_observation(name)]
    view = FlatView(observations=observations, actions=_flat(ACTIONS, leaves[ACTIONS], discrete))
    for leaf in (*observations, view.actions):
        if leaf.encoding == "one-hot" and leaf.width > _WIDEST:
            raise DatasetError(f"{leaf.column} would be {leaf.width} one-hot numbers", hint="--set discrete=index")
    return view


def plain_view(observations: Iterable[int], actions: Iterable[int]) -> FlatView:
    """The view of one array of numbers for an observation and floats for an action, of these shapes."""

    def leaf(name: str, shape: Iterable[int]) -> FlatLeaf:
        return FlatLeaf(column=name, encoding="numbers", shape=list(shape), dtype="<f4")

    return FlatView(observations=[leaf("observations", observations)], actions=leaf(ACTIONS, actions))


def _flat(name: str, leaf: Leaf, discrete: DiscreteAs) -> FlatLeaf:
    common: dict[str, Any] = {"column": name, "shape": list(leaf.shape), "dtype": leaf.dtype}
    if leaf.counts is None:
        return FlatLeaf(**common, encoding="image" if _is_image(leaf) else "numbers")
    one_hot = leaf.kind != "MultiBinary" and discrete == "one-hot"
    low, counts = leaf.low.ravel().tolist(), leaf.counts.ravel().tolist()
    return FlatLeaf(**common, encoding="one-hot" if one_hot else "numbers", low=low, counts=counts)


def _is_image(leaf: Leaf) -> bool:
    return leaf.dtype == "|u1" and len(leaf.shape) > 1 and bool((leaf.low == 0).all() and (leaf.high == 255).all())
