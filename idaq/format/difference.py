"""What differs between two datasets, level by level: documents, tasks, episodes, values."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from idaq.core.config import to_mapping
from idaq.core.types import Episode
from idaq.format.columns import get_episode, map_columns
from idaq.format.reader import EpisodeTable, StoredDataset

_LABELS: dict[str, Callable[[EpisodeTable, int], object]] = {
    "behaviour": lambda table, number: str(table.behaviour[number]),
    "success": EpisodeTable.solved,
    "history": EpisodeTable.history_of,
    "policy_step": EpisodeTable.policy_step_of,
}
"""what is said of an episode, by the name of its column in the table"""
_IDENTITY = ("id", "splits", "behaviours")
"""of the recipe: shown at levels of their own"""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not the same."""

    level: str
    """recipe, columns, spaces, splits, tasks, behaviours, episodes or values"""
    what: str
    first: Any
    second: Any


def differences(first: StoredDataset, second: StoredDataset) -> list[Difference]:
    """Everything that differs but ids, dates and versions; empty where both hold the same."""
    return [*_documents(first, second), *_tasks(first, second), *_episodes(first, second)]


def _documents(first: StoredDataset, second: StoredDataset) -> Iterator[Difference]:
    a, b = first.manifest, second.manifest
    yield from _of_mappings("recipe", _settings(first), _settings(second))
    yield from _of_mappings("columns", to_mapping(a)["columns"], to_mapping(b)["columns"])
    for name in ("observation_space", "action_space", "env_spec"):
        yield from _of_mappings("spaces", {name: first.metadata.get(name)}, {name: second.metadata.get(name)})
    yield from _of_mappings("splits", a.splits, b.splits)
    ours, theirs = ({x.name: to_mapping(x) for x in m.recipe.behaviours} for m in (a, b))
    yield from _of_mappings("behaviours", ours, theirs)


def _settings(stored: StoredDataset) -> dict[str, Any]:
    return {key: value for key, value in to_mapping(stored.manifest.recipe).items() if key not in _IDENTITY}


def _tasks(first: StoredDataset, second: StoredDataset) -> Iterator[Difference]:
    ours, theirs = ({task.task_id: to_mapping(task) for task in stored.tasks} for stored in (first, second))
    for task_id in sorted(ours.keys() ^ theirs.keys()):
        yield Difference(level="tasks", what=task_id, first=task_id in ours, second=task_id in theirs)
    for task_id in sorted(ours.keys() & theirs.keys()):
        yield from _of_mappings("tasks", ours[task_id], theirs[task_id], prefix=f"{task_id}: ")


def _of_mappings(level: str, first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> Iterator[Difference]:
    for key in [*first, *(key for key in second if key not in first)]:
        if first.get(key) != second.get(key):
            yield Difference(level=level, what=prefix + key, first=first.get(key), second=second.get(key))


def _episodes(first: StoredDataset, second: StoredDataset) -> Iterator[Difference]:
    """Episodes are the same by digest; those of one task, behaviour and seed that are not are compared value by value.

    Where the seed is unknown, those of one number.
    """
    ours, theirs = first.episodes.digest.tolist(), second.episodes.digest.tolist()
    yield from _labels(first, second)
    if ours == theirs:
        return
    if sorted(ours) == sorted(theirs):
        yield Difference(level="episodes", what="order", first="the same episodes", second="in another order")
        return
    alone = [_only(first, set(theirs)), _only(second, set(ours))]
    yield Difference(level="episodes", what="in one only", first=len(alone[0]), second=len(alone[1]))
    numbers = [{_key(stored, n): n for n in found} for stored, found in zip((first, second), alone, strict=True)]
    columns = map_columns(first), map_columns(second)
    for key in sorted(numbers[0].keys() & numbers[1].keys()):
        places = numbers[0][key], numbers[1][key]
        lengths = int(first.episodes.length[places[0]]), int(second.episodes.length[places[1]])
        yield from _values(places, [get_episode(*each) for each in zip(columns, places, lengths, strict=True)])


def _labels(first: StoredDataset, second: StoredDataset) -> Iterator[Difference]:
    """What is said otherwise of episodes that both have."""
    places = {digest: number for number, digest in enumerate(second.episodes.digest.tolist())}
    both = [(n, places[digest]) for n, digest in enumerate(first.episodes.digest.tolist()) if digest in places]
    ours, theirs = (np.array(numbers, np.int64) for numbers in zip(*both, strict=True)) if both else ([], [])
    for name in _LABELS:
        a, b = getattr(first.episodes, name)[ours], getattr(second.episodes, name)[theirs]
        differing = a != b
        if name == "success":
            differing |= first.episodes.success_known[ours] != second.episodes.success_known[theirs]
        if differing.any():
            number, other = both[int(np.argmax(differing))]
            what = f"{name} of {int(differing.sum())} episodes that both have, {number} and {other} first"
            said = [_LABELS[name](table, n) for table, n in ((first.episodes, number), (second.episodes, other))]
            yield Difference(level="episodes", what=what, first=said[0], second=said[1])


def _only(stored: StoredDataset, other: set[str]) -> list[int]:
    return [number for number, digest in enumerate(stored.episodes.digest.tolist()) if digest not in other]


def _key(stored: StoredDataset, number: int) -> tuple[int, str, str]:
    table, seed = stored.episodes, stored.episodes.seed_of(number)
    which = f"number {number}" if seed is None else f"seed {seed}"
    return int(table.task_index[number]), str(table.behaviour[number]), which


def _values(numbers: tuple[int, int], episodes: Sequence[Episode]) -> Iterator[Difference]:
    """Two episodes of one key: which columns differ, and by how much at most."""
    columns = [episode.columns for episode in episodes]
    for name in (name for name in columns[0] if name in columns[1]):  # the others differ as columns
        a, b = (found[name] for found in columns)
        what = f"episode {numbers[0]} and {numbers[1]}: {name}"
        if a.shape != b.shape or a.dtype != b.dtype:
            yield Difference(level="values", what=what, first=f"{a.dtype}{a.shape}", second=f"{b.dtype}{b.shape}")
        elif not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            distance = np.nan_to_num(np.abs(a.astype(float) - b.astype(float)), nan=np.inf)
            distance[np.isnan(a) & np.isnan(b)] = 0
            place = np.unravel_index(np.argmax(distance), a.shape)
            what += f"{[int(i) for i in place]}, where it differs most"
            yield Difference(level="values", what=what, first=a[place].item(), second=b[place].item())
