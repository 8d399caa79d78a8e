"""Datasets made from datasets: cut and relabelled here, merged in `merge`. Every episode that is kept keeps its values.

Each function describes the new dataset; `write_dataset` then writes it, whole or not at all.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from idaq.core.config import check_name, from_mapping, to_mapping
from idaq.core.errors import DatasetError, UsageError, unknown_name
from idaq.core.ids import parse_id
from idaq.core.notes import Notes
from idaq.core.types import Slug
from idaq.format import layout
from idaq.format.columns import get_episode, map_columns
from idaq.format.documents import Parent, ReturnStatistics, TaskRecord, about_columns
from idaq.format.reader import StoredDataset, read_space
from idaq.format.recipe import Behaviour, Recipe, without_splits
from idaq.format.selection import task_indices
from idaq.format.writer import DatasetSource, EpisodeEntry, entry_of

_CELL = ("behaviour", "task_index")
_STATED = ("description", "authors", "license", "citation", "source")
_HOW = "the dataset's own episodes of this task, all behaviours"


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What `relabelled` gives new names to."""

    splits: Mapping[str, Sequence[int | str]]
    """split -> tasks, by index or id"""
    behaviours: Mapping[str, str]
    """old name -> new name"""
    description: str | None = None
    authors: Sequence[str] | None = None
    license: str | None = None
    citation: str | None = None
    source: str | None = None
    """None leaves each as it is"""


def subset(stored: StoredDataset, new_id: str, keep_M: NDArray[np.bool_], operation: str) -> DatasetSource:
    """The episodes marked in `keep_M`; tasks without any are dropped. Raises DatasetError if none is kept."""
    if not keep_M.any():
        raise DatasetError(f"no episode of {stored.manifest.dataset_id} meets the conditions")
    numbers = np.flatnonzero(keep_M)
    returns = {
        task.task_index: stored.episodes.total_reward[keep_M & (stored.episodes.task_index == task.task_index)]
        for task in stored.tasks
    }
    tasks = tuple(measured(task, returns[task.task_index]) for task in stored.tasks if len(returns[task.task_index]))
    cells = list(zip(*(getattr(stored.episodes, name)[numbers].tolist() for name in _CELL), strict=True))
    behaviours = counted(stored.manifest.recipe.behaviours, cells)
    notes, name = Notes(), stored.manifest.dataset_id
    notes.add(name, "tasks without an episode left are dropped", len(stored.tasks) - len(tasks))
    dropped = sorted({b.name for b in stored.manifest.recipe.behaviours} - {b.name for b in behaviours})
    notes.add(name, f"behaviours without an episode left are dropped: {', '.join(dropped)}", len(dropped))
    return edited([stored], new_id, Edited(tasks, behaviours, entries_of(stored, numbers), operation, notes))


def relabelled(stored: StoredDataset, new_id: str, labels: Labels) -> DatasetSource:
    """The same episodes under other splits, behaviour names or description.

    Raises UnknownNameError for a task or behaviour that is not there, UsageError for a name given twice or a task put
    into two splits, ConfigError for a name that is none.
    """
    split_of: dict[int, str] = {}
    for split, names in labels.splits.items():
        check_name(Slug, split, "split")
        for index in task_indices(stored.tasks, names):
            if split_of.setdefault(index, split) != split:
                raise UsageError(f"task {index} would be in two splits, {split_of[index]} and {split}")
    tasks = tuple(replace(task, split=split_of.get(task.task_index, task.split)) for task in stored.tasks)
    known = [behaviour.name for behaviour in stored.manifest.recipe.behaviours]
    for name in labels.behaviours:
        if name not in known:
            raise unknown_name("behaviour", name, known)
        check_name(Slug, labels.behaviours[name], "behaviour")
    renamed = {name: labels.behaviours.get(name, name) for name in known}
    if len(set(renamed.values())) < len(known):
        raise UsageError(f"two behaviours would have one name: {renamed}")
    behaviours = [replace(b, name=renamed[b.name]) for b in stored.manifest.recipe.behaviours]
    entries = (
        replace(entry, behaviour=renamed[entry.behaviour])
        for entry in entries_of(stored, np.arange(len(stored.episodes)))
    )
    source = edited([stored], new_id, Edited(tasks, behaviours, entries, "relabel", Notes()))
    changed = {name: getattr(labels, name) for name in _STATED if getattr(labels, name) is not None}
    recipe = from_mapping(Recipe, to_mapping(source.recipe) | changed, where="relabel")
    return replace(source, recipe=recipe)


