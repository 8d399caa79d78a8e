"""Reward relabelling: episodes of other tasks, and what this task would have paid for them.

Where each task's episodes come from a policy that knows the task, the task can be read off the states that are visited,
and a belief learned from such data need not look at the rewards. Where every task also holds trajectories of other
tasks, paid as this task pays, only the rewards tell the tasks apart (Dorfman, Shenfeld and Tamar, NeurIPS 2021,
section 4: MDP ambiguity and reward relabelling).

An episode is relabelled by playing its actions again, under its own seed, in the environment of the other task, whose
rewards, ends and success it gets. Where other observations come out, start or dynamics depend on the task: that task
has no such episode, and the dataset is refused.

Shapes: n episodes of one task, T steps of the longest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from idaq.collect.behaviours import Batch, StatelessPolicy, expert_actions
from idaq.collect.reference import check_family
from idaq.collect.rollout import EXPERT_ACTION, run_batch
from idaq.core.errors import DatasetError, UsageError
from idaq.core.notes import Notes
from idaq.core.seeds import generator
from idaq.core.types import Advance, Array, Episode, ignore_progress, leaves_of
from idaq.format.columns import get_episode, map_columns
from idaq.format.edit import Edited, counted, edited, entries_of, measured
from idaq.format.reader import StoredDataset
from idaq.format.recipe import Behaviour
from idaq.format.writer import DatasetSource, EpisodeEntry, entry_of
from idaq.tasks import Family

SUFFIX = "-relabelled"
"""what the name of a behaviour ends with where its episodes are another task's"""


@dataclass(frozen=True, kw_only=True)
class Relabelling:
    """Which episodes are relabelled, and for which tasks."""

    split: str = "train"
    """its tasks get episodes of its other tasks: none of another split is told of"""
    episodes: int | None = None
    """how many each task gets; None: as many as it has"""
    seed: int = 0
    """which ones: drawn from all episodes of the other tasks, none twice as far as there are enough"""

    def counts(self, stored: StoredDataset) -> dict[int, int]:
        """How many episodes each task of the split gets. Raises UsageError for a split of fewer than two tasks."""
        tasks = [task.task_index for task in stored.tasks if task.split == self.split]
        if len(tasks) < 2:
            said = f"split {self.split!r} of {stored.manifest.dataset_id} has {len(tasks)} tasks: no other is there"
            raise UsageError(said, hint="--split NAME, one of two tasks or more")
        own = {index: int((stored.episodes.task_index == index).sum()) for index in tasks}
        return own if self.episodes is None else dict.fromkeys(tasks, self.episodes)


def with_relabelled(
    stored: StoredDataset, new_id: str, family: Family, wanted: Relabelling, progress: Advance = ignore_progress
) -> DatasetSource:
    """The same episodes and, in each task of a split, episodes of the split's other tasks relabelled.

    `progress` counts the relabelled ones. Raises UsageError for a split of fewer than two tasks, DatasetError where the
    family is not the dataset's, where start or dynamics depend on the task, or where a seed that matters is unknown.
    """
    check_family(stored, family)
    name, counts = stored.manifest.dataset_id, wanted.counts(stored)
    found: dict[int, list[EpisodeEntry]] = {task.task_index: [] for task in stored.tasks}
    for index, count in counts.items():
        others = np.isin(stored.episodes.task_index, [other for other in counts if other != index])
        found[index] = list(
            _relabelled(stored, family, index, _draw(np.flatnonzero(others), count, wanted.seed, index))
        )
        progress(count)
    table, notes = stored.episodes, Notes()
    returns = {
        index: np.append(
            table.total_reward[table.task_index == index], [entry.episode.total_reward for entry in entries]
        )
        for index, entries in found.items()
    }
    tasks = tuple(measured(task, returns[task.task_index]) for task in stored.tasks)
    lent = [entry for entries in found.values() for entry in entries]
    notes.add(name, f"episodes are of other tasks of split {wanted.split}, paid as the task here pays", len(lent))
    asked = "as many as it has" if wanted.episodes is None else wanted.episodes
    operation = f"relabel-rewards: split {wanted.split}, episodes a task {asked}, seed {wanted.seed}"
    entries = (entry for index, more in found.items() for entry in (*_own(stored, index), *more))
    return edited([stored], new_id, Edited(tasks, _behaviours(stored, lent), entries, operation, notes))


