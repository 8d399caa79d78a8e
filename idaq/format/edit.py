"""Datasets made from datasets: cut, merged, relabelled. Every episode that is kept keeps its values, task and seed.

Each function describes the new dataset; `write_dataset` then writes it, whole or not at all.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import DatasetError, UsageError, unknown_name
from idaq.core.ids import parse_id
from idaq.format.columns import get_episode, map_columns
from idaq.format.documents import Parent, ReturnStatistics, TaskRecord
from idaq.format.reader import StoredDataset, read_space
from idaq.format.recipe import Behaviour, Recipe
from idaq.format.selection import task_indices
from idaq.format.writer import DatasetSource, EpisodeEntry, entry_of

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
    tasks = tuple(_measured(task, returns[task.task_index]) for task in stored.tasks if len(returns[task.task_index]))
    used = set(stored.episodes.behaviour[numbers].tolist())
    behaviours = [behaviour for behaviour in stored.manifest.recipe.behaviours if behaviour.name in used]
    return _source([stored], new_id, tasks, behaviours, _entries(stored, numbers), operation)


def merged(parents: Sequence[StoredDataset], new_id: str) -> tuple[DatasetSource, int]:
    """All episodes of datasets of one family, task by task, and how many duplicates (by digest) were left out.

    Raises DatasetError where the datasets disagree: family, columns, spaces, a task's parameters or split, a behaviour.
    """
    for first, second in pairwise(parents):
        _check_alike(first, second)
    tasks, behaviours, chosen = _joined_tasks(parents), _joined_behaviours(parents), _without_duplicates(parents)
    kept = list(zip(parents, chosen, strict=True))
    records = []
    for index, task in tasks.items():
        parts = [p.episodes.total_reward[n[p.episodes.task_index[n] == index]] for p, n in kept]
        records.append(_measured(task, np.concatenate(parts)))
    duplicates = sum(len(parent.episodes) - len(numbers) for parent, numbers in kept)
    operation = "merge of " + ", ".join(p.manifest.dataset_id for p in parents)
    entries = _by_task(parents, chosen, list(tasks))
    return _source(parents, new_id, tuple(records), behaviours, entries, operation), duplicates


def relabelled(stored: StoredDataset, new_id: str, labels: Labels) -> DatasetSource:
    """The same episodes under other splits, behaviour names or description.

    Raises UnknownNameError for a task or behaviour that is not there, UsageError for a name given twice.
    """
    split_of = {index: split for split, names in labels.splits.items() for index in task_indices(stored.tasks, names)}
    tasks = tuple(replace(task, split=split_of.get(task.task_index, task.split)) for task in stored.tasks)
    known = [behaviour.name for behaviour in stored.manifest.recipe.behaviours]
    for name in labels.behaviours:
        if name not in known:
            raise unknown_name("behaviour", name, known)
    renamed = {name: labels.behaviours.get(name, name) for name in known}
    if len(set(renamed.values())) < len(known):
        raise UsageError(f"two behaviours would have one name: {renamed}")
    behaviours = [replace(b, name=renamed[b.name]) for b in stored.manifest.recipe.behaviours]
    entries = (
        replace(entry, behaviour=renamed[entry.behaviour])
        for entry in _entries(stored, np.arange(len(stored.episodes)))
    )
    source = _source([stored], new_id, tasks, behaviours, entries, "relabel")
    fields = {"description": labels.description, "authors": labels.authors, "license": labels.license}
    changed = {name: value for name, value in fields.items() if value is not None}
    recipe = from_mapping(Recipe, to_mapping(source.recipe) | changed, where="relabel")
    return replace(source, recipe=recipe)


def _source(
    parents: Sequence[StoredDataset],
    new_id: str,
    tasks: tuple[TaskRecord, ...],
    behaviours: list[Behaviour],
    entries: Iterator[EpisodeEntry],
    operation: str,
) -> DatasetSource:
    """What the new dataset shares with the first of its parents, whose recipe it carries as far as it holds."""
    first = parents[0]
    recipe = to_mapping(first.manifest.recipe) | {
        "id": str(parse_id(new_id)),
        "splits": {"seed": first.manifest.recipe.splits.seed, "sizes": dict(Counter(task.split for task in tasks))},
        "behaviours": [to_mapping(behaviour) for behaviour in behaviours],
    }
    return DatasetSource(
        recipe=from_mapping(Recipe, recipe, where=new_id),
        tasks=tasks,
        entries=entries,
        observation_space=read_space(first.metadata, "observation_space", str(first.path)),
        action_space=read_space(first.metadata, "action_space", str(first.path)),
        env_spec_json=first.metadata.get("env_spec"),
        operation=operation,
        parents=tuple(
            Parent(dataset_id=p.manifest.dataset_id, content_digest=p.manifest.content_digest) for p in parents
        ),
        simulators={name: made for parent in parents for name, made in parent.manifest.provenance.simulators.items()},
    )


def _entries(stored: StoredDataset, numbers: NDArray[np.int64]) -> Iterator[EpisodeEntry]:
    columns, table = map_columns(stored), stored.episodes
    for number in numbers.tolist():
        yield entry_of(table, number, get_episode(columns, number, int(table.length[number])))


def _measured(task: TaskRecord, returns: NDArray[np.float64]) -> TaskRecord:
    """The task with the behaviour reference of the episodes that it has now."""
    behaviour = ReturnStatistics(mean=float(returns.mean()), std=float(returns.std()), n=len(returns), how=_HOW)
    return replace(task, reference=replace(task.reference, behaviour=behaviour))


def _check_alike(first: StoredDataset, second: StoredDataset) -> None:
    """Two datasets can be one only if whoever reads it finds the same everywhere."""
    a, b = first.manifest, second.manifest
    differing = {
        "family": (a.family, b.family),
        "columns": (a.columns, b.columns),
        "observation space": (first.metadata["observation_space"], second.metadata["observation_space"]),
        "action space": (first.metadata["action_space"], second.metadata["action_space"]),
        "environment": (first.metadata.get("env_spec"), second.metadata.get("env_spec")),
    }
    for name, (here, there) in differing.items():
        if here != there:
            raise DatasetError(f"{a.dataset_id} and {b.dataset_id} differ in {name}: {here} and {there}")


def _joined_tasks(parents: Sequence[StoredDataset]) -> dict[int, TaskRecord]:
    """Every task once, by index; the random reference is the first one's."""
    joined: dict[int, TaskRecord] = {}
    for parent in parents:
        for task in parent.tasks:
            known = joined.setdefault(task.task_index, task)
            if replace(task, reference=known.reference) != known:
                found = f"{_short(task)}, not {_short(known)}"
                raise DatasetError(
                    f"task {task.task_index} of {parent.manifest.dataset_id} is another: {found}",
                    hint="idaq dataset relabel changes splits; tasks of other parameters need other indices",
                )
    ids = Counter(task.task_id for task in joined.values())
    if ids and max(ids.values()) > 1:
        raise DatasetError(f"two tasks would have the id {ids.most_common(1)[0][0]}")
    return dict(sorted(joined.items()))


