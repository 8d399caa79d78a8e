"""Several datasets as one. Every episode of the parents is in it once, under a task that is its own, or it is refused.

Tasks are one where index, id and all that is known of them agree. Where parameters are unknown they may differ, so
the user has to say which it is.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.core.config import from_mapping, to_mapping
from idaq.core.digest import episode_digest
from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, Array, Episode
from idaq.format import layout
from idaq.format.documents import TaskRecord
from idaq.format.edit import Edited, counted, edited, entries_of, measured
from idaq.format.gym_spaces import leaf_spaces, with_leaves
from idaq.format.reader import StoredDataset, read_space
from idaq.format.recipe import Behaviour, Recipe, join_attribution, join_origins
from idaq.format.writer import DatasetSource, EpisodeEntry

Clash = Literal["refuse", "renumber", "same"]
"""what becomes of a task whose index or id another has: refused; kept apart under a new index and id; the same one,
where nothing known of them differs"""

_HINT = "idaq dataset merge --renumber keeps them apart under new indices and ids"


@dataclass(kw_only=True)
class _Part:
    """A parent, and what changes of it. M episodes."""

    stored: StoredDataset
    dtypes: dict[str, np.dtype[Any]]
    """of each column here, by name"""
    places: dict[int, int]
    """task index there -> here"""
    task_index: NDArray[np.int64]
    """(M,) here"""
    numbers: NDArray[np.int64]
    """of its episodes, those taken"""

    @property
    def name(self) -> str:
        return self.stored.manifest.dataset_id

    def cast(self) -> dict[str, np.dtype[Any]]:
        """The columns whose dtype changes, with what they had."""
        had = {name: np.dtype(column.dtype) for name, column in self.stored.manifest.columns.items()}
        return {name: dtype for name, dtype in had.items() if dtype != self.dtypes[name]}

    def entries(self, numbers: NDArray[np.int64]) -> Iterator[EpisodeEntry]:
        """Episodes as they stand in the merged dataset. Raises DatasetError where a cast would change a number."""
        for number, entry in zip(numbers.tolist(), entries_of(self.stored, numbers), strict=True):
            columns = entry.episode.columns
            for name in self.cast():
                columns[name] = _cast(columns[name], self.dtypes[name], f"{self.name}, episode {number}: {name}")
            episode = Episode.from_columns(columns)
            yield replace(entry, episode=episode, task_index=self.places[entry.task_index])

    def digests(self) -> list[str]:
        """(M,) of the episodes as they will stand; read only where something changes."""
        if not self.cast() and all(there == here for there, here in self.places.items()):
            return self.stored.episodes.digest.tolist()
        everything = np.arange(len(self.stored.episodes))
        return [episode_digest(e.episode, task_index=e.task_index, seed=e.seed) for e in self.entries(everything)]

    def of_task(self, index: int) -> NDArray[np.int64]:
        """Numbers of the taken episodes of a task."""
        return self.numbers[self.task_index[self.numbers] == index]


def merged(parents: Sequence[StoredDataset], new_id: str, clash: Clash = "refuse") -> tuple[DatasetSource, int]:
    """All episodes of datasets, task by task, and how many duplicates (by digest) were left out.

    The datasets are of one family, or of several with equal columns, whose environments know tasks by the index that
    their `reset_options` keep. Numbers are cast to the widest dtype and bounds joined, which the source's notes say.
    Raises DatasetError where the datasets disagree (environment, columns, a task, a behaviour), where tasks of unknown
    parameters might be
    two, and where a cast would change a number.
    """
    notes = Notes()
    for second in parents[1:]:
        _check_alike(parents[0], second)
    dtypes = _widest(parents)
    joined, places = _joined_tasks(parents, clash, notes)
    parts = [_part(parent, dtypes, place) for parent, place in zip(parents, places, strict=True)]
    _tell_casts(parts, notes)
    behaviours = _joined_behaviours(parents, notes)
    duplicates = _without_duplicates(parts, notes)
    records, cells = [], []
    for index, task in joined.items():
        mine = [(part.stored.episodes, part.of_task(index)) for part in parts]
        records.append(measured(task, np.concatenate([table.total_reward[numbers] for table, numbers in mine])))
        cells += [(name, index) for table, numbers in mine for name in table.behaviour[numbers].tolist()]
    spaces = [_joined_space(parents, what, dtypes, notes) for what in (OBSERVATIONS, ACTIONS)]
    recipes = [(part.name, part.stored.manifest.recipe) for part in parts]
    authors, licence = join_attribution(recipes, notes)
    citation, origin = join_origins(recipes, notes)
    _tell_kept(parents, notes)
    operation = "merge of " + ", ".join(part.name for part in parts)
    new = Edited(tuple(records), counted(behaviours, cells), _by_task(parts, list(joined)), operation, notes)
    source = edited(parents, new_id, new)
    whose = {"authors": authors, "license": licence, "citation": citation, "source": origin}
    recipe = from_mapping(Recipe, to_mapping(source.recipe) | whose, where=new_id)
    source = replace(source, recipe=recipe, observation_space=spaces[0], action_space=spaces[1])
    return replace(source, env_spec_json=_joined_spec(parents, notes), notes=tuple(notes)), duplicates


def _joined_spec(parents: Sequence[StoredDataset], notes: Notes) -> str | None:
    """The environment of the whole: none where the datasets are of several families, and state several."""
    specs = {parent.metadata.get("env_spec") for parent in parents}
    if len(specs) == 1:
        return specs.pop()
    if len(families := dict.fromkeys(parent.manifest.family for parent in parents)) == 1:
        return parents[0].metadata.get("env_spec")
    notes.add(", ".join(families), "families have environments of their own: they stand with the tasks alone")
    return None


def _part(stored: StoredDataset, dtypes: dict[str, np.dtype[Any]], places: dict[int, int]) -> _Part:
    indices = [places[index] for index in stored.episodes.task_index.tolist()]
    return _Part(
        stored=stored,
        dtypes=dtypes,
        places=places,
        task_index=np.array(indices, np.int64),
        numbers=np.arange(len(indices)),
    )


def _check_alike(first: StoredDataset, second: StoredDataset) -> None:
    """Raise DatasetError for differences that neither a cast nor a new task index resolves."""
    a, b = first.manifest, second.manifest
    differing = {"columns": (", ".join(a.columns), ", ".join(b.columns))}
    for name in a.columns.keys() & b.columns.keys():
        for what in ("shape", "rows", "known"):
            pair = (str(getattr(stated.columns[name], what)) for stated in (a, b))
            differing[f"{what} of {name}"] = (next(pair), next(pair))
    if a.family == b.family:  # else each task has its own
        specs = [_spec(stored.metadata.get("env_spec")) for stored in (first, second)]
        for key in sorted(specs[0].keys() | specs[1].keys()):
            differing[f"environment, {key}"] = (repr(specs[0].get(key)), repr(specs[1].get(key)))
    found = [f"{name}: {here} and {there}" for name, (here, there) in differing.items() if here != there]
    if found:
        raise DatasetError(f"{a.dataset_id} and {b.dataset_id} differ in {'; '.join(found)}"[:1000])


def _spec(text: object) -> dict[str, Any]:
    """An environment's description by key; text that is none is one key."""
    try:
        spec = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        spec = None
    return spec if isinstance(spec, dict) else {} if text is None else {"env_spec": text}


