"""Behaviour policies in lock-step: one factory a kind. Shapes: B episodes, T steps, E episodes of a learning history,
P controller view, (...) one action.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from idaq.collect.actions import bounds, in_units_of, is_counted, over_actions
from idaq.collect.policies import load_policy
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
    """(T, B, ...)"""
    uniform: Array
    """(T, B, ...) in [-1, 1)"""
    choice: Array
    """(T, B) in [0, 1)"""


def draw_noise(seeds: NDArray[np.uint64], steps: int, shape: tuple[int, ...]) -> Noise:
    """Draw the noise of each episode, for actions of `shape`, from its own generator, always in the same order."""
    gaussian, uniform, choice = [], [], []
    for seed in seeds:
        rng = generator(int(seed))
        gaussian.append(rng.standard_normal((steps, *shape)))
        uniform.append(rng.uniform(-1, 1, (steps, *shape)))
        choice.append(rng.random(steps))
    return Noise(gaussian=np.stack(gaussian, 1), uniform=np.stack(uniform, 1), choice=np.stack(choice, 1))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B episodes of one behaviour that are about to be run; of one that learns, B histories."""

    family: Family
    spaces: Spaces
    behaviour: Behaviour
    tasks: NDArray[np.int64]
    """(B,)"""
    seeds: NDArray[np.uint64]
    """(B, E) of the episodes"""

    def noise(self, episode: int = 0) -> Noise:
        """Of the episodes of that number."""
        shape = self.spaces.actions.shape
        assert shape is not None
        return draw_noise(self.seeds[:, episode], self.family.horizon, shape)


BehaviourFactory = Callable[[Family, NDArray[np.int64], NDArray[np.uint64], dict[str, Any]], Policy]
"""What a recipe's `policy` names: family, task indices (B,), seeds (B,), `options` -> a policy of B episodes.

Its `act` gets the family's controller views (B, P) and gives actions in the environment's units; a number outside the
action space is clipped, counted and told, a choice that there is not is refused. Episode b must depend on tasks[b],
seeds[b] and what is seen in it, never on what it is batched with: chance is drawn from a generator of each seed, as
`numpy.random.default_rng([seed, 1])`. A policy that reads weights from a file has their sha256 as `weights_sha256`,
which is held against the recipe's `weights`.

Where the recipe states `histories`, the policy is one of B learners, and plays episode after episode: `reset` begins
the next, what it learned before stays. Its seeds are those of each history's first episode.

It may have `columns()`, a mapping by name: more of the step that `act` has just decided, (B, ...) each, `log_prob` say.
They become columns of the dataset; the names must be the same at every step, and with every behaviour of the recipe.
"""


def _factory(_name: str, thing: Any) -> BehaviourFactory:
    if not callable(thing):
        raise TypeError(f"{thing!r:.80} is no function of family, tasks, seeds and options")
    return cast(BehaviourFactory, thing)


BUILT_IN: dict[str, object] = {
    "hold-at-goal": "idaq.collect.hold_at_goal:hold_at_goal",
    "q-learning": "idaq.collect.q_learning:QLearning",
}
BEHAVIOURS: Registry[BehaviourFactory] = Registry("behaviour policy", "idaq.behaviours", BUILT_IN, _factory)

Actions = Callable[[Array, int], Array]
"""controller views (B, P), time step -> actions (B, ...) in the environment's units"""


class StatelessPolicy(Policy):
    """A policy that follows from what is seen now and from the time step."""

    clipped = 0
    """actions that lay outside the action space"""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    def reset(self) -> None:
        self._step = -1

    def act(self, observations: Array) -> Array:
        self._step += 1
        return self._actions(observations, self._step)

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        pass

    def columns(self) -> Mapping[str, Array]:
        """None."""
        return {}


def _random(batch: Batch) -> Actions:
    """Uniform over the action space."""
    noise = batch.noise()
    return lambda _view, step: in_units_of(batch.spaces.actions, noise.uniform[step])


def _trained(batch: Batch) -> Actions:
    """A policy of the catalogue, with `noise` times its own spread. Raises PolicyError."""
    noise, spread = batch.noise(), batch.behaviour.noise
    act = load_policy(batch.behaviour, batch.family, batch.spaces).on(batch.family, batch.tasks)
    return lambda view, step: in_units_of(batch.spaces.actions, act(view, noise.gaussian[step], spread))


def expert_actions(family: Family, spaces: Spaces, tasks: NDArray[np.int64]) -> Actions:
    """What the family's controller does, without noise. Raises CollectError for a family without one."""
    controller, space = family.controller, spaces.actions
    if controller is None:
        raise CollectError(
            f"family {family.name} has no scripted controller",
            hint='kind = "trained", "policy" or "random" in the recipe, and no expert_action',
        )
    if is_counted(space):
        return lambda view, _step: controller(view, tasks).astype(space.dtype)
    return lambda view, _step: in_units_of(space, _within_unit(controller(view, tasks).astype(np.float64)))


def _within_unit(actions: Array) -> Array:
    return np.minimum(np.maximum(actions, -1), 1)  # np.clip takes twice as long for so few numbers


