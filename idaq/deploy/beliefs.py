"""Under which belief a policy leaves: a task's, or one that is given. Z belief."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idaq.core.errors import (
    CorruptDatasetError,
    DatasetNotFoundError,
    IdaqError,
    RunError,
    UsageError,
    unknown_name,
)
from idaq.core.files import read_json
from idaq.core.outside import raised_as
from idaq.core.text import printable
from idaq.core.types import Array, Floats, Task
from idaq.deploy.document import PolicySource
from idaq.learn.algorithm import Agent, infer_tasks
from idaq.learn.prior import belief_size
from idaq.learn.run import read_run, run_dataset, run_tasks

_SEED = 0
"""of the transitions that a task's belief is inferred from, as for the prior"""


@dataclass(frozen=True, kw_only=True)
class Belief:
    """A belief, and where it came from."""

    numbers: Floats
    """(Z,)"""
    words: str


def belief_of_task(run: Path, agent: Agent, task: str, root: Path | None = None) -> Belief:
    """The belief that a run's agent has of a task of its dataset, by id or index, from the task's offline data.

    A training task's stands in the prior; any other's is inferred from the dataset, below `root` or where it was.
    Raises UnknownNameError for a task that there is not, RunError where neither is at hand, or the dataset has changed.
    """
    kept = run_tasks(run)
    chosen = _find(run_dataset(run, root).all_tasks if kept is None else tuple(kept.tasks), task)
    if agent.prior is not None and chosen.task_index in agent.prior.task_indices:
        return _of_prior(agent, chosen.task_index, f"of training task {chosen.task_id}")
    try:
        dataset = run_dataset(run, root)
    except DatasetNotFoundError as error:
        raise RunError(
            f"{chosen.task_id} is no task of the agent's prior, and there is no offline data of it: {error.message}",
            hint="--root names the folder of datasets; --latent takes a belief of your own",
        ) from None
    size = agent.config.prior_context
    of_task = dataset.with_discrete(agent.config.discrete).select(tasks=[chosen.task_index])
    with raised_as(RunError, f"infer of {agent.config.algorithm}"):
        _, (numbers,) = infer_tasks(agent, of_task, size, _SEED)
    return Belief(numbers=numbers, words=f"of task {chosen.task_id}, from {size} transitions of its offline data")


def belief_of_latent(agent: Agent, latent: str | Path) -> Belief:
    """A training task's belief in the prior, by its task index, or the numbers of a JSON or .npy file.

    Raises UnknownNameError for a task that is not in the prior, RunError for an agent without one, UsageError for a
    file of anything but the agent's Z finite numbers.
    """
    if str(latent).isdigit():
        if agent.prior is None:
            raise RunError(
                f"there is no prior to take belief {latent} from: the run was stopped before its end",
                hint="let idaq train finish, or give --task with the dataset at hand",
            )
        return _of_prior(agent, int(str(latent)), f"of training task {latent}")
    path, size = Path(latent).expanduser(), belief_size(agent)
    array = _read_numbers(path)
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32) if array.dtype.kind in "iuf" else np.zeros(0, np.float32)
    if numbers.shape != (size,) or not np.isfinite(numbers).all():
        raise UsageError(
            f"{path} holds {array.dtype} {array.shape}, or NaN; a belief of {agent.config.algorithm} is {size} numbers"
        )
    return Belief(numbers=numbers, words=f"the {size} numbers of {path.name}")


def source_of(run: Path, words: str) -> PolicySource:
    """What policy.json states of a belief of a run's agent."""
    record = read_run(run)
    return PolicySource(
        belief=printable(words)[:200], dataset_id=record.dataset_id, content_digest=record.content_digest
    )


def _find(tasks: tuple[Task, ...], name: str) -> Task:
    for value in ("task_id", "task_index"):
        for task in tasks:
            if str(getattr(task, value)) == name:
                return task
    raise unknown_name("task", name, [task.task_id for task in tasks])


def _of_prior(agent: Agent, task_index: int, words: str) -> Belief:
    assert agent.prior is not None
    known = agent.prior.task_indices.tolist()
    if task_index not in known:
        raise unknown_name("training task", str(task_index), map(str, known))
    return Belief(numbers=agent.prior.beliefs[known.index(task_index)], words=f"{words}, as the run's prior has it")


def _read_numbers(path: Path) -> Array:
    """A JSON list or an .npy array. Raises UsageError for what is neither."""
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        return np.asarray(read_json(path))
    except (CorruptDatasetError, ValueError, EOFError) as error:
        said = error.message if isinstance(error, IdaqError) else f"{path} cannot be read: {error}"
        raise UsageError(said, hint="an index, a JSON list of numbers, or an .npy file of them") from None
