"""Behaviour policies in lock-step: one factory a kind. Shapes: B episodes, T steps, P controller view, A action."""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.collect.policies import in_units_of, load_policy, with_features
from idaq.core.errors import CollectError
from idaq.core.policy import Policy
from idaq.core.seeds import generator
from idaq.core.types import Array
from idaq.format.recipe import Behaviour
from idaq.tasks import Family, Spaces


@dataclass(frozen=True, kw_only=True)
class Noise:
    """All random numbers of B episodes, drawn from each episode's own seed: batching changes nothing."""

    gaussian: Array
    """(T, B, A)"""
    uniform: Array
    """(T, B, A) in [-1, 1)"""
    choice: Array
    """(T, B) in [0, 1)"""


def draw_noise(seeds: NDArray[np.uint64], steps: int, action_size: int) -> Noise:
    """Draw the noise of each episode from its own generator, always in the same order."""
    gaussian, uniform, choice = [], [], []
    for seed in seeds:
        rng = generator(int(seed))
        gaussian.append(rng.standard_normal((steps, action_size)))
        uniform.append(rng.uniform(-1, 1, (steps, action_size)))
        choice.append(rng.random(steps))
    return Noise(gaussian=np.stack(gaussian, 1), uniform=np.stack(uniform, 1), choice=np.stack(choice, 1))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B episodes of one behaviour that are about to be run."""

    family: Family
    spaces: Spaces
    behaviour: Behaviour
    tasks: NDArray[np.int64]
    """(B,)"""
    seeds: NDArray[np.uint64]
    """(B,)"""
    noise: Noise


UnitActions = Callable[[Array, int], Array]
"""controller views (B, P), time step -> actions (B, A) in units of the largest action, in [-1, 1]"""


class UnitPolicy:
    """A policy that follows from what is seen now and from the time step."""

    def __init__(self, space: gym.spaces.Box, actions: UnitActions) -> None:
        self._space, self._actions = space, actions

    def reset(self) -> None:
        self._step = -1

    def act(self, observations: Array) -> Array:
        self._step += 1
        return in_units_of(self._space, self._actions(observations, self._step))

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        pass


def _random(batch: Batch) -> UnitActions:
    """Uniform over the action space."""
    return lambda _view, step: batch.noise.uniform[step]


def _trained(batch: Batch) -> UnitActions:
    """A policy of the catalogue, with `noise` times its own spread. Raises PolicyError."""
    behaviour, family = batch.behaviour, batch.family
    assert behaviour.policy is not None
    assert behaviour.weights is not None
    actor = load_policy(family, behaviour.policy, behaviour.weights, batch.spaces)
    return lambda view, step: actor(
        with_features(family, view, batch.tasks), batch.noise.gaussian[step], behaviour.noise
    )


def _scripted(batch: Batch) -> UnitActions:
    """The family's controller plus Gaussian noise. Raises CollectError for a family without one."""
    controller, tasks, noise = batch.family.controller, batch.tasks, batch.behaviour.noise
    if controller is None:
        raise CollectError(
            f"family {batch.family.name} has no scripted controller",
            hint='kind = "trained", "policy" or "random" in the recipe',
        )

    def actions(view: Array, step: int) -> Array:
        noisy = controller(view, tasks) + noise * batch.noise.gaussian[step]
        return np.minimum(np.maximum(noisy, -1), 1)  # np.clip takes twice as long for so few numbers

    return actions


def _mixture(batch: Batch) -> UnitActions:
    """Each step scripted or random."""
    scripted, noise, share = _scripted(batch), batch.noise, batch.behaviour.random_share
    return lambda view, step: np.where((noise.choice[step] < share)[:, None], noise.uniform[step], scripted(view, step))


_KINDS: dict[str, Callable[[Batch], UnitActions]] = {
    "random": _random,
    "trained": _trained,
    "scripted": _scripted,
    "mixture": _mixture,
}


def make_policy(batch: Batch) -> Policy:
    """What acts in these episodes. Raises CollectError, also PolicyError."""
    return UnitPolicy(batch.spaces.actions, _KINDS[batch.behaviour.kind](batch))
