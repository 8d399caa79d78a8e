"""Other people's data as a dataset of format 1: what every reader gives, and what is written of it."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np

from idaq.core.config import check_name, from_mapping
from idaq.core.errors import DatasetError
from idaq.core.ids import parse_id
from idaq.core.notes import Notes
from idaq.core.text import printable
from idaq.core.types import (
    ACTIONS,
    MIXED_FAMILIES,
    REWARDS,
    Episode,
    FamilyName,
    ShowProgress,
    Slug,
    Success,
    TaskParams,
    is_observation,
    show_nothing,
)
from idaq.format import boxes, casting
from idaq.format.documents import UNKNOWN_ENV, About, EnvReference, References, ReturnStatistics, TaskRecord
from idaq.format.gym_spaces import leaf_spaces
from idaq.format.outside_columns import observation_names
from idaq.format.recipe import Behaviour, Recipe, Splits
from idaq.format.verify import check_valid
from idaq.format.writer import DatasetSource, EpisodeEntry, write_dataset

_V = TypeVar("_V")
_RETURN_SOURCE = "the imported episodes of this task"


@dataclass(frozen=True, kw_only=True)
class ImportedEpisode:
    """One episode and what is known of it; None where the source does not say."""

    episode: Episode
    behaviour: str = "unknown"
    seed: int | None = None
    success: bool | None = None
    history: int | None = None
    """which learning history of its task and behaviour it belongs to"""
    policy_step: int | None = None
    """environment steps that the behaviour policy had learned from before it"""


@dataclass(kw_only=True)
class ImportedTask:
    """One task and its episodes. `name` becomes the task's id."""

    name: str
    episodes: list[ImportedEpisode]
    index: int | None = None
    """its place among the tasks, where the format gives one"""
    params: TaskParams = field(default_factory=dict)
    env: EnvReference = UNKNOWN_ENV
    reset_options: dict[str, Any] = field(default_factory=dict)
    """what its environment's `reset` takes to start it"""
    success: Success | None = None
    random: ReturnStatistics | None = None
    """returns of random actions, where they were measured"""
    split: str = "train"
    family: str | None = None
    """the task family that it is of, where that is another than the dataset's"""


@dataclass(kw_only=True)
class Import:
    """What was read: tasks, spaces where known, and what a user should know of it."""

    tasks: list[ImportedTask]
    origin: str
    """where it came from, for the provenance"""
    action_space: gym.Space[Any] | None = None
    observation_space: gym.Space[Any] | None = None
    """that the format holds; None where the source does not state it"""
    env_spec_json: str | None = None
    about: dict[str, About] = field(default_factory=dict)
    """what is said of columns, by name"""
    compress: list[str] = field(default_factory=list)
    """columns to compress"""
    authors: list[str] = field(default_factory=list)
    license: str | None = None
    citation: str | None = None
    source: str | None = None
    """a URL, or words: as the source states them; empty and None where it does not"""
    notes: Notes = field(default_factory=Notes)
    """what was cut, cast, dropped or assumed"""
    simulators: dict[str, str] = field(default_factory=dict)
    """versions of the packages that decide what an episode holds, where they are known"""
    spaces: tuple[gym.Space[Any], gym.Space[Any]] | None = None
    """the spaces to write, once they are known"""


