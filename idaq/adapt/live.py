"""Spaces of a live environment against those that an agent has learned from."""

from collections.abc import Mapping
from typing import Any, cast

import gymnasium as gym
import numpy as np

from idaq.core.types import ACTIONS, Array
from idaq.format.gym_spaces import leaf_spaces
from idaq.format.spaces import Leaf
from idaq.learn.algorithm import Agent
from idaq.loader.flat import FlatLeaf, flat_view

_COMPARED = ("encoding", "shape", "low", "counts")
Spaces = Mapping[str, gym.Space[Any]]


def misfit(agent: Agent, observations: gym.Space[Any], actions: gym.Space[Any]) -> str | None:
    """What an environment has that the agent cannot act on, in words; None where it can."""
    spaces = {**leaf_spaces(observations), ACTIONS: actions}
    return _plain_misfit(agent, spaces) if agent.spec.view is None else _view_misfit(agent, spaces)


def _plain_misfit(agent: Agent, spaces: Spaces) -> str | None:
    if len(spaces) > 2 or not all(isinstance(space, gym.spaces.Box) for space in spaces.values()):
        return f"the spaces {', '.join(map(str, spaces.values()))}; the agent knows boxes of numbers"[:500]
    (seen, acted), spec = (int(np.prod(space.shape or ())) for space in spaces.values()), agent.spec
    if (seen, acted) == (spec.observation_size, spec.action_size):
        return None
    return (
        f"observations of {seen} numbers and actions of {acted}; the agent learned from {spec.observation_size} and"
        f" {spec.action_size}"
    )


def _view_misfit(agent: Agent, spaces: Spaces) -> str | None:
    assert agent.spec.view is not None
    if unknown := [space for space in spaces.values() if not isinstance(space, _LEAVES)]:
        return f"the space {unknown[0]}, which no dataset holds"[:500]
    found = flat_view({name: _leaf(space) for name, space in spaces.items()}, agent.config.discrete)
    there = {leaf.column: leaf for leaf in (*found.observations, found.actions)}
    known = {leaf.column: leaf for leaf in (*agent.spec.view.observations, agent.spec.view.actions)}
    for name in {**known, **there}:
        if name not in there or name not in known or _differ(there[name], known[name]):
            ours, theirs = (_said(leaves.get(name)) for leaves in (known, there))
            return f"{theirs} as {name}; the agent learned from {ours}"
    return None


def _differ(one: FlatLeaf, other: FlatLeaf) -> bool:
    return any(getattr(one, name) != getattr(other, name) for name in _COMPARED)


def _said(leaf: FlatLeaf | None) -> str:
    if leaf is None:
        return "nothing"
    bounds = f" of {leaf.counts} values from {leaf.low}" if leaf.counts else ""
    return f"{leaf.encoding} of shape {tuple(leaf.shape)}{bounds}"


_LEAVES = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


def _leaf(space: gym.Space[Any]) -> Leaf:
    """A Gymnasium space as the format describes it."""
    shape, dtype = tuple(space.shape or ()), np.dtype(space.dtype or np.int64).newbyteorder("<").str
    low: Array
    high: Array
    match space:
        case gym.spaces.Box():
            low, high = cast(Array, space.low), cast(Array, space.high)
        case gym.spaces.Discrete():
            low, high = np.array(space.start), np.array(space.start + space.n - 1)
        case gym.spaces.MultiDiscrete():
            low, high = cast(Array, space.start), space.start + space.nvec - 1
        case _:
            low, high = np.zeros(shape, np.int8), np.ones(shape, np.int8)
    return Leaf(kind=type(space).__name__, dtype=dtype, shape=shape, low=low, high=high)  # type: ignore[arg-type]
