"""Gymnasium spaces as the format holds them."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from idaq.core.errors import DatasetError
from idaq.core.types import ACTIONS, OBSERVATIONS
from idaq.format.layout import is_segment

LEAVES = gym.spaces.Box | gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary


def supported(space: gym.Space[Any], what: str) -> gym.Space[Any]:
    """The space of `observations` or `actions` with the keys of each Dict in order, as it is written.

    Raises DatasetError for a space that the format does not hold.
    """
    if isinstance(space, LEAVES):
        return space
    below = what == OBSERVATIONS or what.startswith(f"{OBSERVATIONS}/")
    if isinstance(space, gym.spaces.Dict) and below and space.spaces and all(map(is_segment, space.spaces)):
        return gym.spaces.Dict({key: supported(space.spaces[key], f"{what}/{key}") for key in sorted(space.spaces)})
    known = "a Box, Discrete, MultiDiscrete or MultiBinary" + ("" if what == ACTIONS else ", or a Dict of such")
    hint = "keys of a Dict are letters, digits, '_', '.' and '-', 64 at most" if below else None
    raise DatasetError(f"{what} of the space {space}: the format holds {known}"[:1000], hint=hint)


def leaf_spaces(space: gym.Space[Any], name: str = OBSERVATIONS) -> dict[str, gym.Space[Any]]:
    """The spaces that are no Dict, by the name of their column, in the order of a file."""
    if not isinstance(space, gym.spaces.Dict):
        return {name: space}
    found: dict[str, gym.Space[Any]] = {}
    for key in sorted(space.spaces):
        found |= leaf_spaces(space.spaces[key], f"{name}/{key}")
    return found


def with_leaves(space: gym.Space[Any], leaves: Mapping[str, gym.Space[Any]], name: str) -> gym.Space[Any]:
    """A space nested as `space` is, with these leaves by the names of their columns."""
    if not isinstance(space, gym.spaces.Dict):
        return leaves[name]
    inner = space.spaces.items()
    return gym.spaces.Dict({key: with_leaves(child, leaves, f"{name}/{key}") for key, child in inner})
