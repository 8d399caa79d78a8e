"""Other people's data as a dataset of format 1: transitions cut into episodes, episodes gathered into tasks.

Shapes: S transitions in a row, T of an episode, D observation, A action.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import DatasetError
from idaq.core.ids import parse_id
from idaq.core.types import Array, Episode
from idaq.format.documents import EnvReference, References, ReturnStatistics, TaskRecord
from idaq.format.recipe import Behaviour, Recipe, Splits
from idaq.format.writer import DatasetSource, EpisodeEntry

_HOW = "the imported episodes of this task"
_UNKNOWN_ENV = EnvReference(id="unknown", entry_point="", kwargs={}, max_episode_steps=None)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Transitions as most formats have them, in the order in which they happened."""

    observations: Array
    """(S, D)"""
    actions: Array
    """(S, A)"""
    rewards: Array
    """(S,)"""
    terminated: NDArray[np.bool_]
    """(S,)"""
    truncated: NDArray[np.bool_]
    """(S,) time-outs: they never become terminals"""
    next_observations: Array | None = None
    """(S, D), where the format has them"""
    episode: NDArray[np.int64] | None = None
    """(S,) a number that changes from one episode to the next, where the format has one"""


@dataclass(frozen=True, kw_only=True)
class ImportedEpisode:
    episode: Episode
    behaviour: str = "unknown"
    seed: int = 0
    success: bool | None = None


@dataclass(kw_only=True)
class ImportedTask:
    """One task and its episodes. `name` becomes the task's id."""

    name: str
    episodes: list[ImportedEpisode]
    index: int | None = None
    """its place among the tasks, where the format gives one"""
    params: dict[str, float | list[float]] = field(default_factory=dict)
    env: EnvReference = _UNKNOWN_ENV


@dataclass(kw_only=True)
class Import:
    """What was read: tasks, spaces where known, and what a user should know of it."""

    tasks: list[ImportedTask]
    origin: str
    """where it came from, for the provenance"""
    action_space: gym.spaces.Box | None = None
    observation_space: gym.spaces.Box | None = None
    env_spec_json: str | None = None
    authors: list[str] = field(default_factory=list)
    license: str | None = None
    """as the source states them; empty and None where it does not"""
    notes: list[str] = field(default_factory=list)
    """what was missing, dropped or assumed"""


def cut_episodes(rows: Rows, notes: list[str], where: str) -> list[Episode]:
    """Cut after every end, where the episode number changes, and where s' is not the next s; no transition moves.

    Without `next_observations` the s' of an episode's last step is unknown. After a time-out that step is left out;
    after a terminal, whose s' no Bellman target reads, it stays and s' repeats s. Both are noted.
    Raises DatasetError for columns of unequal length, and for NaN or infinity.
    """
    _check(rows, where)
    size = len(rows.rewards)
    ends = rows.terminated | rows.truncated
    ends[-1:] = True
    if rows.episode is not None:
        ends[:-1] |= rows.episode[1:] != rows.episode[:-1]
    following = rows.next_observations
    if following is not None:
        ends[:-1] |= (following[:-1] != rows.observations[1:]).any(1)
    edges = np.concatenate([[0], np.flatnonzero(ends) + 1]) if size else np.zeros(1, np.int64)
    episodes, dropped, repeated = [], 0, 0
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if following is None:
            repeats = bool(rows.terminated[last - 1])
            repeated, dropped = repeated + repeats, dropped + (not repeats)
            if not repeats and last - first == 1:
                continue
            episodes.append(_episode(rows, first, last if repeats else last - 1, rows.observations[last - 1]))
        else:
            episodes.append(_episode(rows, first, last, following[last - 1]))
    if dropped:
        notes.append(
            f"{where}: left out {dropped} last steps of time-outs, whose next observation the file does not hold"
        )
    if repeated:
        notes.append(f"{where}: {repeated} terminal steps have no next observation; it repeats the last one")
    return episodes


def _episode(rows: Rows, first: int, last: int, final: Array) -> Episode:
    """Transitions first..last-1, with `final` as s_T. A time-out whose last step is left out is still a time-out."""
    truncated = rows.truncated[first:last].copy()
    if rows.next_observations is None and not rows.terminated[last - 1]:
        truncated[-1] = True
    return Episode(
        observations=np.concatenate([rows.observations[first:last], final[None]]),
        actions=rows.actions[first:last],
        rewards=rows.rewards[first:last],
        terminated=rows.terminated[first:last],
        truncated=truncated,
    )


