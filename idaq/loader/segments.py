"""Segments of contiguous steps: what recurrent and sequence learners learn from. A pure function of (seed, step).

    within="episode"   e0: . . [a b c] .          a segment ends with its episode at the latest
    within="task"      e0: . . . [a b | c] . :e1  it goes on into the task's next episodes, in the dataset's order
    within="history"   the same along one learning history, in the order of what its policy had learned (policy_step);
                       `every` = n: along every n-th episode of it, from each of its first n on

Shapes: N segments, L steps, and a column's own row `*shape`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError, UsageError
from idaq.core.seeds import generator
from idaq.core.types import REWARDS, Array, Floats
from idaq.loader.partition import Partition
from idaq.loader.table import Statistics, TransitionTable
from idaq.loader.transitions import Transitions

Within = Literal["episode", "task", "history"]
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class SegmentBatch:
    """L contiguous steps of each of N tasks."""

    tasks: NDArray[np.int64]
    """(N,) task indices, drawn with replacement"""
    segments: Transitions
    """(N, L)"""
    starts: NDArray[np.bool_]
    """(N, L) whether the step is the first of its episode"""
    valid: NDArray[np.bool_]
    """(N, L) false beyond the end of what is shorter than L: such steps repeat the last one"""
    returns: Floats | None
    """(N, L) returns-to-go: from the step to its episode's end; None where no discount was given"""
    columns: Mapping[str, Array]
    """(N, L, *shape) of each column that was asked for, in its own dtype: the row that the step begins with"""


