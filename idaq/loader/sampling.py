"""Which transitions go into a meta-batch: a pure function of (seed, step), so that resuming is exact.

Shapes: N tasks in a meta-batch, B transitions and K context transitions a task.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idaq.core.seeds import generator
from idaq.loader.table import TransitionTable
from idaq.loader.transitions import Transitions


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
        """The meta-batch of a step: the same whenever and however often it is asked for."""
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


def task_contexts(table: TransitionTable, positions: NDArray[np.int64], size: int, seed: int) -> Transitions:
    """A random context of `size` transitions for each task position: (len(positions), size)."""
    contexts = []
    for position in positions.tolist():
        first, last = table.ranges[position]
        contexts.append(generator(seed, position).integers(first, last, size=size))
    return table.gather(np.stack(contexts))
