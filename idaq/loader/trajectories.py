"""Trajectories of whole episodes of a task: what a belief that is carried from episode to episode is learned from.

A pure function of (seed, step). Shapes: N trajectories, L steps of the longest of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idaq.core.seeds import generator
from idaq.loader.contexts import Experience
from idaq.loader.table import Statistics, TransitionTable


@dataclass(frozen=True, kw_only=True)
class TrajectoryBatch:
    """One trajectory of each of N tasks."""

    tasks: NDArray[np.int64]
    """(N,) task indices, drawn with replacement"""
    experience: Experience
    """(N, L); what is not valid repeats the last step"""


class TrajectoryBatches:
    """So many whole episodes of each task, drawn without replacement, in the order drawn; all of a task that has fewer.

    Unlike segments within a task, a trajectory begins with an episode, and joins episodes of any behaviours.
    """

    def __init__(self, table: TransitionTable, *, meta_batch: int, episodes: int, seed: int) -> None:
        self._table, self._seed = table, seed
        self._meta_batch, self._episodes = meta_batch, episodes
        self._of_task: NDArray[np.int64] = table.episodes.edges.searchsorted(table.ranges)
        """(tasks, 2) first and one past the last episode of each task"""

    def at(self, step: int) -> TrajectoryBatch:
        """The batch of a step."""
        table, rng = self._table, generator(self._seed, step)
        positions = rng.integers(len(table.task_indices), size=self._meta_batch)
        parts = [self._rows(rng, *self._of_task[position].tolist()) for position in positions]
        lengths = np.array([len(rows) for rows, _ in parts])
        steps = np.arange(int(lengths.max()))
        rows, starts = (
            np.stack([column[np.minimum(steps, len(column) - 1)] for column in columns])
            for columns in zip(*parts, strict=True)
        )
        valid = steps < lengths[:, None]
        return TrajectoryBatch(
            tasks=table.task_indices[positions],
            experience=Experience(transitions=table.gather(rows), starts=starts & valid, valid=valid),
        )

    def _rows(self, rng: np.random.Generator, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Transition numbers of one trajectory, and which are the first of their episode."""
        episodes = first + rng.choice(last - first, min(self._episodes, last - first), replace=False)
        begin, lengths = self._table.episodes.edges[episodes], self._table.episodes.lengths[episodes]
        before = lengths.cumsum() - lengths
        steps = np.arange(int(lengths.sum())) - before.repeat(lengths)
        return begin.repeat(lengths) + steps, steps == 0

    def statistics(self) -> Statistics:
        """Of the whole table."""
        return self._table.statistics()
