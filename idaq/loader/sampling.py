"""Which transitions go into a batch: a pure function of (seed, step), so that resuming is exact.

Shapes: N tasks in a batch, B transitions, K context or support transitions, Q query transitions and L steps a task.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.seeds import generator
from idaq.core.types import Floats
from idaq.loader.table import Statistics, TransitionTable
from idaq.loader.transitions import Transitions

BatchT = TypeVar("BatchT", covariant=True)


@runtime_checkable
class Sampler(Protocol[BatchT]):
    """Batches by step."""

    def at(self, step: int) -> BatchT:
        """The batch of a step: the same whenever, in whatever order and however often it is asked for."""
        ...

    def statistics(self) -> Statistics:
        """Normalisation statistics over all transitions that may be drawn."""
        ...


@dataclass(frozen=True, kw_only=True)
class MetaBatch:
    """Transitions and an independent context of N tasks."""

    tasks: NDArray[np.int64]
    """(N,) task indices, drawn with replacement"""
    transitions: Transitions
    """(N, B)"""
    context: Transitions
    """(N, K)"""


class MetaBatches:
    """Meta-batches drawn uniformly: tasks with replacement, then transitions of the task with replacement."""

    def __init__(self, table: TransitionTable, *, meta_batch: int, batch: int, context: int, seed: int) -> None:
        self._table, self._seed = table, seed
        self._meta_batch, self._batch, self._context = meta_batch, batch, context

    def at(self, step: int) -> MetaBatch:
        """The meta-batch of a step."""
        table, size = self._table, self._batch + self._context
        rng = generator(self._seed, step)
        positions = rng.integers(len(table.task_indices), size=self._meta_batch)
        first, last = table.ranges[positions].T[..., None]
        rows = first + (rng.random((self._meta_batch, size)) * (last - first)).astype(np.int64)
        drawn = table.gather(rows)
        return MetaBatch(
            tasks=table.task_indices[positions],
            transitions=drawn[:, : self._batch],
            context=drawn[:, self._batch :],
        )

    def statistics(self) -> Statistics:
        """Of the whole table."""
        return self._table.statistics()


@dataclass(frozen=True, kw_only=True)
class SupportQueryBatch:
    """What gradient-based meta-learning learns from: adapt on the support set, be judged on the query set.

    Returns-to-go are sums of rewards from the transition to the end of its episode, discounted.
    """

    tasks: NDArray[np.int64]
    """(N,) task indices, drawn with replacement"""
    support: Transitions
    """(N, K)"""
    query: Transitions
    """(N, Q) of other episodes than the support's"""
    support_returns: Floats
    """(N, K) returns-to-go"""
    query_returns: Floats
    """(N, Q)"""


