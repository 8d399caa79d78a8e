"""Meta-batches of a dataset larger than memory: drawn from a pool of episodes that is renewed as training goes on.

The pool holds up to P episodes of each task, in slots. Each task's episodes arrive in an endless order, one seeded
permutation of all of them after the other; a new arrival takes the slot of the oldest. Tasks take turns, `refresh`
arrivals a step in all. So what the pool holds at a step follows from (seed, step) alone, whoever fetched it when:

    arrival   0  1  2  3 | 4  5  6  7          P = 4; after two arrivals of this task
    slot      0  1  2  3 | 0  1  .  .          the pool holds arrivals 2, 3, 4, 5

**Mixing.** With N tasks that have more than P episodes, the pool is wholly replaced after `N * P / refresh` steps
(`steps_to_replace`), and a task of M episodes has shown each of them after `N * M / refresh` steps. Every episode of a
task stays equally long, so over whole rounds all are drawn equally often; within `steps_to_replace` steps batches are
drawn from P of them, or fewer where one permutation ends and the next begins, for an episode may then be there twice.
Between episodes of unequal length, a transition of a short one is drawn a little more often than under `MetaBatches`
while the pool is small against the task.
"""

import bisect
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.seeds import generator
from idaq.core.types import Episode, Floats
from idaq.loader.dataset import Dataset
from idaq.loader.flat import FlatView
from idaq.loader.sampling import MetaBatch
from idaq.loader.table import Statistics, check_learnable, statistics_of
from idaq.loader.transitions import Transitions

_ORDER_STREAM = 2
_READING_COPIES = 3
"""memory that an episode takes while it is read, in slots: its chunks, its columns, its packed rows"""

Arrival = tuple[int, int]
"""position of a task, number of the arrival"""


