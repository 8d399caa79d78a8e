"""Trained behaviour policies, acting in NumPy. Shapes: B episodes, D observation, F task features, A action."""

import copy
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.collect.actions import in_units_of
from idaq.collect.policy_record import PolicyRecord, read_policy, read_record
from idaq.core.errors import PolicyError
from idaq.core.resources import resource_root
from idaq.core.seeds import generator
from idaq.core.types import Array
from idaq.format.recipe import Behaviour
from idaq.tasks import Family, Spaces

Act = Callable[[Array, Array, float], Array]
"""observations (B, D), standard normal numbers (B, A), `noise` -> actions (B, A) in [-1, 1], with `noise` times the
policy's own spread"""


class GaussianActor:
    """tanh of a Gaussian whose mean and spread an MLP of ReLUs gives.

    One for all inputs, or a stack (N, ...) of as many as there are rows of inputs, one for each. `squashed` says how
    the last layer's number becomes the logarithm of the spread: clipped to [-20, 2], or led into [-5, 2] by tanh.
    """

    def __init__(self, actor: Mapping[str, Array], *, squashed: bool = False) -> None:
        hidden = sum(name.endswith(".weight") for name in actor) - 2
        names = [*(f"layers.{i}" for i in range(hidden)), "mean", "log_std"]
        # (I, O), so that rows multiply from the left; biases (1, O)
        self._layers = [
            (np.ascontiguousarray(actor[f"{name}.weight"].swapaxes(-1, -2)), actor[f"{name}.bias"][..., None, :])
            for name in names
        ]
        self._squashed = squashed

    def rows(self, rows: NDArray[np.int64]) -> "GaussianActor":
        """Of a stack: one actor for each of `rows`."""
        chosen = copy.copy(self)
        chosen._layers = [(weight[rows], bias[rows]) for weight, bias in self._layers]
        return chosen

    def __call__(self, inputs: Array, gaussian: Array, noise: float) -> Array:
        """As `Act`, from all that the actor sees: observations and, where it is conditioned on them, task features.

        Row by row, so that an episode does not depend on what it is batched with: a matrix product of all rows rounds
        differently for every B.
        """
        x = inputs.astype(np.float32)[:, None, :]
        for weight, bias in self._layers[:-2]:
            x = np.maximum(x @ weight + bias, 0)
        mean, log_std = [(x @ weight + bias)[:, 0] for weight, bias in self._layers[-2:]]
        if noise == 0:
            return np.tanh(mean)
        log_std = 3.5 * np.tanh(log_std) - 1.5 if self._squashed else np.clip(log_std, -20, 2)
        return np.tanh(mean + noise * np.exp(log_std) * gaussian.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class TrainedPolicy:
    """One policy for all tasks of a family, conditioned on the task, or one for each of some tasks."""

    actor: GaussianActor
    record: PolicyRecord

    def on(self, family: Family, tasks: NDArray[np.int64]) -> Act:
        """The policy of B episodes on these tasks (B,). Raises PolicyError for a task that has none."""
        if not self.record.tasks:
            return lambda seen, gaussian, noise: self.actor(with_features(family, seen, tasks), gaussian, noise)
        row_of = {task: row for row, task in enumerate(self.record.tasks)}
        if missing := sorted(set(tasks.tolist()) - row_of.keys()):
            hint = f"train them: {self.record.command}"
            raise PolicyError(f"there are no policies of {self.record.family} for the tasks {missing}", hint=hint)
        return self.actor.rows(np.array([row_of[task] for task in tasks.tolist()]))


def policies_folder(family: str, training: str = "") -> Path:
    """Where a family's trained behaviour policies lie: $IDAQ_BEHAVIORS/<family> if it is there, else the catalogue.

    A training beside the first is a folder in it, such as `per-task`.
    """
    own = Path(os.environ.get("IDAQ_BEHAVIORS", "")) / family / training
    if os.environ.get("IDAQ_BEHAVIORS") and own.is_dir():
        return own
    return resource_root("datasets") / family / "behaviours" / training


def load_policy(behaviour: Behaviour, family: Family, spaces: Spaces) -> TrainedPolicy:
    """The policy that a recipe's behaviour names: `SNAPSHOT` or `TRAINING/SNAPSHOT`.

    Raises PolicyError for other weights than the sha256 says, or for other sizes.
    """
    assert behaviour.policy is not None
    training, _, snapshot = behaviour.policy.rpartition("/")
    trained_on = behaviour.trained_on or family.name
    folder = policies_folder(trained_on, training)
    policy = _read_once(folder, snapshot)
    record, here = policy.record, policy.record.snapshots[snapshot].sha256
    if behaviour.weights != here:
        raise PolicyError(
            f"the recipe was written for other weights of {record.family} {behaviour.policy!r}:"
            f" {behaviour.weights:.12}, here are {here[:12]}",
            hint="the same recipe must give the same data: name these weights in a recipe with another id, or say where"
            f" those are: IDAQ_BEHAVIORS=FOLDER; these were made by {record.command}",
        )
    theirs = (record.family, record.observation_size, record.feature_size, record.action_size)
    ours = (trained_on, *sizes(family, spaces, conditioned=not record.tasks))
    if theirs != ours:
        raise PolicyError(
            f"the weights in {folder} are for {theirs}; the installed family is {ours}",
            hint=f"train them again: {record.command}",
        )
    return policy


def open_policy(folder: Path, snapshot: str) -> TrainedPolicy:
    """A snapshot of the training in a folder. Raises PolicyError as `read_policy` does."""
    return as_policy(read_policy(folder, snapshot), read_record(folder))


_read_once = functools.cache(open_policy)


def as_policy(tensors: Mapping[str, Array], record: PolicyRecord) -> TrainedPolicy:
    """What acts with these weights of this training."""
    return TrainedPolicy(actor=GaussianActor(tensors, squashed=bool(record.tasks)), record=record)


def sizes(family: Family, spaces: Spaces, *, conditioned: bool = True) -> tuple[int, int, int]:
    """Observation, feature and action size of a family that a policy can be trained for. Raises PolicyError."""
    if conditioned and family.task_features is None:
        raise PolicyError(
            f"family {family.name} has no task_features, which a trained policy is conditioned on",
            hint=f"one policy a task needs none: idaq behavior train {family.name} --per-task",
        )
    for space in (spaces.observations, spaces.actions):
        if not (isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and space.dtype.kind == "f"):
            raise PolicyError(f"family {family.name} has {space}; policies are trained for vectors of floats"[:500])
    assert spaces.observations.shape is not None
    assert spaces.actions.shape is not None
    features = 0 if family.task_features is None or not conditioned else family.task_features.shape[1]
    return spaces.observations.shape[0], features, spaces.actions.shape[0]


def with_features(family: Family, observations: Array, tasks: Array) -> Array:
    """(B, D + F): what a policy sees that is conditioned on the task."""
    assert family.task_features is not None
    return np.concatenate([observations, family.task_features[tasks]], -1)


@dataclass(frozen=True, kw_only=True)
class Played:
    """One episode of each of B tasks."""

    returns: NDArray[np.float64]
    """(B,)"""
    actions: Array
    """(B, T, A) in [-1, 1]"""
    alive: NDArray[np.bool_]
    """(B, T) false after an episode's end"""


def play(
    family: Family, policy: TrainedPolicy, tasks: NDArray[np.int64], seeds: NDArray[np.uint64], noise: float
) -> Played:
    """Episodes of a policy that need no recipe: for judging it."""
    env, spaces, act = family.lockstep(), family.spaces(), policy.on(family, tasks)
    space, size = spaces.actions, (len(tasks), family.horizon, policy.record.action_size)
    gaussian = np.stack([generator(int(seed)).standard_normal(size[1:]) for seed in seeds])
    observations, alive = env.reset(tasks, seeds), np.ones(len(tasks), bool)
    returns, actions, lived = np.zeros(len(tasks)), np.zeros(size), np.zeros(size[:2], bool)
    for step in range(family.horizon):
        unit = act(observations, gaussian[:, step], noise)
        result = env.step(in_units_of(space, unit))
        actions[:, step], lived[:, step] = unit, alive
        returns += np.where(alive, result.rewards, 0)
        observations, alive = result.observations, alive & ~result.terminated
    return Played(returns=returns, actions=actions, alive=lived)