def _joined_behaviours(parents: Sequence[StoredDataset]) -> list[Behaviour]:
    """Every behaviour once, by name, with the episodes a task of all parents together."""
    joined: dict[str, Behaviour] = {}
    for parent in parents:
        for behaviour in parent.manifest.recipe.behaviours:
            known = joined.setdefault(behaviour.name, behaviour)
            if replace(behaviour, episodes=known.episodes) != known:
                raise DatasetError(
                    f"behaviour {behaviour.name} of {parent.manifest.dataset_id} is another: {behaviour}, not {known}",
                    hint="idaq dataset relabel --behaviour OLD=NEW gives it another name",
                )
            if known is not behaviour:
                joined[behaviour.name] = replace(behaviour, episodes=known.episodes + behaviour.episodes)
    return list(joined.values())


def _without_duplicates(parents: Sequence[StoredDataset]) -> list[NDArray[np.int64]]:
    """Of each parent, the numbers of the episodes that no earlier one has."""
    seen: set[str] = set()
    chosen = []
    for parent in parents:
        digests = parent.episodes.digest.tolist()
        fresh = [number for number, digest in enumerate(digests) if digest not in seen]
        seen.update(digests)
        chosen.append(np.array(fresh, np.int64))
    return chosen


def _by_task(
    parents: Sequence[StoredDataset], chosen: Sequence[NDArray[np.int64]], tasks: Sequence[int]
) -> Iterator[EpisodeEntry]:
    for task in tasks:
        for parent, numbers in zip(parents, chosen, strict=True):
            yield from _entries(parent, numbers[parent.episodes.task_index[numbers] == task])


def _short(task: TaskRecord) -> str:
    return f"{task.task_id}, {task.split}, {dict(task.params)}"