def slug(text: str) -> str:
    """A task id from a file's name or another maker's id: `hopper-medium` of `Hopper Medium.npz`'s stem."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.lower())
    return plain.strip("._-")[:64].rstrip("._-") or "task"


def unknown_rewards(imported: Import) -> None:
    """State that nobody knows the rewards: they are 0 in its episodes, and returns will be null. Noted."""
    imported.about[REWARDS] = About(known=False)
    imported.notes.add(imported.origin, "no rewards in the file: they are written as unknown, and so are returns")


def unify(imported: Import) -> tuple[gym.Space[Any], gym.Space[Any]]:
    """One set of columns, each of one shape and dtype; returns the spaces of observations and actions, which hold every
    value.

    What that drops, casts or assumes is noted, once. Raises DatasetError where shapes differ, and for what the spaces
    cannot hold.
    """
    notes, where = imported.notes, imported.origin
    for task in imported.tasks:
        if not task.episodes:
            notes.add(task.name, "a task without an episode is left out")
    tasks = imported.tasks = [task for task in imported.tasks if task.episodes]
    if not tasks:
        raise DatasetError(f"{where} holds no episodes", details=notes)
    stated = _stated_spaces(imported)
    found = [(task.name, entry.episode.columns) for task in tasks for entry in task.episodes]
    names = observation_names((name for _, columns in found for name in columns), notes, where)
    if any(name != new for name, new in names.items()):
        found = [(task, _renamed(columns, names)) for task, columns in found]
        stated, imported.about = _renamed(stated, names), _renamed(imported.about, names)
    columns = casting.settled(found, stated, notes)
    episodes = map(Episode.from_columns, columns)
    for task in tasks:
        task.episodes = [replace(entry, episode=next(episodes)) for entry in task.episodes]
    imported.about = {name: about for name, about in imported.about.items() if name in columns[0]}
    if imported.spaces is None:
        casting.note_beyond_float32(columns, notes, where)
        leaves = {
            name: boxes.space_of(name, stated.get(name), [each[name] for each in columns], notes, where)
            for name in columns[0]
            if name == ACTIONS or is_observation(name)
        }
        actions = leaves.pop(ACTIONS)
        imported.spaces = boxes.nested_space(leaves), actions
    return imported.spaces


def _renamed(found: Mapping[str, _V], names: Mapping[str, str]) -> dict[str, _V]:
    return {names.get(name, name): value for name, value in found.items()}


def take_shapes(imported: Import) -> None:
    """Give rows the shapes of the stated spaces, where they fit: a choice of one number a row is one number."""
    spaces = leaf_spaces(imported.observation_space) if imported.observation_space is not None else {}
    if imported.action_space is not None:
        spaces |= {ACTIONS: imported.action_space}
    for task in imported.tasks:
        shaped = (casting.in_shape(entry.episode.columns, spaces) for entry in task.episodes)
        task.episodes = [
            replace(entry, episode=Episode.from_columns(columns))
            for entry, columns in zip(task.episodes, shaped, strict=True)
        ]


def _stated_spaces(imported: Import) -> dict[str, gym.Space[Any]]:
    """By column. Raises DatasetError where they are of other columns than the episodes have."""
    stated: dict[str, gym.Space[Any]] = {}
    if imported.observation_space is not None:
        stated = leaf_spaces(imported.observation_space)
        first = imported.tasks[0].episodes[0].episode.columns
        seen = [name for name in first if is_observation(name)]
        if sorted(stated) != sorted(seen):
            said = f"{imported.origin} has {', '.join(seen)}; the stated observation space is of {', '.join(stated)}"
            raise DatasetError(said[:1000])
    return stated if imported.action_space is None else stated | {ACTIONS: imported.action_space}


def state_attribution(
    imported: Import,
    authors: Sequence[str] = (),
    license: str | None = None,
    citation: str | None = None,
    source: str | None = None,
) -> None:
    """Set whose data it is: as the user states it, else as the source does; authors and licence unknown are noted."""
    stated = {
        "authors": (imported.authors, list(authors)),
        "licence": (imported.license, license),
        "citation": (imported.citation, citation),
        "source": (imported.source, source),
    }
    for name, (theirs, ours) in stated.items():
        if theirs and ours and theirs != ours:
            imported.notes.add(imported.origin, f"states the {name} {theirs}; what was asked for is written: {ours}")
    imported.authors, imported.license = list(authors) or imported.authors, license or imported.license
    imported.citation, imported.source = citation or imported.citation, source or imported.source
    missing = [name for name, value in (("authors", imported.authors), ("licence", imported.license)) if not value]
    if missing:
        imported.notes.add(imported.origin, f"{' and '.join(missing)} unknown; --author and --license state them")


def dataset_source(imported: Import, new_id: str, family: str, description: str) -> DatasetSource:
    """The dataset to write: tasks by index, behaviours of unknown make.

    Settles the import first. Raises DatasetError for one without episodes or with two tasks of one index or id,
    ConfigError for a name that is none.
    """
    observation_space, action_space = unify(imported)
    tasks = in_order(imported)
    sizes = Counter(check_name(Slug, task.split, "split") for task in tasks.values())
    behaviours = sorted({episode.behaviour for task in tasks.values() for episode in task.episodes})
    most = max(len(task.episodes) for task in tasks.values())
    families = {check_name(FamilyName, task.family or family, "family") for task in tasks.values()}
    rewarded = imported.about.get(REWARDS, About()).known
    recipe = {
        "id": str(parse_id(new_id)),
        "family": families.pop() if len(families) == 1 else MIXED_FAMILIES,
        "description": printable(description),
        "authors": imported.authors,
        "license": imported.license,
        "citation": imported.citation,
        "source": imported.source,
        "compress": imported.compress,
        "seed": 0,
        "splits": Splits(seed=0, sizes=dict(sizes)),
        "behaviours": [Behaviour(name=name, kind="unknown", quality="unknown", episodes=most) for name in behaviours],
    }
    return DatasetSource(
        recipe=from_mapping(Recipe, recipe, where=new_id),
        tasks=tuple(_record(task, index, family, rewarded) for index, task in tasks.items()),
        entries=_entries(tasks),
        observation_space=observation_space,
        action_space=action_space,
        env_spec_json=imported.env_spec_json,
        about=imported.about,
        simulators=imported.simulators,
        operation=f"import of {printable(imported.origin)}",
        notes=tuple(imported.notes),
    )


def write_source(source: DatasetSource, episodes: int, root: Path, show: ShowProgress = show_nothing) -> Path:
    """Write and verify an import's dataset of so many episodes; it appears only if nothing is wrong with it.

    Returns its folder. Raises as `write_dataset` does, and CorruptDatasetError for what `verify` would refuse.
    """
    with show(f"writing {source.recipe.id}", 3 * episodes, "episodes") as advance:
        check = partial(check_valid, otherwise="what was imported makes a corrupt dataset", progress=advance)
        return write_dataset(source, root, progress=advance, check=check)


def in_order(imported: Import) -> dict[int, ImportedTask]:
    """Tasks by index, as episodes are written. Raises DatasetError where two have one index or id."""
    indices = [number if task.index is None else task.index for number, task in enumerate(imported.tasks)]
    for what, values in (("index", map(str, indices)), ("id", (task.name for task in imported.tasks))):
        twice = [value for value, times in Counter(values).items() if times > 1]
        if twice:
            raise DatasetError(f"{imported.origin}: two tasks have the {what} {', '.join(twice)}")
    return dict(sorted(zip(indices, imported.tasks, strict=True)))


def _record(task: ImportedTask, index: int, family: str, rewarded: bool) -> TaskRecord:
    record = {
        "task_id": task.name,
        "task_index": index,
        "params": task.params,
        "split": task.split,
        "success": task.success,
        "family": task.family or family,
        "env": task.env,
        "reset_options": task.reset_options,
        "reference": References(random=task.random, behaviour=_measured(task) if rewarded else None),
    }
    return from_mapping(TaskRecord, record, where=f"task {task.name}")


def _measured(task: ImportedTask) -> ReturnStatistics:
    returns = np.array([entry.episode.total_reward for entry in task.episodes])
    return ReturnStatistics(mean=float(returns.mean()), std=float(returns.std()), n=len(returns), how=_RETURN_SOURCE)


def _entries(tasks: Mapping[int, ImportedTask]) -> Iterator[EpisodeEntry]:
    for index, task in tasks.items():
        for entry in task.episodes:
            yield EpisodeEntry(
                episode=entry.episode,
                task_index=index,
                behaviour=entry.behaviour,
                seed=entry.seed,
                success=entry.success,
                history=entry.history,
                policy_step=entry.policy_step,
            )