class SegmentBatches:
    """Segments of L steps. Tasks are drawn uniformly; then every first step of a segment is as likely as any other
    within what holds it, which is drawn in proportion to its length.

    `columns` are read beside the transitions; `discount` asks for returns-to-go, which take 4 bytes a transition.
    Raises DatasetError for episodes without a place in a history, where segments lie within one; UnknownNameError for a
    column that is not there.
    """

    def __init__(
        self,
        table: TransitionTable,
        *,
        meta_batch: int,
        length: int,
        within: Within = "episode",
        seed: int,
        columns: Sequence[str] = (),
        discount: float | None = None,
        every: int = 1,
    ) -> None:
        if every > 1 and within != "history":
            raise UsageError(f"every = {every} within {within!r}", hint='within="history" has episodes to leave out')
        if within not in get_args(Within):
            raise UsageError(f"segments within {within!r}", hint=f"one of {', '.join(get_args(Within))}")
        self._table, self._seed = table, seed
        self._meta_batch, self._length, self._columns = meta_batch, length, tuple(columns)
        for name in self._columns:
            table.check_column(name)
        tasks = table.table.task_index[table.numbers][None]
        order, keys = _by_history(table, every) if within == "history" else (np.arange(len(table.episodes)), tasks)
        self._order = None if (order == np.arange(len(order))).all() else order
        """position in the table of each episode, in the order in which steps follow each other; None: the table's"""
        self._episodes = table.episodes if self._order is None else Partition(table.episodes.lengths[order])
        """steps in this order in episodes"""
        self._pieces = self._episodes if within == "episode" else Partition(_lengths(table, order, keys))
        """steps in what a segment never leaves"""
        self._returns = None if discount is None else returns_to_go(table, discount)

    def at(self, step: int) -> SegmentBatch:
        """The batch of a step."""
        table, rng = self._table, generator(self._seed, step)
        positions = rng.integers(len(table.task_indices), size=self._meta_batch)
        first, last = table.ranges[positions].T
        anywhere = first + (rng.random(self._meta_batch) * (last - first)).astype(np.int64)
        piece = self._pieces.of(anywhere)
        first, last = self._pieces.edges[piece], self._pieces.edges[piece + 1]
        latest = np.maximum(first, last - self._length)
        begin = first + (rng.random(self._meta_batch) * (latest + 1 - first)).astype(np.int64)
        steps = begin[:, None] + np.arange(self._length)
        valid = steps < last[:, None]
        steps = np.minimum(steps, last[:, None] - 1)
        rows, length = steps if self._order is None else self._rows(steps), self._length
        whole = self._order is None and bool(valid.all())
        return SegmentBatch(
            tasks=table.task_indices[positions],
            segments=table.windows(begin, length) if whole else table.gather(rows),
            starts=self._starts(steps, first) & valid,
            valid=valid,
            returns=None if self._returns is None else self._returns[rows],
            columns={
                name: table.column_windows(name, begin, length) if whole else table.column(name, rows)
                for name in self._columns
            },
        )

    def _rows(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers in the table of steps in this order."""
        assert self._order is not None
        episode = self._episodes.of(steps)
        return steps - self._episodes.edges.take(episode) + self._table.episodes.edges.take(self._order.take(episode))

    def _starts(self, steps: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which steps (N, L) are the first of their episode; `first` is that of the segment's piece."""
        if self._pieces is self._episodes:
            return steps == first[:, None]
        return self._episodes.edges.take(self._episodes.of(steps)) == steps

    def statistics(self) -> Statistics:
        """Of the whole table."""
        return self._table.statistics()


def _by_history(table: TransitionTable, every: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the table's episodes, sorted by history, and in each by policy_step; and numbers (4, episodes) that
    together name the history of each. Raises DatasetError.

    With `every` = n one history becomes n: its episodes 0, n, 2n ..., then 1, n + 1 and so on.
    """
    policy_step = table.table.policy_step[table.numbers]
    placeless = (table.table.history[table.numbers] < 0) | (policy_step < 0)
    if placeless.any():
        raise DatasetError(
            f"{int(placeless.sum())} of {len(placeless)} episodes have no place in a learning history, episode"
            f" {table.numbers[np.argmax(placeless)]} for one",
            hint='select(behaviour=...) of those that have, or segments within="task"',
        )
    order = np.lexsort((policy_step, *_histories(table)[::-1]))
    keys = _histories(table)[:, order]
    first = _changes(keys)
    turn = (np.arange(len(order)) - first.repeat(np.diff(first, append=len(order)))) % every
    dealt = np.lexsort((turn, *keys[::-1]))
    return order[dealt], np.vstack([keys, turn])[:, dealt]


def _histories(table: TransitionTable) -> NDArray[np.int64]:
    """(3, episodes) task, behaviour and history of each episode: together they name one learning history."""
    chosen = table.numbers
    behaviour = np.unique(table.table.behaviour[chosen], return_inverse=True)[1]
    return np.stack([table.table.task_index[chosen], behaviour, table.table.history[chosen]])


def _changes(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a new key (numbers, episodes) begins, 0 among them."""
    return np.flatnonzero(np.append(True, (np.diff(keys, axis=1) != 0).any(0)))


def _lengths(table: TransitionTable, order: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Steps of each task or history: of the episodes of one key, which follow each other in `order`."""
    return np.add.reduceat(table.episodes.lengths[order], _changes(keys))


def returns_to_go(table: TransitionTable, discount: float) -> Floats:
    """(S,) of every transition: the sum of rewards from it to its episode's end, discounted, added in float64."""
    edges, lengths = table.episodes.edges, table.episodes.lengths
    rewards = np.empty(len(table))
    for start in range(0, len(table), _CHUNK):
        rewards[start : start + _CHUNK] = table.column(REWARDS, np.arange(start, min(start + _CHUNK, len(table))))
    going = np.zeros(len(lengths))
    order = np.argsort(-lengths, kind="stable")
    counts = len(lengths) - np.searchsorted(lengths[order[::-1]], np.arange(1, int(lengths.max()) + 1))
    for back, alive in enumerate(counts.tolist(), 1):
        rows = edges[order[:alive] + 1] - back
        going[:alive] = rewards[rows] + discount * going[:alive]
        rewards[rows] = going[:alive]
    return rewards.astype(np.float32)
