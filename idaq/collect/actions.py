"""Actions of any space, from numbers in [-1, 1) that random behaviours draw. Shapes: B episodes, (...) one action."""

from typing import Any

import gymnasium as gym
import numpy as np

from idaq.core.types import Array


def bounds(space: gym.Space[Any]) -> tuple[Array, Array]:
    """Lowest and highest value of each number of an action, in its shape. Raises TypeError for a space without."""
    if isinstance(space, gym.spaces.Box):
        return space.low, space.high
    if isinstance(space, gym.spaces.Discrete):
        return np.array(space.start), np.array(space.start + space.n - 1)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    if isinstance(space, gym.spaces.MultiBinary):
        return np.zeros(space.shape, np.int8), np.ones(space.shape, np.int8)
    raise TypeError(f"{space} has no bounds")


def is_counted(space: gym.Space[Any]) -> bool:
    """Whether actions are whole numbers, which take no Gaussian noise."""
    assert space.dtype is not None
    return space.dtype.kind in "iu"


def in_units_of(space: gym.Space[Any], unit: Array) -> Array:
    """Actions (B, ...) as the environment takes them, from [-1, 1]: evenly spread over the space, whole numbers too."""
    low, high = bounds(space)
    if is_counted(space):
        count = high.astype(np.float64) - low + 1
        return np.minimum(low + np.floor((unit + 1) / 2 * count), high).astype(space.dtype)
    return (low + (unit + 1) / 2 * (high - low)).astype(space.dtype)


def over_actions(chosen: Array, actions: Array) -> Array:
    """(B,) in a shape that is broadcast over actions (B, ...)."""
    return chosen.reshape(-1, *[1] * (actions.ndim - 1))