def _scripted(batch: Batch) -> Actions:
    """The family's controller plus Gaussian noise. Raises CollectError for a family without one."""
    behaviour, controller, tasks = batch.behaviour, batch.family.controller, batch.tasks
    space = batch.spaces.actions
    if controller is None or not behaviour.noise:
        return expert_actions(batch.family, batch.spaces, tasks)
    gaussian = behaviour.noise * _noisy(batch).gaussian
    return lambda view, step: in_units_of(space, _within_unit(controller(view, tasks) + gaussian[step]))


def _noisy(batch: Batch, episode: int = 0) -> Noise:
    """The noise of numbers. Raises CollectError where actions are choices."""
    if is_counted(batch.spaces.actions):
        said = f"behaviour {batch.behaviour.name!r} has noise, and the actions of {batch.family.name} are whole numbers"
        raise CollectError(said, hint="random_share makes a share of the steps random; leave noise out")
    return batch.noise(episode)


def _mixture(batch: Batch) -> Actions:
    """Each step scripted or random."""
    scripted, random, noise, share = _scripted(batch), _random(batch), batch.noise(), batch.behaviour.random_share

    def actions(view: Array, step: int) -> Array:
        by_chance = random(view, step)
        return np.where(over_actions(noise.choice[step] < share, by_chance), by_chance, scripted(view, step))

    return actions


_KINDS: dict[str, Callable[[Batch], Actions]] = {
    "random": _random,
    "trained": _trained,
    "scripted": _scripted,
    "mixture": _mixture,
}


class GuardedPolicy(Policy):
    """A policy from outside: its actions are checked, clipped, made noisy and mixed with random ones."""

    def __init__(self, batch: Batch, policy: Policy) -> None:
        self._batch, self._policy, self._space = batch, policy, batch.spaces.actions
        self._low, self._high = bounds(self._space)
        self._episode, self.clipped = -1, 0

    def reset(self) -> None:
        self._episode, self._step = self._episode + 1, -1
        self._ended = np.zeros(len(self._batch.tasks), bool)
        behaviour = self._batch.behaviour
        if behaviour.noise:
            self._noise = _noisy(self._batch, self._episode)
        elif behaviour.random_share:
            self._noise = self._batch.noise(self._episode)
        self._policy.reset()

    def act(self, observations: Array) -> Array:
        self._step += 1
        low, high, behaviour = self._low, self._high, self._batch.behaviour
        actions = self._checked(self._policy.act(observations))
        if behaviour.noise:
            unit = 2 * (actions - low) / (high - low) - 1 + behaviour.noise * self._noise.gaussian[self._step]
            actions = in_units_of(self._space, np.clip(unit, -1, 1))
        if behaviour.random_share:
            chosen = self._noise.choice[self._step] < behaviour.random_share
            by_chance = in_units_of(self._space, self._noise.uniform[self._step])
            actions = np.where(over_actions(chosen, actions), by_chance, actions)
        return actions

    def observe(self, actions: Array, rewards: Array, next_observations: Array, ended: NDArray[np.bool_]) -> None:
        self._ended = ended
        self._policy.observe(actions, rewards, next_observations, ended)

    def columns(self) -> Mapping[str, Array]:
        """What the policy says beside its actions."""
        given = getattr(self._policy, "columns", dict[str, Array])()
        return {name: np.array(column) for name, column in given.items()}

    def _checked(self, actions: object) -> Array:
        """(B, ...) in the space's dtype and bounds. An ended episode's are not looked at. Raises CollectError."""
        behaviour, shape = self._batch.behaviour, (len(self._batch.tasks), *self._low.shape)
        given = np.asarray(actions)
        if given.shape != shape or given.dtype.kind not in "fiu":
            raise CollectError(
                f"{behaviour.policy} gave actions of {given.dtype} {given.shape} at step {self._step} of behaviour"
                f" {behaviour.name!r}; numbers {shape} were expected"
            )
        given = np.where(over_actions(self._ended, given), self._low, given)
        if is_counted(self._space):
            return self._choices(given)
        given = given.astype(self._space.dtype)
        if not np.isfinite(given).all():
            task = self._batch.tasks[~np.isfinite(given).reshape(len(given), -1).all(1)][0]
            raise CollectError(f"{behaviour.policy} gave NaN or infinity at step {self._step} on task {task}")
        clipped = np.clip(given, self._low, self._high)
        self.clipped += int((clipped != given).reshape(len(given), -1).any(1).sum())
        return clipped

    def _choices(self, given: Array) -> Array:
        """Whole numbers, which are not clipped: the one above the last is no choice that is nearly the last."""
        wrong = given[~((given >= self._low) & (given <= self._high) & (given == np.floor(given)))]
        if wrong.size:
            said = f"{self._batch.behaviour.policy} chose {wrong.flat[0]} at step {self._step} of behaviour"
            raise CollectError(f"{said} {self._batch.behaviour.name!r}, which is none of {self._space}")
        return given.astype(self._space.dtype)


def make_policy(batch: Batch) -> StatelessPolicy | GuardedPolicy:
    """What acts in these episodes. Raises CollectError, PluginError or PolicyError."""
    behaviour = batch.behaviour
    if behaviour.kind != "policy":
        return StatelessPolicy(_KINDS[behaviour.kind](batch))
    factory = BEHAVIOURS.get(str(behaviour.policy))
    policy = factory(batch.family, batch.tasks, batch.seeds[:, 0], dict(behaviour.options))
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
