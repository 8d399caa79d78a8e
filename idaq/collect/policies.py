"""Trained behaviour policies, acting in NumPy. Shapes: B episodes, D observation, F task features, A action."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.collect.actions import in_units_of
from idaq.collect.policy_record import read_policy, read_record
from idaq.core.errors import PolicyError
from idaq.core.resources import resource_root
from idaq.core.seeds import generator
from idaq.core.types import Array
from idaq.tasks import Family, Spaces


class GaussianActor:
    """tanh of a Gaussian whose mean and spread an MLP of ReLUs gives."""

    def __init__(self, actor: Mapping[str, Array]) -> None:
        hidden = sum(name.endswith(".weight") for name in actor) - 2
        names = [*(f"layers.{i}" for i in range(hidden)), "mean", "log_std"]
        # (I, O), so that rows multiply from the left
        pairs = [(actor[f"{name}.weight"].T, actor[f"{name}.bias"]) for name in names]
        self._hidden = [(np.ascontiguousarray(weight), bias) for weight, bias in pairs[:-2]]
        self._mean, self._log_std = [(np.ascontiguousarray(weight), bias) for weight, bias in pairs[-2:]]

    def __call__(self, inputs: Array, gaussian: Array, noise: float) -> Array:
        """Actions (B, A) in [-1, 1] from observations and features (B, D + F), with `noise` times the policy's own
        spread of `gaussian` (B, A).

        Row by row, so that an episode does not depend on what it is batched with: a matrix product of all rows rounds
        differently for every B.
        """
        x = inputs.astype(np.float32)[:, None, :]
        for weight, bias in self._hidden:
            x = np.maximum(x @ weight + bias, 0)
        mean = (x @ self._mean[0] + self._mean[1])[:, 0]
        if noise == 0:
            return np.tanh(mean)
        log_std = (x @ self._log_std[0] + self._log_std[1])[:, 0]
        spread = np.exp(np.clip(log_std, -20, 2))
        return np.tanh(mean + noise * spread * gaussian.astype(np.float32))


def policies_folder(family: str) -> Path:
    """Where a family's trained behaviour policies lie: $IDAQ_BEHAVIORS/<family> if it is there, else the catalogue."""
    own = Path(os.environ.get("IDAQ_BEHAVIORS", "")) / family
    if os.environ.get("IDAQ_BEHAVIORS") and own.is_dir():
        return own
    return resource_root("datasets") / family / "behaviours"


def load_policy(family: Family, snapshot: str, weights: str, spaces: Spaces) -> GaussianActor:
    """A snapshot of the catalogue. Raises PolicyError for other weights than the sha256 says, or for other sizes."""
    actor, theirs = _read_actor(policies_folder(family.name), snapshot, weights)
    ours = (family.name, *sizes(family, spaces))
    if theirs != ours:
        raise PolicyError(
            f"the weights in {policies_folder(family.name)} are for {theirs}; the installed family is {ours}",
            hint=f"train them again: idaq behavior train {family.name}",
        )
    return actor


@functools.cache
def _read_actor(folder: Path, snapshot: str, weights: str) -> tuple[GaussianActor, tuple[str, int, int, int]]:
    """An actor, and what it is for: a family, and sizes of observations, features and actions."""
    tensors, record = read_policy(folder, snapshot), read_record(folder)
    here = record.snapshots[snapshot].sha256
    if weights != here:
        raise PolicyError(
            f"the recipe was written for other weights of {record.family} {snapshot!r}: {weights[:12]}, here are"
            f" {here[:12]}",
            hint="the same recipe must give the same data: name these weights in a recipe with another id, or say where"
            " those are: IDAQ_BEHAVIORS=FOLDER",
        )
    return GaussianActor(tensors), (record.family, record.observation_size, record.feature_size, record.action_size)


def sizes(family: Family, spaces: Spaces) -> tuple[int, int, int]:
    """Observation, feature and action size of a family that a policy can be trained for. Raises PolicyError."""
    if family.task_features is None:
        raise PolicyError(f"family {family.name} has no task_features, which a trained policy is conditioned on")
    for space in (spaces.observations, spaces.actions):
        if not (isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and space.dtype.kind == "f"):
            raise PolicyError(f"family {family.name} has {space}; policies are trained for vectors of floats"[:500])
    assert spaces.observations.shape is not None
    assert spaces.actions.shape is not None
    return spaces.observations.shape[0], family.task_features.shape[1], spaces.actions.shape[0]


def with_features(family: Family, observations: Array, tasks: Array) -> Array:
    """(B, D + F): what a trained policy sees."""
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
    family: Family, policy: GaussianActor, tasks: NDArray[np.int64], seeds: NDArray[np.uint64], noise: float
) -> Played:
    """Episodes of a policy that need no recipe: for judging it."""
    env, spaces = family.lockstep(), family.spaces()
    space, size = spaces.actions, (len(tasks), family.horizon, sizes(family, spaces)[2])
    gaussian = np.stack([generator(int(seed)).standard_normal(size[1:]) for seed in seeds])
    observations, alive = env.reset(tasks, seeds), np.ones(len(tasks), bool)
    returns, actions, lived = np.zeros(len(tasks)), np.zeros(size), np.zeros(size[:2], bool)
    for step in range(family.horizon):
        unit = policy(with_features(family, observations, tasks), gaussian[:, step], noise)
        result = env.step(in_units_of(space, unit))
        actions[:, step], lived[:, step] = unit, alive
        returns += np.where(alive, result.rewards, 0)
        observations, alive = result.observations, alive & ~result.terminated
    return Played(returns=returns, actions=actions, alive=lived)