def _check(rows: Rows, where: str) -> None:
    columns = {name: value for name, value in vars(rows).items() if value is not None}
    lengths = {name: len(value) for name, value in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DatasetError(f"{where}: columns have unequal lengths: {lengths}")
    for name, value in columns.items():
        if name in ("observations", "actions", "rewards", "next_observations") and not np.isfinite(value).all():
            row = int(np.argmax(~np.isfinite(value).reshape(len(value), -1).all(1)))
            raise DatasetError(f"{where}: {name} holds NaN or infinity in row {row}")


def state_whose(imported: Import, authors: Sequence[str] = (), license: str | None = None) -> None:
    """Whose data it is: what the user says before what the source says; what neither does is noted."""
    told = {"authors": (imported.authors, list(authors)), "licence": (imported.license, license)}
    for name, (theirs, ours) in told.items():
        if theirs and ours and theirs != ours:
            imported.notes.append(f"{name}: {ours}, though {imported.origin} states {theirs}")
    imported.authors, imported.license = list(authors) or imported.authors, license or imported.license
    missing = [name for name, value in (("authors", imported.authors), ("licence", imported.license)) if not value]
    if missing:
        imported.notes.append(f"{' and '.join(missing)} unknown; --author and --license state them")


def dataset_source(imported: Import, new_id: str, family: str, description: str) -> DatasetSource:
    """The dataset to write: every task in the split `train`, no random reference, behaviours of unknown make.

    Raises DatasetError for an import without episodes.
    """
    tasks = [task for task in imported.tasks if task.episodes]
    if not tasks:
        raise DatasetError(f"{imported.origin} holds no episodes")
    indices = [number if task.index is None else task.index for number, task in enumerate(tasks)]
    behaviours = sorted({episode.behaviour for task in tasks for episode in task.episodes})
    most = max(len(task.episodes) for task in tasks)
    return DatasetSource(
        recipe=Recipe(
            id=str(parse_id(new_id)),
            family=family,
            description=description,
            authors=imported.authors,
            license=imported.license,
            seed=0,
            splits=Splits(seed=0, sizes={"train": len(tasks)}),
            behaviours=[Behaviour(name=name, kind="unknown", quality="unknown", episodes=most) for name in behaviours],
        ),
        tasks=tuple(_record(task, index) for task, index in zip(tasks, indices, strict=True)),
        entries=_entries(tasks, indices),
        observation_space=imported.observation_space or _unbounded(tasks),
        action_space=imported.action_space or _action_box(tasks),
        env_spec_json=imported.env_spec_json,
        operation=f"import of {imported.origin}",
    )


def _record(task: ImportedTask, index: int) -> TaskRecord:
    returns = np.array([entry.episode.total_reward for entry in task.episodes])
    measured = ReturnStatistics(mean=float(returns.mean()), std=float(returns.std()), n=len(returns), how=_HOW)
    return TaskRecord(
        task_id=task.name,
        task_index=index,
        params=task.params,
        split="train",
        success=None,
        env=task.env,
        reset_options={},
        reference=References(random=None, behaviour=measured),
    )


def _entries(tasks: Sequence[ImportedTask], indices: Sequence[int]) -> Iterator[EpisodeEntry]:
    for index, task in zip(indices, tasks, strict=True):
        for entry in task.episodes:
            yield EpisodeEntry(
                episode=entry.episode,
                task_index=index,
                behaviour=entry.behaviour,
                seed=entry.seed,
                success=entry.success,
            )


def _unbounded(tasks: Sequence[ImportedTask]) -> gym.spaces.Box:
    first = tasks[0].episodes[0].episode.observations
    return gym.spaces.Box(-np.inf, np.inf, first.shape[1:], first.dtype.type)


def _action_box(tasks: Sequence[ImportedTask]) -> gym.spaces.Box:
    """[-1, 1] where every action is inside, else the bounds of the data."""
    actions = [entry.episode.actions for task in tasks for entry in task.episodes]
    low, high = np.min([a.min(0) for a in actions], 0), np.max([a.max(0) for a in actions], 0)
    if (low >= -1).all() and (high <= 1).all():
        low, high = np.full_like(low, -1), np.full_like(high, 1)
    return gym.spaces.Box(low, high, low.shape, actions[0].dtype.type)
