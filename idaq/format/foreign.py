"""Minari datasets of other makers: chunked, compressed, any storage. Read through Minari itself, once, into RAM."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from minari import MinariDataset
from numpy.typing import NDArray

from idaq.core.digest import COLUMNS, episode_digest
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.reading import check_members
from idaq.core.types import Array, Episode, Success, Task
from idaq.format import layout
from idaq.format.columns import Columns, FlatColumn
from idaq.format.reader import EpisodeTable


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A foreign dataset as one task. Success is unknown and given as False."""

    dataset_id: str
    task: Task
    episodes: EpisodeTable
    columns: Columns
    action_low: NDArray[np.float32]
    action_high: NDArray[np.float32]


def read_foreign(path: Path) -> Foreign:
    """Read a whole dataset. Observations may be a Box or a (nested) Dict of Boxes, flattened in Gymnasium's order.

    Raises DatasetError for spaces that have no vector form here, CorruptDatasetError if Minari cannot read it.
    """
    check_members(path, links_out=True)
    try:
        dataset = MinariDataset(layout.data_folder(path))
        space = dataset.action_space
        if not isinstance(space, gym.spaces.Box):
            raise DatasetError(f"{path}: the action space {space} is not a Box; only continuous actions are supported")
        _check_observations(dataset.observation_space, path)
        pairs = [_episode(raw, dataset.observation_space) for raw in dataset.iterate_episodes()]
        metadata = list(dataset.storage.get_episode_metadata(range(len(pairs))))
    except DatasetError:
        raise
    except Exception as error:  # a broken dataset leads Minari and h5py to errors of any kind
        raise CorruptDatasetError(f"Minari cannot read {path}: {error}") from error
    if not pairs:
        raise DatasetError(f"{path} has no episodes")
    seeds = [int(m.get("seed") or 0) for m in metadata]
    return Foreign(
        dataset_id=dataset.id,
        task=_only_task(),
        episodes=_table(pairs, seeds),
        columns=_columns(pairs),
        action_low=space.low.ravel().astype(np.float32),
        action_high=space.high.ravel().astype(np.float32),
    )


def _check_observations(space: gym.Space[Any], path: Path) -> None:
    leaves = [space]
    while leaves:
        leaf = leaves.pop()
        if isinstance(leaf, gym.spaces.Dict):
            leaves.extend(leaf.spaces.values())
        elif not isinstance(leaf, gym.spaces.Box):
            raise DatasetError(f"{path}: observations hold a {leaf}; only Box and Dict of Box are supported")


def _episode(raw: Any, space: gym.Space[Any]) -> Episode:
    length = len(raw.rewards)
    return Episode(
        observations=np.concatenate(_leaves(raw.observations, space, length + 1), axis=1),
        actions=np.asarray(raw.actions).reshape(length, -1),
        rewards=np.asarray(raw.rewards),
        terminated=np.asarray(raw.terminations, bool),
        truncated=np.asarray(raw.truncations, bool),
    )


def _leaves(value: Any, space: gym.Space[Any], rows: int) -> list[Array]:
    if isinstance(space, gym.spaces.Dict):
        return [leaf for key, child in space.spaces.items() for leaf in _leaves(value[key], child, rows)]
    return [np.asarray(value).reshape(rows, -1)]


def _only_task() -> Task:
    success = Success(metric="unknown", op=">=", threshold=0.0, unit="", when="any-step")
    return Task(task_id="task-0", task_index=0, params={}, split="train", success=success)


def _table(episodes: list[Episode], seeds: list[int]) -> EpisodeTable:
    count = len(episodes)
    digests = [episode_digest(e, task_index=0, seed=seed) for e, seed in zip(episodes, seeds, strict=True)]
    return EpisodeTable(
        task_index=np.zeros(count, np.int64),
        behaviour=np.full(count, "unknown"),
        seed=np.array(seeds, np.uint64),
        length=np.array([len(e) for e in episodes], np.int64),
        total_reward=np.array([e.total_reward for e in episodes]),
        success=np.zeros(count, bool),
        terminated=np.array([bool(e.terminated.any()) for e in episodes]),  # some makers go on after a termination
        truncated=np.array([bool(e.truncated[-1]) for e in episodes]),
        offsets={},
        digest=np.array(digests),
    )


def _columns(episodes: list[Episode]) -> Columns:
    columns = {}
    for name in COLUMNS:
        parts = [getattr(episode, name) for episode in episodes]
        offsets = np.concatenate([[0], np.cumsum([part.size for part in parts])[:-1]]).astype(np.int64)
        columns[name] = FlatColumn(
            flat=np.concatenate([part.ravel() for part in parts]),
            offsets=offsets,
            shape=parts[0].shape[1:],
            extra_row=name == "observations",
        )
    return columns
