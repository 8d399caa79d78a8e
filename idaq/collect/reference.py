"""The returns of random actions on tasks of a dataset that lacks them, measured in an environment that the user names.

Episode e of a task is a pure function of the environment, the task and the seed, so that the same command measures the
same to the bit. Tasks that a killed measurement had finished are kept until it is run again to its end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from idaq.collect.actions import bounds, is_counted
from idaq.collect.own_env import OwnEnv, own_env
from idaq.collect.plan import env_reference, env_spec_json, simulator_versions
from idaq.core.config import from_mapping, to_mapping
from idaq.core.digest import value_digest
from idaq.core.errors import CorruptDatasetError, DatasetError, PluginError, UsageError
from idaq.core.files import read_json, write_json
from idaq.core.ids import datasets_root
from idaq.core.notes import Notes
from idaq.core.outside import raised_as
from idaq.core.seeds import episode_seed, generator
from idaq.core.types import ACTIONS, Advance, Array, ignore_progress, is_observation
from idaq.format.documents import UNKNOWN_ENV, EnvReference, ReturnStatistics, TaskRecord
from idaq.format.edit import with_tasks
from idaq.format.gym_spaces import LEAVES, leaf_spaces
from idaq.format.reader import StoredDataset
from idaq.format.writer import DatasetSource
from idaq.tasks import Family, find_family, get_family
from idaq.tasks.systems import Env, run_episode

EPISODES = 50
"""of each task, as a recipe has it unasked"""


@dataclass(frozen=True, kw_only=True)
class Systems:
    """Where the tasks of a dataset can be acted on."""

    name: str
    """for the statement of how it was measured"""
    make: Callable[[TaskRecord], Env]
    env: Callable[[TaskRecord], EnvReference]
    spec_json: str
    simulators: Mapping[str, str]


class UniformActions:
    """Acts at random: uniform in a bounded action space."""

    def __init__(self, space: gym.Space[Any], seed: int) -> None:
        """Raises UsageError for a space without bounds to be uniform in."""
        if not isinstance(space, LEAVES) or (isinstance(space, gym.spaces.Box) and not space.is_bounded()):
            raise UsageError(f"no uniform random actions are possible in {space}: it has no bounds")
        self._space, self._rng = space, generator(seed, 1)
        self._low, self._high = bounds(space)

    def act(self, _observation: Any, /) -> Array:
        """An action (...)."""
        if is_counted(self._space):
            return self._rng.integers(self._low, self._high, endpoint=True, dtype=np.int64).astype(self._space.dtype)
        return self._rng.uniform(self._low, self._high).astype(self._space.dtype)


def systems_of(
    stored: StoredDataset,
    *,
    family: str | None = None,
    env: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Systems:
    """The environment that the user names, else the dataset's own family where it is built in or installed.

    Raises UsageError where there is none, PluginError for one that cannot be made, DatasetError where its tasks or its
    rows are not the dataset's.
    """
    if family is not None and env is not None:
        raise UsageError("--family and --env are both given", hint="one of them")
    if settings and env is None:
        raise UsageError("--env-arg is for an environment", hint="--env ID or package.module:function")
    if env is not None:
        params = next((task.params for task in stored.tasks if task.params), None)
        return _of_env(stored, own_env(env, settings or {}, params))
    if family is not None:
        return _of_family(stored, get_family(family))
    try:
        return _of_family(stored, find_family(stored.manifest.family))
    except UsageError as error:
        stated = next((task.env.id for task in stored.tasks if task.env.id != UNKNOWN_ENV.id), "ENV")
        raise UsageError(
            f"where to measure is not known: {error.message}", hint=f"if you trust that code: --env {stated}"
        ) from None


def measure_random(
    stored: StoredDataset,
    systems: Systems,
    *,
    episodes: int = EPISODES,
    seed: int = 0,
    max_steps: int | None = None,
    root: str | Path | None = None,
    progress: Advance = ignore_progress,
) -> dict[int, ReturnStatistics]:
    """The random reference of every task, by index; `progress` counts episodes.

    `max_steps` ends the episodes of an environment without a time limit. Finished tasks are kept below `root` until
    all are. Raises PluginError for an environment that fails, UsageError for actions without bounds, NonFiniteError for
    NaN or infinity.
    """
    kept = _kept(stored, systems, episodes, seed, max_steps, root)
    finished = _read(kept)
    for task in stored.tasks:
        if task.task_id in finished:
            progress(episodes)
            continue
        with raised_as(PluginError, f"random actions on task {task.task_id} in {systems.name}"):
            returns = _returns(systems, task, episodes, seed, max_steps, progress)
        how = f"uniform random actions in {systems.name}, seed {seed}, measured afterwards; not in the dataset"
        mean, std = float(np.mean(returns)), float(np.std(returns))
        finished[task.task_id] = ReturnStatistics(mean=mean, std=std, n=episodes, how=how)
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, {name: to_mapping(one) for name, one in finished.items()})
    kept.unlink(missing_ok=True)
    return {task.task_index: finished[task.task_id] for task in stored.tasks}


def with_random(
    stored: StoredDataset, systems: Systems, measured: Mapping[int, ReturnStatistics], new_id: str
) -> DatasetSource:
    """The same episodes, with the random references and, where none was stated, the environment they are of."""
    notes, tasks = Notes(), list[TaskRecord]()
    name = stored.manifest.dataset_id
    for task in stored.tasks:
        reference = replace(task.reference, random=measured[task.task_index])
        notes.add(name, "random references are replaced by new ones", int(task.reference.random is not None))
        stated, env = task.env, systems.env(task)
        known = stated.id != UNKNOWN_ENV.id
        said = f"tasks state another environment than {systems.name}, where the reference was measured; theirs is kept"
        notes.add(name, said, int(known and stated != env))
        tasks.append(replace(task, reference=reference, env=stated if known else env))
    source = with_tasks(stored, new_id, tasks, f"random reference in {systems.name}", notes)
    if source.env_spec_json is None:
        source = replace(source, env_spec_json=systems.spec_json)
    return replace(source, simulators={**systems.simulators, **source.simulators})


def short_seed(root: int, task_index: int, behaviour_index: int, episode: int) -> int:
    """An episode's seed of 31 bits: environments of other makers may take no more."""
    return episode_seed(root, task_index, behaviour_index, episode) >> 33


