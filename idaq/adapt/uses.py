"""What can be done with a dataset: learn from it, adapt to its test tasks; and what brings the rest where it cannot.

Told at import, by `idaq dataset show`, and by `idaq train` before it claims anything. No torch here.
"""

import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from idaq.core.config import config
from idaq.core.registry import is_reference
from idaq.core.types import MIXED_FAMILIES
from idaq.format.documents import UNKNOWN_ENV, TaskRecord
from idaq.format.reader import is_idaq_dataset, open_stored, read_metadata
from idaq.tasks import FAMILIES

if TYPE_CHECKING:
    from idaq.loader import Dataset


@config
class Obstacle:
    """What is missing, and the command that brings it."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what} ({self.fix})"


@config
class Uses:
    """What keeps a dataset from each use; nothing does where a list is empty."""

    train: list[Obstacle]
    adapt: list[Obstacle]
    """of adapting to all its test tasks in simulation, and scoring that"""
    family: str | None
    """what `--family` must name for that: code that is not imported because a document says so"""

    def lines(self) -> list[str]:
        """One line for each use."""
        given = "yes" if self.family is None else f"yes, with --family {shlex.quote(self.family)}"
        return [f"can be trained from: {_said(self.train, 'yes')}", self.adapt_line(given)]

    def adapt_line(self, given: str = "yes") -> str:
        """The line about adapting."""
        return f"can be adapted to by idaq adapt: {_said(self.adapt, given)}"


def uses_of(dataset: Path, allow: Collection[str] = ()) -> Uses:
    """What can be done with the dataset of a folder; raises as `open_stored` does. See `uses`."""
    if not is_idaq_dataset(dataset):
        return plain_uses(str(read_metadata(dataset).get("dataset_id")))
    stored = open_stored(dataset)
    return uses(stored.manifest.dataset_id, stored.manifest.family, stored.tasks, allow)


def uses(dataset_id: str, family: str, tasks: Sequence[TaskRecord], allow: Collection[str] = ()) -> Uses:
    """What can be done with a dataset of these tasks.

    `allow` names code outside installed packages that the family may be: without it, such a family is not looked into.
    """
    known = family in FAMILIES.names() or (is_reference(family) and family in allow)
    unseen = is_reference(family) and not known
    tests = [task for task in tasks if task.split == "test"]
    quoted, train, adapt = shlex.quote(dataset_id), list[Obstacle](), list[Obstacle]()
    if not any(task.split == "train" for task in tasks):
        train.append(Obstacle(what="no tasks in split train", fix=f"idaq dataset split {quoted} --train TASKS"))
    if any(task.reference.behaviour is None for task in tasks):
        unknown = Obstacle(what="its rewards are not known", fix="import it again from a source that holds them")
        train.append(unknown)
        adapt.append(unknown)
    if not tests:
        adapt.append(Obstacle(what="no test tasks", fix=f"idaq dataset split {quoted} --test TASKS"))
    env = _env_options(tests or tasks)
    if any(task.reference.random is None for task in tests or tasks):
        how = f"--family {shlex.quote(family)}" if known or unseen else (env or ["--env ENV"])[0]
        adapt.append(Obstacle(what="no random reference", fix=f"idaq dataset reference {quoted} {how}"))
    if family == MIXED_FAMILIES:
        fix = f"idaq dataset subset {quoted} --tasks LIST --id NEW, of the tasks of one"
        adapt.append(Obstacle(what="tasks of several families", fix=fix))
    elif known or unseen:
        adapt += _untied(family, tests)
    elif env:
        fix = f"one system at a time: idaq adapt RUN {' '.join(env)}"
        adapt.append(Obstacle(what="no task family, which all test tasks at once take", fix=fix))
    else:
        adapt.append(Obstacle(what="no environment known", fix="idaq adapt RUN --env ENV"))
    return Uses(train=train, adapt=adapt, family=family if unseen else None)


def uses_of_opened(dataset: "Dataset") -> Uses:
    """What can be done with a dataset that is open, wherever it lies."""
    if dataset.manifest is None:
        return plain_uses(dataset.dataset_id)
    tasks = [task for task in dataset.all_tasks if isinstance(task, TaskRecord)]
    return uses(dataset.dataset_id, dataset.manifest.family, tasks)


def plain_uses(dataset_id: str) -> Uses:
    """What can be done with a Minari dataset of another maker, which does not say what its tasks are."""
    fix = f"idaq dataset import {shlex.quote(f'minari:{dataset_id}')} --id me/family/name-v0"
    return Uses(train=[], adapt=[Obstacle(what="it does not say what its tasks are", fix=fix)], family=None)


def _said(obstacles: Sequence[Obstacle], otherwise: str) -> str:
    return f"no: {'; '.join(map(str, obstacles))}" if obstacles else otherwise


def _env_options(tasks: Sequence[TaskRecord]) -> list[str]:
    """`--env` and `--env-arg` of the first task whose environment is known; empty where there is none."""
    env = next((task.env for task in tasks if task.env.id != UNKNOWN_ENV.id), None)
    if env is None:
        return []
    arguments = [f"{key}={json.dumps(value)}" for key, value in env.kwargs.items()]
    return [f"--env {shlex.quote(env.id)}", *(f"--env-arg {shlex.quote(argument)}" for argument in arguments)]


def _untied(family: str, tests: Sequence[TaskRecord]) -> Iterator[Obstacle]:
    """Test tasks that nothing says to be the family's of that index."""
    untied = [task.task_id for task in tests if task.reset_options != {"task": task.task_index}]
    if untied:
        what = f"{len(untied)} test tasks that are not tied to one of the family {family}: {', '.join(untied[:5])}"
        yield Obstacle(what=what, fix=f"idaq dataset import --family {shlex.quote(family)} --task-index LIST")