def _widest(parents: Sequence[StoredDataset]) -> dict[str, np.dtype[Any]]:
    return {
        name: np.result_type(*(np.dtype(parent.manifest.columns[name].dtype) for parent in parents))
        for name in parents[0].manifest.columns
    }


def _cast(array: Array, dtype: np.dtype[Any], where: str) -> Array:
    with np.errstate(all="ignore"):
        wide = array.astype(dtype)
        if np.array_equal(wide.astype(array.dtype), array, equal_nan=array.dtype.kind == "f"):
            return wide
    raise DatasetError(f"{where} of {array.dtype} are not all numbers that {dtype} holds")


def _tell_casts(parts: Sequence[_Part], notes: Notes) -> None:
    for part in parts:
        lengths = part.stored.episodes.length
        for name, column in part.stored.manifest.columns.items():
            had = part.cast().get(name)
            if had is not None:
                numbers = int((lengths + (column.rows == "T+1")).sum()) * layout.row_width(column)
                wide = part.dtypes[name]
                notes.add(part.name, f"numbers of {name} cast from {had} to {wide}, without loss", numbers)


def _joined_space(
    parents: Sequence[StoredDataset], what: str, dtypes: Mapping[str, np.dtype[Any]], notes: Notes
) -> gym.Space[Any]:
    """The space of `observations` or `actions` that holds every parent's: each Box as wide as all together, all else
    one and the same. Raises DatasetError."""
    spaces = [read_space(parent.metadata, f"{what[:-1]}_space", str(parent.path)) for parent in parents]
    if all(space == spaces[0] for space in spaces):
        return spaces[0]
    leaves = [leaf_spaces(space, what) for space in spaces]
    joined = {
        name: _joined_leaf(parents, [each[name] for each in leaves], name, dtypes[name], notes) for name in leaves[0]
    }
    return with_leaves(spaces[0], joined, what)