def _returns(
    systems: Systems, task: TaskRecord, episodes: int, seed: int, max_steps: int | None, progress: Advance
) -> list[float]:
    env, returns = systems.make(task), list[float]()
    for number in range(episodes):
        mine = short_seed(seed, task.task_index, 0, number)
        policy = UniformActions(env.action_space, mine)
        returns.append(run_episode(env, policy, seed=mine, max_steps=max_steps).total_reward)
        progress(1)
    env.close()
    return returns


def _of_env(stored: StoredDataset, env: OwnEnv) -> Systems:
    _check_rows(stored, env.observation_space, env.action_space, f"the environment {env.name}")
    for task in stored.tasks:
        env.make(task.params).close()
    return Systems(
        name=env.name,
        make=lambda task: env.make(task.params),
        env=lambda task: env.reference(task.params),
        spec_json=env.spec_json,
        simulators={},
    )


def check_family(stored: StoredDataset, family: Family) -> None:
    """Raise DatasetError where the rows or the tasks of a dataset are not the family's."""
    spaces = family.spaces()
    _check_rows(stored, spaces.observations, spaces.actions, f"the family {family.name}")
    there = {task.task_index: task.params for task in family.tasks}
    for task in stored.tasks:
        if there.get(task.task_index) != task.params:
            raise DatasetError(
                f"task {task.task_id} (index {task.task_index}) of {stored.manifest.dataset_id} has {task.params}; the"
                f" family {family.name} has {there.get(task.task_index)}",
                hint="idaq dataset import --family NAME --task-index LIST says which of the family's tasks they are",
            )


def _of_family(stored: StoredDataset, family: Family) -> Systems:
    check_family(stored, family)
    return Systems(
        name=f"the family {family.name}",
        make=lambda task: family.make(task.task_index),
        env=lambda _task: env_reference(family),
        spec_json=env_spec_json(family),
        simulators=simulator_versions(family),
    )


def _check_rows(stored: StoredDataset, observations: gym.Space[Any], actions: gym.Space[Any], whose: str) -> None:
    columns = stored.manifest.columns
    there = {name: column.shape for name, column in columns.items() if is_observation(name) or name == ACTIONS}
    spaces = {**leaf_spaces(observations), ACTIONS: actions}
    here = {name: list(space.shape or ()) for name, space in spaces.items()}
    for name in [*there, *here]:
        ours, theirs = (f"{name} of shape {s[name]}" if name in s else f"no {name}" for s in (here, there))
        if ours != theirs:
            raise DatasetError(f"{whose} has {ours}, the dataset {theirs}")


def _kept(
    stored: StoredDataset,
    systems: Systems,
    episodes: int,
    seed: int,
    max_steps: int | None,
    root: str | Path | None,
) -> Path:
    """Where finished tasks of this very measurement are kept."""
    tasks = [[task.task_id, task.params, to_mapping(systems.env(task))] for task in stored.tasks]
    asked = value_digest([stored.manifest.content_digest, tasks, systems.name, episodes, seed, max_steps])
    return datasets_root(root) / ".idaq" / "reference" / f"{asked[:32]}.json"


def _read(kept: Path) -> dict[str, ReturnStatistics]:
    if not kept.is_file():
        return {}
    try:
        found = read_json(kept)
        return {name: from_mapping(ReturnStatistics, one, where=str(kept)) for name, one in found.items()}
    except (CorruptDatasetError, UsageError, AttributeError):
        return {}