def _draw(numbers: NDArray[np.int64], count: int, *seed: int) -> NDArray[np.int64]:
    return generator(*seed).choice(numbers, count, replace=count > len(numbers))


def _own(stored: StoredDataset, index: int) -> Iterator[EpisodeEntry]:
    return entries_of(stored, np.flatnonzero(stored.episodes.task_index == index))


def _behaviours(stored: StoredDataset, lent: Sequence[EpisodeEntry]) -> list[Behaviour]:
    """Those there are, and one more for each whose episodes were relabelled: no recipe collects it."""
    own = stored.manifest.recipe.behaviours
    more = [Behaviour(name=b.name + SUFFIX, kind="unknown", quality="unknown", episodes=1) for b in own]
    return [*own, *counted(more, [(entry.behaviour, entry.task_index) for entry in lent])]


def _relabelled(
    stored: StoredDataset, family: Family, index: int, numbers: NDArray[np.int64]
) -> Iterator[EpisodeEntry]:
    """Episodes as the task `index` pays them, in the order of `numbers`."""
    columns, table, width = map_columns(stored), stored.episodes, family.lockstep_width
    for part in np.split(numbers, np.arange(width, len(numbers), width)):
        given = [
            entry_of(table, number, get_episode(columns, number, int(table.length[number]))) for number in part.tolist()
        ]
        for entry, (played, success) in zip(given, _played_again(family, index, given), strict=True):
            recorded = entry.episode
            _check_same(recorded, played, f"an episode of task {entry.task_index}, played again on task {index}")
            yield EpisodeEntry(
                episode=_first_steps(replace(played, extras={**recorded.extras, **played.extras}), len(recorded)),
                task_index=index,
                behaviour=entry.behaviour + SUFFIX,
                seed=entry.seed,
                success=success if len(played) <= len(recorded) else None,
            )


def _played_again(family: Family, index: int, given: Sequence[EpisodeEntry]) -> Iterator[tuple[Episode, bool]]:
    """n episodes of the same actions in the environment of a task; after its last, an action is repeated."""
    if any(entry.seed is None for entry in given) and not family.deterministic:
        raise DatasetError(
            "an episode's seed is unknown: it cannot be played again", hint="idaq collect makes datasets with seeds"
        )
    lengths = np.array([len(entry.episode) for entry in given])
    steps = np.minimum(np.arange(max(family.horizon, *lengths)), lengths[:, None] - 1)
    actions = np.stack([entry.episode.actions[row] for entry, row in zip(given, steps, strict=True)])
    tasks, spaces = np.full(len(given), index), family.spaces()
    batch = Batch(
        family=family,
        spaces=spaces,
        behaviour=Behaviour(name="recorded", kind="unknown", quality="unknown", episodes=1),
        tasks=tasks,
        seeds=np.array([[entry.seed or 0] for entry in given], np.uint64),
    )
    adviser = expert_actions(family, spaces, tasks) if EXPERT_ACTION in given[0].episode.extras else None
    return run_batch(batch, family.lockstep(), StatelessPolicy(lambda _view, step: actions[:, step]), adviser, 0)


def _check_same(recorded: Episode, played: Episode, what: str) -> None:
    """Raise DatasetError where other observations come of the same actions."""
    steps = min(len(recorded), len(played)) + 1
    ours, theirs = leaves_of(recorded.observations), leaves_of(played.observations)
    for name in ours:
        if not np.allclose(ours[name][:steps], theirs[name][:steps], rtol=1e-4, atol=1e-5):
            raise DatasetError(
                f"{what}, comes to other {name}: start or dynamics depend on the task, or the simulator has changed",
                hint="rewards can be relabelled only where nothing but the reward differs between tasks",
            )


def _first_steps(episode: Episode, steps: int) -> Episode:
    """An episode that stops after so many steps at the latest."""
    if len(episode) <= steps:
        return episode
    extra = {len(episode): steps, len(episode) + 1: steps + 1}
    columns: dict[str, Array] = {name: column[: extra[len(column)]] for name, column in episode.columns.items()}
    return Episode.from_columns(columns)