def _joined_leaf(
    parents: Sequence[StoredDataset],
    spaces: Sequence[gym.Space[Any]],
    name: str,
    dtype: np.dtype[Any],
    notes: Notes,
) -> gym.Space[Any]:
    if all(space == spaces[0] for space in spaces):
        return spaces[0]
    boxes = [space for space in spaces if isinstance(space, gym.spaces.Box) and space.shape == spaces[0].shape]
    if len(boxes) < len(spaces):
        odd = next(n for n, space in enumerate(spaces) if space != spaces[0])
        ids = f"{parents[0].manifest.dataset_id} and {parents[odd].manifest.dataset_id}"
        raise DatasetError(f"{ids} differ in the space of {name}: {spaces[0]} and {spaces[odd]}"[:1000])
    low, high = np.min([b.low for b in boxes], 0).astype(dtype), np.max([b.high for b in boxes], 0).astype(dtype)
    for parent, box in zip(parents, boxes, strict=True):
        narrower = int(((box.low != low) | (box.high != high)).sum())
        said = f"numbers of {name} have narrower bounds than all datasets together, whose are written"
        notes.add(parent.manifest.dataset_id, said, narrower)
    return gym.spaces.Box(low, high, low.shape, dtype.type)


def _joined_tasks(
    parents: Sequence[StoredDataset], clash: Clash, notes: Notes
) -> tuple[dict[int, TaskRecord], list[dict[int, int]]]:
    """Every task once, by index; and for each parent, task index there -> here."""
    every = [task for parent in parents for task in parent.tasks]
    ids, fresh = Counter(task.task_id for task in every), count(1 + max(task.task_index for task in every))
    joined: dict[int, TaskRecord] = {}
    places: list[dict[int, int]] = []
    for parent in parents:
        name, before, place = parent.manifest.dataset_id, dict(joined), dict[int, int]()
        for task in parent.tasks:
            rival = before.get(task.task_index) or next((t for t in before.values() if t.task_id == task.task_id), None)
            fault = None if rival is None else _why_not_one(task, rival, name, clash)
            if rival is None:
                joined[task.task_index] = task
            elif fault is None:
                joined[rival.task_index] = _with_random(rival, task, name, notes)
                if not _is_known(task):
                    notes.add(name, "tasks of unknown parameters are taken for those of equal index and id", 1)
            elif clash == "renumber" and (task.family != rival.family or not task.reset_options):
                index = next(fresh) if task.task_index in joined else task.task_index
                joined[index] = _renamed(task, index, ids)
                place[task.task_index] = index
                notes.add(name, "tasks get a new index or id, for another task has theirs", 1)
            else:
                raise fault
            place.setdefault(task.task_index, task.task_index)
            here = place[task.task_index]
            if task.params and any(t.params == task.params and t.task_index != here for t in before.values()):
                notes.add(name, "tasks have the parameters of an earlier task of another index, and stay apart", 1)
        places.append(place)
    return dict(sorted(joined.items())), places


def _is_known(task: TaskRecord) -> bool:
    """Whether parameters, or the index that its environment takes, say which task it is."""
    return bool(task.params or task.reset_options)


