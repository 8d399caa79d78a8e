"""Random access to transitions: any rows, any order, from a memory map or from RAM, with the same code.

Transitions are numbered 0 .. S-1 in episode order; those of a task are contiguous. D observation, A action.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from idaq.core.types import Array
from idaq.format.columns import Columns, FlatColumn
from idaq.format.reader import EpisodeTable
from idaq.loader.transitions import Floats, Transitions

_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Mean and standard deviation over transitions, in float64 arithmetic. Standard deviations are at least 1e-3."""

    observation_mean: Floats
    """(D,)"""
    observation_std: Floats
    """(D,)"""
    change_std: Floats
    """(D,) of s' - s"""
    reward_mean: float
    reward_std: float


class TransitionTable:
    """All transitions of some episodes."""

    def __init__(self, columns: Columns, episodes: EpisodeTable, numbers: NDArray[np.int64]) -> None:
        lengths = episodes.length[numbers]
        self._first = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
        self._episode = np.repeat(np.arange(len(numbers), dtype=np.int32), lengths)
        self._observations = _Gather(columns["observations"], numbers, rows=2)
        self._actions = _Gather(columns["actions"], numbers)
        self._rewards = _Gather(columns["rewards"], numbers)
        self._terminated = _Gather(columns["terminated"], numbers)
        tasks, starts = np.unique(episodes.task_index[numbers], return_index=True)
        self.task_indices: NDArray[np.int64] = tasks
        """task index of each task, ascending; positions in this array are what `ranges` is indexed by"""
        edges = np.append(self._first[starts], self._first[-1])
        self.ranges: NDArray[np.int64] = np.stack([edges[:-1], edges[1:]], 1)
        """(tasks, 2) first and one past the last transition of each task"""

    def __len__(self) -> int:
        return int(self._first[-1])

    def gather(self, rows: NDArray[np.int64]) -> Transitions:
        """The transitions numbered `rows`, of any shape (...); columns are (..., D) and so on. Raises IndexError."""
        flat = rows.ravel()
        if flat.size and (flat.min() < 0 or flat.max() >= len(self)):
            raise IndexError(f"transition numbers must lie in [0, {len(self)}), got {flat.min()} to {flat.max()}")
        episode = self._episode[flat]
        step = flat - self._first[episode]
        pair = self._observations(episode, step)
        size = pair.shape[1] // 2
        return Transitions(
            observations=pair[:, :size].reshape(*rows.shape, size),
            actions=self._actions(episode, step).reshape(*rows.shape, -1),
            rewards=self._rewards(episode, step).reshape(rows.shape),
            next_observations=pair[:, size:].reshape(*rows.shape, size),
            terminated=self._terminated(episode, step).astype(bool).reshape(rows.shape),
        )

    def of_task(self, position: int) -> NDArray[np.int64]:
        """Transition numbers of the `position`-th task."""
        return np.arange(*self.ranges[position])

    def statistics(self) -> Statistics:
        """Normalisation statistics over all transitions of the table, read in chunks."""
        sums: dict[str, NDArray[np.float64]] = {}
        for start in range(0, len(self), _CHUNK):
            rows = self.gather(np.arange(start, min(start + _CHUNK, len(self))))
            values = {
                "observation": rows.observations,
                "change": rows.next_observations.astype(np.float64) - rows.observations,
                "reward": rows.rewards[:, None],
            }
            for name, value in values.items():
                wide = value.astype(np.float64)
                sums[name] = sums.get(name, np.zeros((2, wide.shape[1]))) + np.stack([wide.sum(0), (wide**2).sum(0)])
        mean = {name: total[0] / len(self) for name, total in sums.items()}
        std = {
            name: np.maximum(np.sqrt(np.maximum(total[1] / len(self) - mean[name] ** 2, 0)), 1e-3)
            for name, total in sums.items()
        }
        return Statistics(
            observation_mean=mean["observation"].astype(np.float32),
            observation_std=std["observation"].astype(np.float32),
            change_std=std["change"].astype(np.float32),
            reward_mean=float(mean["reward"][0]),
            reward_std=float(std["reward"][0]),
        )


class _Gather:
    """Rows of one column by (episode, step): the flat numbers seen as overlapping rows, one fancy index a call.

    `rows=2` reads each row together with the next one: s and s' are neighbours on disk.
    """

    def __init__(self, column: FlatColumn, numbers: NDArray[np.int64], rows: int = 1) -> None:
        flat, width = column.flat, column.width
        item = flat.dtype.itemsize
        self._stride = width
        self._start = column.offsets[numbers]
        count = max(len(flat) - width * rows + 1, 0)
        self._windows = as_strided(flat, (count, width * rows), (item, item), writeable=False)
        self._is_bool = flat.dtype == bool

    def __call__(self, episode: NDArray[np.int32], step: NDArray[np.int64]) -> Array:
        rows = self._windows[self._start[episode] + step * self._stride]
        return rows if self._is_bool else rows.astype(np.float32, copy=False)
