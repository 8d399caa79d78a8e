"""Random access to transitions: any rows, any order, from a memory map or from RAM, with the same code.

Transitions are numbered 0 .. S-1 in episode order; those of a task are contiguous. D observation, A action. What is
kept beside the data follows the number of episodes, never that of transitions.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError, unknown_name
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, TERMINATIONS, Array, Floats
from idaq.format.columns import Columns
from idaq.format.episodes import EpisodeStore
from idaq.format.reader import EpisodeTable
from idaq.loader.flat import FlatView, plain_view
from idaq.loader.partition import Partition
from idaq.loader.rows import EpisodeCache, FetchedRows, FlatRows, Rows, reading_in_order, sliding
from idaq.loader.transitions import Transitions

_CHUNK = 1 << 16
KEPT = 2**28
"""bytes of fetched episodes that are kept"""


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
    """All transitions of some episodes, read where they lie or, with `in_ram`, from one packed array of their view.

    Columns that `columns` does not hold come out of the episodes that `store` gives, of which `memory` bytes are kept.
    """

    def __init__(
        self,
        columns: Columns,
        episodes: EpisodeTable,
        numbers: NDArray[np.int64],
        in_ram: bool = False,
        *,
        view: FlatView | None = None,
        store: EpisodeStore | None = None,
        memory: int = KEPT,
    ) -> None:
        self.episodes = Partition(episodes.length[numbers])
        """which transitions are of which episode, by its position in `numbers`"""
        self.numbers, self.table = numbers, episodes
        self.view = view or plain_view(columns[OBSERVATIONS].shape, columns[ACTIONS].shape)
        """as what numbers transitions are gathered"""
        self._sizes = self.view.observation_size, self.view.action_size
        self._flat, self._rows = columns, dict[str, Rows]()
        self._names = {*columns, *(store.shapes if store else ())}
        self._cache = EpisodeCache(store.episode, memory) if store else None
        self._terminates = bool(episodes.terminated[numbers].any())
        first = np.flatnonzero(np.diff(episodes.task_index[numbers], prepend=-1))
        self.task_indices: NDArray[np.int64] = episodes.task_index[numbers][first]
        """task index of each task, ascending; positions in this array are what `ranges` is indexed by"""
        self.ranges: NDArray[np.int64] = self.episodes.edges[np.stack([first, np.append(first[1:], len(numbers))], 1)]
        """(tasks, 2) first and one past the last transition of each task"""
        with self._reading_in_order():
            self._packed = self._pack() if in_ram else None

    def _reading_in_order(self) -> AbstractContextManager[None]:
        return reading_in_order(column.flat for column in self._flat.values())

    def __len__(self) -> int:
        return self.episodes.size

    @property
    def in_ram(self) -> bool:
        """Whether rows come from the packed array."""
        return self._packed is not None

    def gather(self, rows: NDArray[np.int64]) -> Transitions:
        """The transitions numbered `rows`, of any shape (...); columns are (..., D) and so on. Raises IndexError."""
        flat = self._checked_rows(rows)
        found = self._read(flat) if self._packed is None else self._unpack(self._packed.take(flat, axis=0))
        return found.reshape(*rows.shape)

    def windows(self, begin: NDArray[np.int64], length: int) -> Transitions:
        """`length` transitions in a row from each of `begin` (N,) on: (N, L), as `gather` gives them, but faster.

        Raises IndexError where one leads out of the table.
        """
        self._checked_rows(np.stack([begin, begin + (length - 1)]))
        if self._packed is not None:
            width = self._packed.shape[1]
            stretches = sliding(self._packed.ravel(), length * width)[begin * width]
            return self._unpack(stretches.reshape(len(begin), length, width))
        episode = self.episodes.of(begin)
        if self._leaves_episode(episode, begin, length):
            return self.gather(begin[:, None] + np.arange(length))
        return self._transitions(lambda name, following: self._of(name).windows(episode, begin, length, following))

    def column(self, name: str, rows: NDArray[np.int64]) -> Array:
        """The rows of a column that transitions (...) begin with, in its own dtype: (..., *shape).

        Raises IndexError; UnknownNameError for a column that the dataset does not have.
        """
        flat = self._checked_rows(rows)
        found = self._of(name).take(self.episodes.of(flat), flat)
        return found.reshape(*rows.shape, *found.shape[1:])

    def column_windows(self, name: str, begin: NDArray[np.int64], length: int) -> Array:
        """The rows of a column of `length` transitions in a row from each of `begin` (N,) on: (N, L, *shape).

        As `column` gives them, but faster. Raises as `column`.
        """
        self._checked_rows(np.stack([begin, begin + (length - 1)]))
        episode = self.episodes.of(begin)
        if self._leaves_episode(episode, begin, length):
            return self.column(name, begin[:, None] + np.arange(length))
        return self._of(name).windows(episode, begin, length)

    def _leaves_episode(self, episode: NDArray[np.int64], begin: NDArray[np.int64], length: int) -> bool:
        return bool((self.episodes.edges.take(episode + 1) < begin + length).any())

    def check_column(self, name: str) -> None:
        """Raise UnknownNameError for a column that the dataset does not have."""
        if name not in self._names:
            raise unknown_name("column", name, self._names)

    def _checked_rows(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        flat, size = rows.ravel(), len(self)
        if flat.size and (flat.min() < 0 or flat.max() >= size):
            raise IndexError(f"transition numbers must lie in [0, {size}), got {flat.min()} to {flat.max()}")
        return flat

    def _of(self, name: str) -> Rows:
        """The rows of a column, from where it lies."""
        if name not in self._rows:
            self.check_column(name)
            first, cache = self.episodes.edges[:-1], self._cache
            if name in self._flat:
                self._rows[name] = FlatRows(self._flat[name], self.numbers, first)
            else:
                assert cache is not None
                self._rows[name] = FetchedRows(lambda number: cache(number)[name], self.numbers, first)
        return self._rows[name]

    def _read(self, flat: NDArray[np.int64]) -> Transitions:
        episode = self.episodes.of(flat)
        return self._transitions(lambda name, following: self._of(name).take(episode, flat, following))

    def _transitions(self, read: Callable[[str, int], Array]) -> Transitions:
        """Transitions in the view, of columns that `read` gives by name: of the step, or of the one that follows."""
        seen = [leaf.column for leaf in self.view.observations]
        rewards = read(REWARDS, 0)
        if self._terminates:
            terminated = read(TERMINATIONS, 0).astype(bool, copy=False)
        else:
            terminated = np.zeros(rewards.shape, bool)  # the table of episodes says so: no need to read it
        with np.errstate(over="ignore"):  # `statistics`, which every training begins with, refuses what overflows
            return Transitions(
                observations=self.view.join({name: read(name, 0) for name in seen}),
                actions=self.view.encode_actions(read(ACTIONS, 0)),
                rewards=rewards.astype(np.float32, copy=False),
                next_observations=self.view.join({name: read(name, 1) for name in seen}),
                terminated=terminated,
            )

    def _pack(self) -> Floats:
        """All transitions as rows [s, a, s', r, terminated]: one copy of memory serves a whole transition."""
        packed = np.empty((len(self), self.view.packed_width), np.float32)
        for start in range(0, len(self), _CHUNK):
            rows = self._read(np.arange(start, min(start + _CHUNK, len(self))))
            flags = np.stack([rows.rewards, rows.terminated], 1)
            packed[start : start + len(rows)] = np.concatenate(
                [rows.observations, rows.actions, rows.next_observations, flags], 1
            )
        return packed

    def _unpack(self, packed: Floats) -> Transitions:
        size, action = self._sizes
        return Transitions(
            observations=packed[..., :size],
            actions=packed[..., size : size + action],
            next_observations=packed[..., size + action : -2],
            rewards=packed[..., -2],
            terminated=packed[..., -1].astype(bool),
        )

    def of_task(self, position: int) -> NDArray[np.int64]:
        """Transition numbers of the `position`-th task."""
        return np.arange(*self.ranges[position], dtype=np.int64)

    def statistics(self) -> Statistics:
        """Normalisation statistics over all transitions of the table, read in chunks.

        Raises DatasetError for NaN, infinity, and what float32 cannot hold, naming column and episode.
        """
        with self._reading_in_order():
            return statistics_of(self._checked(start) for start in range(0, len(self), _CHUNK))

    def _checked(self, start: int) -> Transitions:
        rows = self.gather(np.arange(start, min(start + _CHUNK, len(self))))
        check_learnable(rows, lambda row: int(self.numbers[self.episodes.of(np.array(start + row))]))
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
