"""Behaviour policies in lock-step: one factory a kind. Shapes: B episodes, T steps, P controller view, A action."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.collect.policies import in_units_of, load_policy, with_features
from idaq.core.errors import CollectError, PluginError, PolicyError
from idaq.core.policy import Policy
from idaq.core.registry import Registry
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


BehaviourFactory = Callable[[Family, NDArray[np.int64], NDArray[np.uint64], dict[str, Any]], Policy]
"""What a recipe's `policy` names: family, task indices (B,), episode seeds (B,), `options` -> a policy of B episodes.

Its `act` gets the family's controller views (B, P) and gives actions in the environment's units; one outside the action
space is clipped, counted and told. Episode b must depend on tasks[b], seeds[b] and what is seen in it, never on what it
is batched with: chance is drawn from a generator of each seed, as `numpy.random.default_rng([seed, 1])`. A policy that
reads weights from a file has their sha256 as `weights_sha256`, which is held against the recipe's `weights`.
"""


def _factory(_name: str, thing: Any) -> BehaviourFactory:
    if not callable(thing):
        raise TypeError(f"{thing!r:.80} is no function of family, tasks, seeds and options")
    return cast(BehaviourFactory, thing)


BEHAVIOURS: Registry[BehaviourFactory] = Registry("behaviour policy", "idaq.behaviours", {}, _factory)

UnitActions = Callable[[Array, int], Array]
"""controller views (B, P), time step -> actions (B, A) in units of the largest action, in [-1, 1]"""


class UnitPolicy(Policy):
    """A policy that follows from what is seen now and from the time step."""

    clipped = 0
    """actions that lay outside the action space"""

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


class GuardedPolicy(Policy):
    """A policy from outside: its actions are checked, clipped, made noisy and mixed with random ones."""

    def __init__(self, batch: Batch, policy: Policy) -> None:
        self._batch, self._policy, self._space = batch, policy, batch.spaces.actions
        self.clipped = 0

    def reset(self) -> None:
        self._step, self._ended = -1, np.zeros(len(self._batch.tasks), bool)
        self._policy.reset()

    def act(self, observations: Array) -> Array:
        self._step += 1
        space, noise, behaviour = self._space, self._batch.noise, self._batch.behaviour
        actions = self._checked(self._policy.act(observations))
        if behaviour.noise:
            unit = (
                2 * (actions - space.low) / (space.high - space.low) - 1 + behaviour.noise * noise.gaussian[self._step]
            )
            actions = in_units_of(space, np.clip(unit, -1, 1))
        if behaviour.random_share:
            chosen = noise.choice[self._step] < behaviour.random_share
            actions = np.where(chosen[:, None], in_units_of(space, noise.uniform[self._step]), actions)
        return actions

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        self._ended = ended
        self._policy.observe(actions, rewards, next_observations, ended)

    def _checked(self, actions: object) -> Array:
        """(B, A) in the space's dtype and bounds. An ended episode's are not looked at. Raises CollectError."""
        behaviour, shape = self._batch.behaviour, (len(self._batch.tasks), *self._space.shape)
        given = np.asarray(actions)
        if given.shape != shape or given.dtype.kind not in "fiu":
            raise CollectError(
                f"{behaviour.policy} gave actions of {given.dtype} {given.shape} at step {self._step} of behaviour"
                f" {behaviour.name!r}; numbers {shape} were expected"
            )
        given = np.where(self._ended[:, None], self._space.low, given).astype(self._space.dtype)
        if not np.isfinite(given).all():
            task = self._batch.tasks[~np.isfinite(given).all(1)][0]
            raise CollectError(f"{behaviour.policy} gave NaN or infinity at step {self._step} on task {task}")
        clipped = np.clip(given, self._space.low, self._space.high)
        self.clipped += int((clipped != given).any(1).sum())
        return clipped


def make_policy(batch: Batch) -> UnitPolicy | GuardedPolicy:
    """What acts in these episodes. Raises CollectError, PluginError or PolicyError."""
    behaviour = batch.behaviour
    if behaviour.kind != "policy":
        return UnitPolicy(batch.spaces.actions, _KINDS[behaviour.kind](batch))
    factory = BEHAVIOURS.get(str(behaviour.policy))
    policy = factory(batch.family, batch.tasks, batch.seeds, dict(behaviour.options))
    if not isinstance(policy, Policy):
        raise PluginError(f"{behaviour.policy} made {policy!r:.80}, which lacks reset, act or observe")
    theirs = getattr(policy, "weights_sha256", None)
    if behaviour.weights not in (None, theirs):
        raise PolicyError(
            f"the recipe was written for other weights of {behaviour.policy}: {behaviour.weights:.12}, here are"
            f" {theirs!s:.12}",
            hint="the same recipe must give the same data: name these weights in a recipe with another id",
        )
    return GuardedPolicy(batch, policy)