class SupportQueryBatches:
    """Support and query sets of N tasks, from disjoint episodes: each draw deals a task's episodes out into two halves.

    Raises DatasetError for a task of a single episode.
    """

    def __init__(
        self, table: TransitionTable, *, meta_batch: int, support: int, query: int, discount: float, seed: int
    ) -> None:
        self._table, self._seed = table, seed
        self._meta_batch, self._support, self._query = meta_batch, support, query
        first_episode = np.searchsorted(table.episodes[:, 0], table.ranges[:, 0])
        last_episode = np.searchsorted(table.episodes[:, 0], table.ranges[:, 1])
        self._of_task = np.stack([first_episode, last_episode], 1)
        single = np.flatnonzero(last_episode - first_episode < 2)
        if len(single):
            raise DatasetError(
                f"task {table.task_indices[single[0]]} has a single episode: support and query sets need two",
                hint="collect more episodes a task, or select tasks that have two",
            )
        self._returns = returns_to_go(table, discount)

    def at(self, step: int) -> SupportQueryBatch:
        """The batch of a step."""
        table, rng = self._table, generator(self._seed, step)
        positions = rng.integers(len(table.task_indices), size=self._meta_batch)
        drawn = [self._rows(rng, *self._of_task[position]) for position in positions.tolist()]
        support, query = (np.stack(rows) for rows in zip(*drawn, strict=True))
        return SupportQueryBatch(
            tasks=table.task_indices[positions],
            support=table.gather(support),
            query=table.gather(query),
            support_returns=self._returns[support],
            query_returns=self._returns[query],
        )

    def _rows(self, rng: np.random.Generator, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = first + rng.permutation(last - first)
        middle = len(order) // 2
        return self._of(rng, order[:middle], self._support), self._of(rng, order[middle:], self._query)

    def _of(self, rng: np.random.Generator, episodes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """`size` transitions of some episodes, each transition as likely as any other."""
        starts, ends = self._table.episodes[episodes].T
        edges = np.append(0, (ends - starts).cumsum())
        drawn: NDArray[np.int64] = (rng.random(size) * edges[-1]).astype(np.int64)
        episode = np.searchsorted(edges, drawn, side="right") - 1
        return starts[episode] + drawn - edges[episode]

    def statistics(self) -> Statistics:
        """Of the whole table."""
        return self._table.statistics()


@dataclass(frozen=True, kw_only=True)
class SegmentBatch:
    """What recurrent and sequence learners learn from: L contiguous steps of each of N tasks."""

    tasks: NDArray[np.int64]
    """(N,) task indices, drawn with replacement"""
    segments: Transitions
    """(N, L)"""
    starts: NDArray[np.bool_]
    """(N, L) whether the step is the first of its episode"""
    valid: NDArray[np.bool_]
    """(N, L) false beyond the end of an episode or task that is shorter than L: such steps repeat the last one"""


class SegmentBatches:
    """Segments of contiguous steps, every first step of a segment as likely as any other.

    Within an episode, a segment ends with it at the latest; `across_episodes`, it goes on into the task's next
    episodes, in the dataset's order, as a learner with a memory would live through them.
    """

    def __init__(
        self, table: TransitionTable, *, meta_batch: int, length: int, across_episodes: bool, seed: int
    ) -> None:
        self._table, self._seed = table, seed
        self._meta_batch, self._length, self._across = meta_batch, length, across_episodes

    def at(self, step: int) -> SegmentBatch:
        """The batch of a step."""
        table, rng = self._table, generator(self._seed, step)
        positions = rng.integers(len(table.task_indices), size=self._meta_batch)
        first, last = table.ranges[positions].T
        anywhere = first + (rng.random(self._meta_batch) * (last - first)).astype(np.int64)
        if not self._across:
            first, last = table.episodes[table.episode_of(anywhere)].T
        latest = np.maximum(first, last - self._length)
        begin = first + (rng.random(self._meta_batch) * (latest + 1 - first)).astype(np.int64)
        rows = begin[:, None] + np.arange(self._length)
        valid = rows < last[:, None]
        rows = np.minimum(rows, last[:, None] - 1)
        return SegmentBatch(
            tasks=table.task_indices[positions],
            segments=table.gather(rows),
            starts=(table.episodes[table.episode_of(rows), 0] == rows) & valid,
            valid=valid,
        )

    def statistics(self) -> Statistics:
        """Of the whole table."""
        return self._table.statistics()


def returns_to_go(table: TransitionTable, discount: float) -> Floats:
    """(S,) of every transition: the sum of rewards from it to its episode's end, discounted, added in float64."""
    rewards = table.gather(np.arange(len(table))).rewards.astype(np.float64)
    lengths = table.episodes[:, 1] - table.episodes[:, 0]
    going, returns = np.zeros(len(lengths)), np.empty(len(rewards))
    for back in range(1, int(lengths.max()) + 1):
        alive = np.flatnonzero(lengths >= back)
        rows = table.episodes[alive, 1] - back
        going[alive] = rewards[rows] + discount * going[alive]
        returns[rows] = going[alive]
    return returns.astype(np.float32)
