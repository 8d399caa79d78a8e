"""Random access to transitions: any rows, any order, from a memory map or from RAM, with the same code.

Transitions are numbered 0 .. S-1 in episode order; those of a task are contiguous. D observation, A action.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, TERMINATIONS, Array, Floats
from idaq.format.columns import Columns, FlatColumn
from idaq.format.reader import EpisodeTable
from idaq.loader.transitions import Transitions

_CHUNK = 1 << 16
_USED = (OBSERVATIONS, ACTIONS, REWARDS, TERMINATIONS)


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
    """All transitions of some episodes, read where they lie or, with `in_ram`, from one packed array."""

    def __init__(
        self, columns: Columns, episodes: EpisodeTable, numbers: NDArray[np.int64], in_ram: bool = False
    ) -> None:
        lengths = episodes.length[numbers]
        first = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
        self._size, self._numbers = int(first[-1]), numbers
        self._episode = np.repeat(np.arange(len(numbers)), lengths)
        self.episodes: NDArray[np.int64] = np.stack([first[:-1], first[1:]], 1)
        """(episodes, 2) first and one past the last transition of each episode"""
        self._terminates = bool(episodes.terminated[numbers].any())
        self._columns = {name: _Column(columns[name], numbers, first[:-1]) for name in _USED}
        self._packed = self._pack() if in_ram else None
        tasks, starts = np.unique(episodes.task_index[numbers], return_index=True)
        self.task_indices: NDArray[np.int64] = tasks
        """task index of each task, ascending; positions in this array are what `ranges` is indexed by"""
        edges = np.append(first[starts], self._size)
        self.ranges: NDArray[np.int64] = np.stack([edges[:-1], edges[1:]], 1)
        """(tasks, 2) first and one past the last transition of each task"""

    def __len__(self) -> int:
        return self._size

    @property
    def in_ram(self) -> bool:
        """Whether rows come from the packed array."""
        return self._packed is not None

    def gather(self, rows: NDArray[np.int64]) -> Transitions:
        """The transitions numbered `rows`, of any shape (...); columns are (..., D) and so on. Raises IndexError."""
        flat = rows.ravel()
        if flat.size and (flat.min() < 0 or flat.max() >= self._size):
            raise IndexError(f"transition numbers must lie in [0, {self._size}), got {flat.min()} to {flat.max()}")
        found = self._read(flat) if self._packed is None else self._unpack(self._packed.take(flat, axis=0))
        return found.reshape(*rows.shape)

    def _read(self, flat: NDArray[np.int64]) -> Transitions:
        episode, columns = self._episode.take(flat), self._columns
        if self._terminates:
            terminated = columns[TERMINATIONS](episode, flat)[:, 0].astype(bool, copy=False)
        else:
            terminated = np.zeros(len(flat), bool)  # the table of episodes says so: no need to read it
        with np.errstate(over="ignore"):  # `statistics`, which every training begins with, refuses what overflows
            return Transitions(
                observations=columns["observations"](episode, flat).astype(np.float32, copy=False),
                actions=columns["actions"](episode, flat).astype(np.float32, copy=False),
                rewards=columns["rewards"](episode, flat)[:, 0].astype(np.float32, copy=False),
                next_observations=columns["observations"](episode, flat, following=1).astype(np.float32, copy=False),
                terminated=terminated,
            )

    def _pack(self) -> Floats:
        """All transitions as rows [s, a, s', r, terminated]: one copy of memory serves a whole transition."""
        size, action = self._columns["observations"].width, self._columns["actions"].width
        packed = np.empty((self._size, 2 * size + action + 2), np.float32)
        for start in range(0, self._size, _CHUNK):
            rows = self._read(np.arange(start, min(start + _CHUNK, self._size)))
            flags = np.stack([rows.rewards, rows.terminated], 1)
            packed[start : start + len(rows)] = np.concatenate(
                [rows.observations, rows.actions, rows.next_observations, flags], 1
            )
        return packed

    def _unpack(self, packed: Floats) -> Transitions:
        size, action = self._columns["observations"].width, self._columns["actions"].width
        return Transitions(
            observations=packed[:, :size],
            actions=packed[:, size : size + action],
            next_observations=packed[:, size + action : -2],
            rewards=packed[:, -2],
            terminated=packed[:, -1].astype(bool),
        )

    def episode_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The position in `episodes` of each transition (...)."""
        return self._episode[rows]

    def of_task(self, position: int) -> NDArray[np.int64]:
        """Transition numbers of the `position`-th task."""
        return np.arange(*self.ranges[position], dtype=np.int64)

    def statistics(self) -> Statistics:
        """Normalisation statistics over all transitions of the table, read in chunks.

        Raises DatasetError for NaN, infinity, and what float32 cannot hold, naming column and episode.
        """
        return statistics_of(self._checked(start) for start in range(0, len(self), _CHUNK))

    def _checked(self, start: int) -> Transitions:
        rows = self.gather(np.arange(start, min(start + _CHUNK, len(self))))
        check_learnable(rows, lambda row: int(self._numbers[self._episode[start + row]]))
        return rows


def check_learnable(rows: Transitions, episode: Callable[[int], int]) -> None:
    """All numbers of (R,) transitions are finite in float32. `episode` gives a row's episode.

    Raises DatasetError naming column and episode.
    """
    for name in ("observations", "actions", "rewards", "next_observations"):
        column: Array = getattr(rows, name)
        bad = ~np.isfinite(column).reshape(len(column), -1).all(1)
        if bad.any():
            raise DatasetError(
                f"{name.removeprefix('next_')} of episode {episode(int(np.argmax(bad)))} hold NaN, infinity or a "
                "number beyond float32, in which learning calculates",
                hint="scale that column, or leave the episode out: idaq dataset subset --help",
            )


def statistics_of(parts: Iterable[Transitions]) -> Statistics:
    """Normalisation statistics over transitions that come in parts, each (R,); at least one."""
    sums: dict[str, NDArray[np.float64]] = {}
    count = 0
    for rows in parts:
        count += len(rows)
        values = {
            "observation": rows.observations,
            "change": rows.next_observations.astype(np.float64) - rows.observations,
            "reward": rows.rewards[:, None],
        }
        for name, value in values.items():
            wide = value.astype(np.float64)
            sums[name] = sums.get(name, np.zeros((2, wide.shape[1]))) + np.stack([wide.sum(0), (wide**2).sum(0)])
    mean = {name: total[0] / count for name, total in sums.items()}
    std = {
        name: np.maximum(np.sqrt(np.maximum(total[1] / count - mean[name] ** 2, 0)), 1e-3)
        for name, total in sums.items()
    }
    return Statistics(
        observation_mean=mean["observation"].astype(np.float32),
        observation_std=std["observation"].astype(np.float32),
        change_std=std["change"].astype(np.float32),
        reward_mean=float(mean["reward"][0]),
        reward_std=float(std["reward"][0]),
    )


class _Column:
    """Rows of one column by transition: rows of an episode follow each other, so row = base[episode] + transition.

    Where every episode starts at a whole number of rows (on disk: rows of up to 64 bytes whose size is a power of two)
    the column is a matrix and `take` copies rows. Elsewhere the numbers are seen as overlapping rows, one starting at
    each number, which costs a fancy index but no copy of the file.
    """

    def __init__(self, column: FlatColumn, numbers: NDArray[np.int64], first: NDArray[np.int64]) -> None:
        flat, width = column.flat, column.width
        start, item = column.offsets[numbers], flat.dtype.itemsize
        self.width = width
        self._is_matrix = not (start % width).any()
        self._stride = 1 if self._is_matrix else width
        self._base = start // width - first if self._is_matrix else start - first * width
        if self._is_matrix:
            self._rows = flat[: len(flat) // width * width].reshape(-1, width)
        else:
            self._rows = as_strided(flat, (len(flat) - width + 1, width), (item, item), writeable=False)

    def __call__(self, episode: NDArray[np.int64], transition: NDArray[np.int64], following: int = 0) -> Array:
        """The rows (R, width) of transitions, or of the row `following` places later in the same episode."""
        index = self._base.take(episode)
        index += transition * self._stride if self._stride > 1 else transition
        if following:
            index += following * self._stride
        return self._rows.take(index, axis=0) if self._is_matrix else self._rows[index]
