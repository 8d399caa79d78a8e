"""Which transitions go into a batch: a pure function of (seed, step), so that resuming is exact.

Shapes: N tasks in a batch, B transitions, K context or support transitions and Q query transitions a task.
"""

from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.seeds import generator
from idaq.core.types import Floats
from idaq.loader.segments import returns_to_go
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
        self._of_task = table.episodes.edges.searchsorted(table.ranges)
        single = np.flatnonzero(np.diff(self._of_task, axis=1) < 2)
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
        starts, ends = self._table.episodes.edges[episodes], self._table.episodes.edges[episodes + 1]
        edges = np.append(0, (ends - starts).cumsum())
        drawn: NDArray[np.int64] = (rng.random(size) * edges[-1]).astype(np.int64)
        episode = np.searchsorted(edges, drawn, side="right") - 1
        return starts[episode] + drawn - edges[episode]

    def statistics(self) -> Statistics:
        """Of the whole table."""
        return self._table.statistics()