def _why_not_one(task: TaskRecord, rival: TaskRecord, name: str, clash: Clash) -> DatasetError | None:
    """None where a task of dataset `name` is `rival`, which has its index or its id."""
    differing = [
        f"{f.name} {getattr(task, f.name)!r}, not {getattr(rival, f.name)!r}"
        for f in fields(task)
        if f.name != "reference" and getattr(task, f.name) != getattr(rival, f.name)
    ]
    which = f"task {task.task_id} (index {task.task_index}) of {name}"
    if differing:
        knows = "its environment knows a task by its index: merge datasets of one family and version"
        hint = _HINT if task.family != rival.family or not task.reset_options else knows
        if task.split != rival.split:
            hint = "idaq dataset relabel changes splits"
        what = f"is another than {rival.task_id} (index {rival.task_index}) before it: {'; '.join(differing)}"
        return DatasetError(f"{which} {what}", hint=hint)
    if _is_known(task) or clash == "same":
        return None
    return DatasetError(
        f"{which} and the one before it have unknown parameters: they may be two tasks under one label",
        hint=f"{_HINT}; --same-tasks takes them for one, if you know that they are",
    )


def _renamed(task: TaskRecord, index: int, ids: Counter[str]) -> TaskRecord:
    """The task under another index, and another id if any dataset has one of its id."""
    name = task.task_id
    if ids[name] > 1:
        stem = name[:50].rstrip("._-")
        name = next(new for n in count() if (new := f"{stem}-{index}" + (f".{n}" if n else "")) not in ids)
        ids[name] = 1
    return replace(task, task_index=index, task_id=name)


def _with_random(known: TaskRecord, task: TaskRecord, name: str, notes: Notes) -> TaskRecord:
    """The task with a random reference: its own, else that of the later one."""
    ours, theirs = known.reference.random, task.reference.random
    if ours is not None and theirs is not None and ours != theirs:
        notes.add(name, "random references differ from earlier ones of the same tasks, which are kept", 1)
    if ours is None and theirs is not None:
        notes.add(name, "random references are taken from it, for earlier datasets have none", 1)
    return replace(known, reference=replace(known.reference, random=ours or theirs))


def _joined_behaviours(parents: Sequence[StoredDataset], notes: Notes) -> list[Behaviour]:
    """Every behaviour once, by name."""
    joined: dict[str, Behaviour] = {}
    for parent in parents:
        for behaviour in parent.manifest.recipe.behaviours:
            known = joined.setdefault(behaviour.name, behaviour)
            if replace(behaviour, episodes=known.episodes) != known:
                raise DatasetError(
                    f"behaviour {behaviour.name} of {parent.manifest.dataset_id} is another: {behaviour}, not {known}",
                    hint="idaq dataset relabel --behaviour OLD=NEW gives it another name",
                )
            if known is not behaviour and behaviour.kind == "unknown":
                said = f"behaviour {behaviour.name} is of unknown make, and taken for that of the same name before it"
                notes.add(parent.manifest.dataset_id, said)
    return list(joined.values())


def _without_duplicates(parts: Sequence[_Part], notes: Notes) -> int:
    """Take of each part the episodes that no earlier one has; returns how many are left out."""
    seen: dict[str, tuple[str, bool | None]] = {}
    left_out = 0
    for part in parts:
        digests, table = part.digests(), part.stored.episodes
        labels = [(str(table.behaviour[n]), table.solved(n)) for n in range(len(table))]
        part.numbers = np.array([n for n, digest in enumerate(digests) if digest not in seen], np.int64)
        other = sum(seen.get(digest, label) != label for digest, label in zip(digests, labels, strict=True))
        said = "of the episodes left out have another behaviour or success than the earlier ones, whose are kept"
        notes.add(part.name, said, other)
        seen = dict(zip(digests, labels, strict=True)) | seen
        duplicates = len(digests) - len(part.numbers)
        notes.add(part.name, "episodes are left out: an earlier dataset has them", duplicates)
        left_out += duplicates
    return left_out


def _tell_kept(parents: Sequence[StoredDataset], notes: Notes) -> None:
    """What the recipe and the provenance can state once only."""
    first = parents[0].manifest
    for parent in parents[1:]:
        other = parent.manifest
        for key in ("train", "adapt"):
            if getattr(other.recipe, key) != getattr(first.recipe, key):
                said = f"its [{key}] settings differ from those of {first.dataset_id}, which are kept"
                notes.add(other.dataset_id, said)
        for package, version in other.provenance.simulators.items():
            if first.provenance.simulators.get(package, version) != version:
                said = f"was made with {package} {version}, {first.dataset_id} with another"
                notes.add(other.dataset_id, said)


def _by_task(parts: Sequence[_Part], tasks: Sequence[int]) -> Iterator[EpisodeEntry]:
    for task in tasks:
        for part in parts:
            yield from part.entries(part.of_task(task))
