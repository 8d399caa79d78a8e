"""Which episodes of a dataset: by task, split, behaviour and return, from the episode table alone. M episodes."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from idaq.core.errors import UsageError, unknown_name
from idaq.core.seeds import generator
from idaq.core.splits import split_names
from idaq.core.text import shorten
from idaq.core.types import Task
from idaq.format.reader import EpisodeTable

AnyTask = TypeVar("AnyTask", bound=Task)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Conditions that an episode must all meet; None asks nothing."""

    split: str | None = None
    """one split, or several joined by `+`"""
    tasks: tuple[int | str, ...] | None = None
    """by index or id"""
    behaviour: str | None = None
    min_return: float | None = None
    max_return: float | None = None
    quantiles: tuple[float, float] | None = None
    """(low, high) in [0, 1]: returns between these quantiles of all episodes of the same task, ends included"""


def select(table: EpisodeTable, tasks: Sequence[Task], selection: Selection) -> NDArray[np.bool_]:
    """(M,) which episodes meet the selection.

    Raises UnknownNameError for a split, task or behaviour that there is not, UsageError for quantiles out of order, for
    a split named twice, and for returns that are not known.
    """
    keep = np.ones(len(table), bool)
    asked = (selection.min_return, selection.max_return, selection.quantiles)
    if any(limit is not None for limit in asked) and np.isnan(table.total_reward).any():
        said = "episodes cannot be chosen by their return: the rewards of this dataset are not known"
        raise UsageError(said, hint="choose by tasks, split or behaviour, or import the data again with rewards")
    if selection.split is not None:
        keep &= np.isin(table.task_index, [task.task_index for task in tasks_of_splits(tasks, selection.split)])
    if selection.tasks is not None:
        keep &= np.isin(table.task_index, task_indices(tasks, selection.tasks))
    if selection.behaviour is not None:
        of_behaviour = table.behaviour == selection.behaviour
        if not of_behaviour.any():
            raise unknown_name("behaviour", selection.behaviour, np.unique(table.behaviour).tolist())
        keep &= of_behaviour
    if selection.min_return is not None:
        keep &= table.total_reward >= selection.min_return
    if selection.max_return is not None:
        keep &= table.total_reward <= selection.max_return
    if selection.quantiles is not None:
        keep &= _between(table, selection.quantiles)
    return keep


def tasks_of_splits(tasks: Sequence[AnyTask], split: str) -> tuple[AnyTask, ...]:
    """The tasks of a split, or of several joined by `+`. Raises UnknownNameError, or UsageError for one named twice."""
    names, known = split_names(split), {task.split for task in tasks}
    for name in names:
        if name not in known:
            raise unknown_name("split", name, known)
    return tuple(task for task in tasks if task.split in names)


def task_indices(tasks: Sequence[Task], names: Iterable[int | str]) -> list[int]:
    """The indices of tasks given by index or id. Raises UnknownNameError."""
    known: dict[int | str, int] = {task.task_id: task.task_index for task in tasks}
    known |= {task.task_index: task.task_index for task in tasks}
    found = []
    for name in names:
        if name not in known:
            raise unknown_name("task", str(name), [task.task_id for task in tasks])
        found.append(known[name])
    return found


def parse_tasks(text: str, tasks: Sequence[Task]) -> tuple[int, ...]:
    """Task indices from a list such as `0:10,12-19,task-031,40`: ranges of indices, ids and indices.

    A range takes the tasks that there are between its ends, the last excluded in `0:10`, included in `0-9`, which is an
    id where a task has that one. Raises UnknownNameError, or UsageError for a range without tasks.
    """
    found, ids = list[int](), {task.task_id for task in tasks}
    for part in map(str.strip, text.split(",")):
        asked = None if part in ids else task_range(part)
        if asked is None:
            found += task_indices(tasks, [int(part) if re.fullmatch(r"[0-9]{1,18}", part) else part])
            continue
        within = [task.task_index for task in tasks if task.task_index in asked]
        if not within:
            raise UsageError(f"no task has an index from {part}", hint="0:10 leaves out task 10, as 0-9 does")
        found += within
    return tuple(dict.fromkeys(found))


def task_range(part: str) -> range | None:
    """The indices of `0:10`, `0-9`, `:10`, or `10:`, which ends nowhere; None for other text."""
    if ends := re.fullmatch(r"([0-9]{0,18}):([0-9]{0,18})", part):
        return range(int(ends[1] or 0), int(ends[2]) if ends[2] else sys.maxsize)
    if ends := re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", part):
        return range(int(ends[1]), int(ends[2]) + 1)
    return None


def chosen_splits(tasks: Sequence[Task], splits: Mapping[str, str], test_tasks: int | None = None) -> dict[int, str]:
    """The split of each task that is asked for, by index: from lists as `parse_tasks` takes them, or so many tasks,
    drawn at random, for `test`.

    Raises UnknownNameError for a task that there is not, UsageError for one in two lists, for one in none where `train`
    is listed, and where no task would be left to learn from.
    """
    if test_tasks is not None:
        if splits or not 0 < test_tasks < len(tasks):
            said = f"--test-tasks {test_tasks} of {len(tasks)} tasks"
            raise UsageError(said, hint="1 or more, one less than all of them at most; without other splits")
        order = generator(0).permutation([task.task_index for task in tasks])[:test_tasks]
        return dict.fromkeys(sorted(order.tolist()), "test")
    chosen: dict[int, str] = {}
    for split, text in splits.items():
        for index in parse_tasks(text, tasks):
            if chosen.setdefault(index, split) != split:
                raise UsageError(f"task {index} would be in two splits, {chosen[index]} and {split}")
    left = [task.task_id for task in tasks if task.task_index not in chosen]
    if "train" in splits and left:
        hint = "name each task, or leave train out"
        raise UsageError(shorten(f"tasks are in no split: {', '.join(left)}"), hint=hint)
    return chosen


def _between(table: EpisodeTable, quantiles: tuple[float, float]) -> NDArray[np.bool_]:
    low, high = quantiles
    if not 0 <= low <= high <= 1:
        raise UsageError(f"quantiles {low:g} to {high:g}", hint="two numbers from 0 to 1, the smaller first")
    task, counts = np.unique_inverse(table.task_index).inverse_indices, np.unique_counts(table.task_index).counts
    ranked, first = table.total_reward[np.lexsort((table.total_reward, task))], counts.cumsum() - counts
    # as np.quantile(..., method="inverted_cdf") of each task by itself
    lowest, highest = (ranked[first + np.ceil(counts * q - 1).clip(0).astype(int)] for q in (low, high))
    return (table.total_reward >= lowest[task]) & (table.total_reward <= highest[task])
