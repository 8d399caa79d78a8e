"""What imported tasks belong to: a task family, or an environment of the user's own; and which split each is in.

A task family knows its tasks by index. An environment is told its task by its keyword arguments: each parameter of a
task is one of them, under its own name. Both are made once, to see that the data are theirs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from idaq.core.errors import DatasetError, UnknownNameError, UsageError
from idaq.core.types import ACTIONS, Task, TaskParams, is_observation
from idaq.format.gym_spaces import leaf_spaces
from idaq.format.importing import Import, ImportedTask, in_order, take_shapes
from idaq.format.selection import chosen_splits
from idaq.tasks import Family, get_family


def link(
    imported: Import, family: str | None, indices: Sequence[int], env: str | None, settings: Mapping[str, Any]
) -> None:
    """Make tasks those of a family, or of an environment, whichever is named. Raises UsageError for both."""
    if family is not None and env is not None:
        raise UsageError("--family and --env are both given: a family brings its own environment", hint="one of them")
    if family is not None:
        link_family(imported, family, indices)
    elif indices:
        raise UsageError("--task-index is for the tasks of a family", hint="--family NAME")
    if env is not None:
        link_env(imported, env, settings)
    elif settings:
        raise UsageError("--env-arg is for an environment", hint="--env ID or package.module:function")


def link_family(imported: Import, name: str, indices: Sequence[int] = ()) -> None:
    """Make each task one of the family's: by `indices`, one a task in order, else by its parameters, else by its id.

    A name that no family has is written as it is, which is noted. Raises PluginError for a family that cannot be made,
    UnknownNameError for a name beside `indices`, UsageError for indices that cannot be, DatasetError for a task that
    the family does not have, and for rows of another size than its environment's.
    """
    from idaq.collect.plan import env_reference, env_spec_json, simulator_versions

    try:
        family = get_family(name)
    except UnknownNameError as error:
        if indices:
            raise
        said = f"no task family {name} is known here ({error.hint}): the name is written, no task is checked"
        imported.notes.add(imported.origin, said)
        return
    if indices and len(indices) != len(imported.tasks):
        raise UsageError(
            f"--task-index names {len(indices)} tasks; {imported.origin} holds {len(imported.tasks)}",
            hint="one for each, in order: --task-index 3,7",
        )
    spaces = family.spaces()
    _take_spaces(imported, spaces.observations, spaces.actions, f"the family {name}")
    for number, task in enumerate(imported.tasks):
        found = _at(family, indices[number]) if indices else _found(family, task)
        if found.task_id != task.name and not indices:
            imported.notes.add(imported.origin, f"tasks get the ids that the family {name} has", 1)
        task.name, task.index, task.params = found.task_id, found.task_index, dict(found.params)
        task.env, task.reset_options = env_reference(family), {"task": found.task_index}
        task.success = found.success
    imported.env_spec_json, imported.simulators = env_spec_json(family), simulator_versions(family)


def link_env(imported: Import, name: str, settings: Mapping[str, Any]) -> None:
    """State the environment of every task: `name`, made with `settings` and the task's parameters.

    Raises UsageError for an unknown Gymnasium id, PluginError where it cannot be made so, DatasetError for rows of
    another size than its own.
    """
    from idaq.collect.own_env import own_env

    env = own_env(name, settings, next((task.params for task in imported.tasks if task.params), None))
    _take_spaces(imported, env.observation_space, env.action_space, f"the environment {name}")
    for task in imported.tasks:
        env.make(task.params).close()
        task.env = env.reference(task.params)
    imported.env_spec_json = env.spec_json
    nameless = [task.name for task in imported.tasks if not task.params]
    if len(nameless) > 1:
        said = "tasks have no parameters: the environment is the same for all of them (--param)"
        imported.notes.add(imported.origin, said, len(nameless))


def assign_splits(imported: Import, splits: Mapping[str, str], test_tasks: int | None = None) -> None:
    """Put tasks into splits: by lists of ids and indices, or so many, drawn at random, into `test`.

    Tasks that no list names are in `train`. Raises UnknownNameError for a task that there is not, UsageError for one in
    two lists, for one in none where `train` is listed, and where no task would be left to learn from.
    """
    tasks = in_order(imported)
    for index, split in chosen_splits(_plain(tasks), splits, test_tasks).items():
        tasks[index].split = split


def _plain(tasks: Mapping[int, ImportedTask]) -> list[Task]:
    return [Task(task_id=task.name, task_index=index, params=task.params) for index, task in tasks.items()]


def _take_spaces(imported: Import, observations: gym.Space[Any], actions: gym.Space[Any], whose: str) -> None:
    """The spaces of an environment, where the data do not state their own. Raises DatasetError for other sizes."""
    imported.observation_space = imported.observation_space or observations
    imported.action_space = imported.action_space or actions
    take_shapes(imported)
    expected = {name: leaf.shape for name, leaf in (leaf_spaces(observations) | {ACTIONS: actions}).items()}
    for task in imported.tasks:
        for entry in task.episodes:
            columns = entry.episode.columns
            found = {name: columns[name].shape[1:] for name in columns if name == ACTIONS or is_observation(name)}
            for name in dict.fromkeys((*expected, *found)):
                if found.get(name) != expected.get(name):
                    said = f"{name} of shape {found.get(name, 'none')}, {whose} of {expected.get(name, 'none')}"
                    raise DatasetError(f"{task.name} has {said}")


def _at(family: Family, index: int) -> Task:
    if not 0 <= index < len(family.tasks):
        raise UsageError(
            f"--task-index {index}: the family {family.name} has no such task", hint=f"0 to {len(family.tasks) - 1}"
        )
    return family.tasks[index]


def _found(family: Family, task: ImportedTask) -> Task:
    """The family's task of the same parameters, or of the same id where there are none."""
    for theirs in family.tasks:
        if theirs.params == task.params if task.params else theirs.task_id == task.name:
            return theirs
    what = f"with the parameters {task.params}" if task.params else "of that id, and it has no parameters to go by"
    near = min(family.tasks, key=lambda theirs: _distance(theirs.params, task.params))
    said = "the nearest is" if task.params else "its first is"
    raise DatasetError(
        f"task {task.name}: the family {family.name} has none {what}",
        hint=f"{said} {near.task_id} with {near.params}: --task-index {near.task_index} would take it",
    )


def _distance(theirs: TaskParams, ours: TaskParams) -> float:
    """How far two tasks are apart; infinite where one has other parameters than the other."""
    if {name: np.shape(value) for name, value in theirs.items()} != {n: np.shape(v) for n, v in ours.items()}:
        return np.inf
    return float(sum(np.sum(np.abs(np.subtract(theirs[name], ours[name]))) for name in ours))