def with_tasks(
    stored: StoredDataset, new_id: str, tasks: Sequence[TaskRecord], operation: str, notes: Notes
) -> DatasetSource:
    """The same episodes under other records of the same tasks."""
    entries = entries_of(stored, np.arange(len(stored.episodes)))
    behaviours = list(stored.manifest.recipe.behaviours)
    return edited([stored], new_id, Edited(tuple(tasks), behaviours, entries, operation, notes))


@dataclass(frozen=True)
class Edited:
    """What is new in a dataset made of others."""

    tasks: tuple[TaskRecord, ...]
    behaviours: list[Behaviour]
    entries: Iterator[EpisodeEntry]
    operation: str
    notes: Notes


def edited(parents: Sequence[StoredDataset], new_id: str, new: Edited) -> DatasetSource:
    """What to write: for the rest, the new dataset shares the recipe of the first of its parents, and its spaces."""
    first, notes = parents[0], new.notes
    sizes = dict(Counter(task.split for task in new.tasks))
    for parent in parents:
        gone = [split for split in parent.manifest.splits if split not in sizes]
        notes.add(parent.manifest.dataset_id, f"splits without a task left are dropped: {', '.join(gone)}", len(gone))
    recipe = to_mapping(first.manifest.recipe) | {
        "id": str(parse_id(new_id)),
        "family": layout.common_family(new.tasks),
        "splits": {"seed": first.manifest.recipe.splits.seed, "sizes": sizes},
        "train": without_splits(first.manifest.recipe.train, first.manifest.splits.keys() - sizes.keys()),
        "behaviours": [to_mapping(behaviour) for behaviour in new.behaviours],
        "compress": list(dict.fromkeys(name for p in parents for name in layout.compressed(p.manifest.columns))),
    }
    return DatasetSource(
        recipe=from_mapping(Recipe, recipe, where=new_id),
        tasks=new.tasks,
        entries=new.entries,
        observation_space=read_space(first.metadata, "observation_space", str(first.path)),
        action_space=read_space(first.metadata, "action_space", str(first.path)),
        env_spec_json=first.metadata.get("env_spec"),
        about=about_columns(first.manifest),
        operation=new.operation,
        notes=tuple(notes),
        inherited=tuple(dict.fromkeys(note for parent in parents for note in _notes_of(parent))),
        parents=tuple(
            Parent(dataset_id=p.manifest.dataset_id, content_digest=p.manifest.content_digest) for p in parents
        ),
        simulators={name: made for parent in parents for name, made in parent.manifest.provenance.simulators.items()},
    )


def _notes_of(parent: StoredDataset) -> list[str]:
    made, name = parent.manifest.provenance, parent.manifest.dataset_id
    unstable = [f"{name}: {made.unstable} episodes were left out: their simulation became unstable"]
    return [*made.notes, *(unstable if made.unstable else [])]


def counted(behaviours: Sequence[Behaviour], cells: Sequence[tuple[str, int]]) -> list[Behaviour]:
    """The behaviours that have episodes; each with the most that a task has. `cells`: behaviour and task of each."""
    most: dict[str, int] = {}
    for (name, _task), count in Counter(cells).items():
        most[name] = max(count, most.get(name, 0))
    return [replace(behaviour, episodes=most[behaviour.name]) for behaviour in behaviours if behaviour.name in most]


def entries_of(stored: StoredDataset, numbers: NDArray[np.int64]) -> Iterator[EpisodeEntry]:
    """The episodes of these numbers, one in memory at a time."""
    columns, table = map_columns(stored), stored.episodes
    for number in numbers.tolist():
        yield entry_of(table, number, get_episode(columns, number, int(table.length[number])))


def measured(task: TaskRecord, returns: NDArray[np.float64]) -> TaskRecord:
    """The task with the behaviour reference of the episodes that it has now; `returns` are NaN where not known."""
    known = not np.isnan(returns).any()
    statistics = {"mean": float(returns.mean()), "std": float(returns.std()), "n": len(returns), "how": _HOW}
    behaviour = ReturnStatistics(**statistics) if known else None
    return replace(task, reference=replace(task.reference, behaviour=behaviour))