class StreamedBatches:
    """What `MetaBatches` draws from a table, drawn from a pool. Not for use by several threads at once.

    `memory` bounds, in bytes, the pool and the episodes on their way to it; `readers` threads fetch them ahead of their
    step. Raises DatasetError where `memory` does not hold one episode of each task.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        meta_batch: int,
        batch: int,
        context: int,
        seed: int,
        memory: int,
        refresh: int = 1,
        readers: int = 2,
    ) -> None:
        if not len(dataset):
            raise DatasetError(f"no episode of {dataset.dataset_id} is selected", hint="loosen select(...)")
        self._dataset, self._seed = dataset, seed
        self._meta_batch, self._batch, self._context = meta_batch, batch, context
        self._refresh, self._ahead = refresh, 2 * refresh + readers
        table, numbers = dataset.episodes, dataset.numbers
        tasks, first = np.unique(table.task_index[numbers], return_index=True)
        self.task_indices: NDArray[np.int64] = tasks
        """task index of each task, ascending"""
        self._episodes = np.split(numbers, first[1:])
        self._pool = _Pool(dataset, _slots(dataset, self._episodes, memory, self._ahead))
        sizes = np.array([len(episodes) for episodes in self._episodes])
        self._turns = np.flatnonzero(sizes > self._pool.slots)
        self._futures: dict[Arrival, Future[Floats]] = {}
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="episodes")

    @property
    def pool_bytes(self) -> int:
        """Memory of the pool itself."""
        return self._pool.rows.nbytes

    @property
    def steps_to_replace(self) -> float:
        """Steps in which every episode of the pool is replaced; 0 if the pool holds the whole selection."""
        return int(self._pool.slots[self._turns].sum()) / self._refresh

    def at(self, step: int) -> MetaBatch:
        """The meta-batch of a step: the same whenever and however often it is asked for, fastest in ascending order.

        Raises CorruptDatasetError naming the episode that could not be read.
        """
        self._fill(step)
        rng = generator(self._seed, step)
        positions = rng.integers(len(self.task_indices), size=self._meta_batch)
        drawn = self._pool.gather(positions, rng.random((self._meta_batch, self._batch + self._context)))
        return MetaBatch(
            tasks=self.task_indices[positions],
            transitions=drawn[:, : self._batch],
            context=drawn[:, self._batch :],
        )

    def statistics(self) -> Statistics:
        """Normalisation statistics over all transitions of the selection: one pass over all of its data.

        Raises DatasetError for NaN, infinity, and what float32 cannot hold, naming column and episode.
        """
        episodes = zip(self._dataset.numbers.tolist(), self._every_episode(), strict=True)
        return statistics_of(self._checked(number, rows) for number, rows in episodes)

    def _checked(self, number: int, rows: Floats) -> Transitions:
        transitions = self._pool.unpack(rows[:-1], rows[1:])
        check_learnable(transitions, lambda _: number)
        return transitions

    def _every_episode(self) -> Iterator[Floats]:
        waiting: list[Future[Floats]] = []
        for number in self._dataset.numbers.tolist():
            waiting.append(self._readers.submit(_read, self._dataset, number))
            if len(waiting) > self._ahead:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()

    def _fill(self, step: int) -> None:
        """Bring the pool to its content at `step`, and start reading what the next steps will want."""
        due = self._pool.due(self._arrived(step))
        queue = [arrival for _, arrival in due] + self._upcoming(step)
        for arrival in self._futures.keys() - set(queue):
            self._futures.pop(arrival).cancel()
        for place, (slot, arrival) in enumerate(due):
            self._start(queue[place : place + self._ahead])
            self._pool.put(slot, arrival[1], self._futures.pop(arrival).result())
        self._start(queue[len(due) : len(due) + self._ahead])

    def _start(self, arrivals: list[Arrival]) -> None:
        for position, arrival in arrivals:
            if (position, arrival) not in self._futures:
                number = self._episode(position, arrival)
                self._futures[position, arrival] = self._readers.submit(_read, self._dataset, number)

    def _arrived(self, step: int) -> NDArray[np.int64]:
        """(tasks,) how many arrivals beyond its first P each task has had before the batch of `step` is drawn."""
        arrived = np.zeros(len(self.task_indices), np.int64)
        if len(self._turns):
            arrived[self._turns] = -((np.arange(len(self._turns)) - step * self._refresh) // len(self._turns))
        return arrived

    def _upcoming(self, step: int) -> list[Arrival]:
        """The arrivals that follow `step`, in order, as many as are read ahead."""
        if not len(self._turns):
            return []
        first = step * self._refresh
        turns = [divmod(turn, len(self._turns)) for turn in range(first, first + self._ahead)]
        return [(int(self._turns[who]), int(self._pool.slots[self._turns[who]]) + round_) for round_, who in turns]

    def _episode(self, position: int, arrival: int) -> int:
        """The number of the episode that arrives."""
        episodes = self._episodes[position]
        round_, place = divmod(arrival, len(episodes))
        order = generator(self._seed, position, round_, _ORDER_STREAM).permutation(len(episodes))
        return int(episodes[order[place]])


class _Pool:
    """Slots of packed rows [s, a, r, terminated], T + 1 of them an episode: the next observation is the next row."""

    def __init__(self, dataset: Dataset, slots: NDArray[np.int64]) -> None:
        self._size, self._action, width = _widths(dataset)
        self._longest = _longest(dataset)
        self.slots = slots
        """(tasks,) of each task"""
        self._task = np.repeat(np.arange(len(slots)), slots)
        self._first = slots.cumsum() - slots
        total = int(slots.sum())
        self.rows: Floats = np.zeros((total * (self._longest + 1), width), np.float32)
        self._arrival = np.full(total, -1, np.int64)
        self._length = np.zeros(total, np.int64)

    def due(self, arrived: NDArray[np.int64]) -> list[tuple[int, Arrival]]:
        """Slots whose episode must change, each with the arrival that it must hold; `arrived` (tasks,)."""
        slots, oldest = self.slots[self._task], arrived[self._task]
        place = np.arange(len(self._task)) - self._first[self._task]
        wanted = oldest + (place - oldest) % slots
        changed = np.flatnonzero(wanted != self._arrival)
        changed = changed[np.argsort(wanted[changed], kind="stable")]
        return [(slot, (int(self._task[slot]), int(wanted[slot]))) for slot in changed.tolist()]

    def put(self, slot: int, arrival: int, rows: Floats) -> None:
        start = slot * (self._longest + 1)
        self.rows[start : start + len(rows)] = rows
        self._arrival[slot], self._length[slot] = arrival, len(rows) - 1

    def gather(self, positions: NDArray[np.int64], uniform: NDArray[np.float64]) -> Transitions:
        """Transitions of the tasks at `positions` (N,), each drawn by a number in [0, 1): (N, B)."""
        ends = np.append(0, self._length.cumsum())
        first = ends[self._first[positions]][:, None]
        last = ends[self._first[positions] + self.slots[positions]][:, None]
        drawn = (first + (uniform * (last - first)).astype(np.int64)).ravel()
        slot = np.searchsorted(ends, drawn, side="right") - 1
        row = slot * (self._longest + 1) + drawn - ends[slot]
        return self.unpack(self.rows.take(row, axis=0), self.rows.take(row + 1, axis=0)).reshape(*uniform.shape)

    def unpack(self, rows: Floats, following: Floats) -> Transitions:
        size, action = self._size, self._action
        return Transitions(
            observations=rows[:, :size],
            actions=rows[:, size : size + action],
            rewards=rows[:, -2],
            next_observations=following[:, :size],
            terminated=rows[:, -1].astype(bool),
        )


def _read(dataset: Dataset, number: int) -> Floats:
    """One episode, fetched and packed: (T + 1, D + A + 2)."""
    return _pack(dataset.store.episode(number), dataset.view)


def _pack(episode: Episode, view: FlatView) -> Floats:
    rows, length = len(episode) + 1, len(episode)
    size, action = view.observation_size, view.action_size
    packed = np.zeros((rows, size + action + 2), np.float32)
    with np.errstate(over="ignore"):  # `statistics` refuses what overflows
        packed[:, :size] = view.encode_observations(episode.observations)
        packed[:length, size : size + action] = view.encode_actions(episode.actions)
        packed[:length, -2] = episode.rewards
    packed[:length, -1] = episode.terminated
    return packed


def _widths(dataset: Dataset) -> tuple[int, int, int]:
    """D, A and the width of a packed row."""
    size, action = dataset.view.observation_size, dataset.view.action_size
    return size, action, size + action + 2


def _longest(dataset: Dataset) -> int:
    return int(dataset.episodes.length[dataset.numbers].max())


def _slots(dataset: Dataset, episodes: list[NDArray[np.int64]], memory: int, ahead: int) -> NDArray[np.int64]:
    """(tasks,) slots of each task: the most that `memory` holds, the same for all tasks that have as many episodes."""
    sizes = np.array([len(numbers) for numbers in episodes])
    slot_bytes = 4 * (_longest(dataset) + 1) * _widths(dataset)[2]
    room = memory // slot_bytes - _READING_COPIES * ahead
    candidates = range(1, int(sizes.max()) + 1)
    most = bisect.bisect_right(candidates, room, key=lambda each: int(np.minimum(sizes, each).sum()))
    if most == 0:
        least = (len(sizes) + _READING_COPIES * ahead) * slot_bytes
        raise DatasetError(
            f"memory={memory:,} bytes does not hold an episode of each of {len(sizes)} tasks",
            hint=f"give memory={least} at least, or select fewer tasks",
        )
    return np.minimum(sizes, most)
