"""Validation along a training: its agent adapts to tasks that are neither learned from nor reported on."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from idaq.adapt.adapt import adapt
from idaq.adapt.strategy import adaptation_plan
from idaq.core.errors import DatasetError, UsageError
from idaq.core.splits import split_names
from idaq.learn.algorithm import Agent
from idaq.learn.config import TrainConfig
from idaq.learn.run import TaskSet, task_set
from idaq.learn.validation import Validate
from idaq.loader import Dataset
from idaq.tasks import find_family

_ASIDE = 8
"""one of so many training tasks is proposed for validation"""


def validator(dataset: Dataset, config: TrainConfig, *, allow: Collection[str] = ()) -> Validate | None:
    """What `train` calls as `validate`: an agent -> mean return of one fresh episode on each validation task.

    The agent has adapted to each by the strategy and for the episodes of `config.validation`, with the settings of the
    dataset's recipe. The same seeds each time: agents of two moments meet the same episodes. None where no validation
    is asked for. Raises DatasetError for a dataset without such tasks, UsageError for tasks that are learned from,
    UnknownNameError for a strategy, and what `find_family` raises for a family that is not at hand.
    """
    asked = config.validation
    if not asked.every:
        return None
    tasks = task_set(dataset)
    _check_split(tasks, asked.split, config.split)
    find_family(tasks.family, allow).spaces()  # now, and not after the first steps, it is told what is not installed
    plan = adaptation_plan([asked.strategy], {"threads": config.threads}, tasks.adapt, allow=allow)
    protocol = replace(plan.config, episodes=asked.episodes, report_at=[asked.episodes], seeds=1, split=asked.split)
    plan = replace(plan, config=protocol)

    def validate(agent: Agent) -> float:
        adapted = adapt(agent, dataset, plan, allow=allow)
        return float(np.mean(adapted.results.strategies[asked.strategy].returns))

    return validate


def _check_split(tasks: TaskSet, split: str, training: str) -> None:
    splits, names = [task.split for task in tasks.tasks], split_names(split)
    name, there = tasks.dataset_id, ", ".join(f"{name} ({splits.count(name)} tasks)" for name in dict.fromkeys(splits))
    missing = [one for one in names if one not in splits]
    if missing:
        put = f"put some training tasks aside: idaq dataset relabel {name} NEW --split {missing[0]}="
        learned = split_names(training)
        aside = [str(task.task_index) for task in tasks.tasks if task.split in learned][::_ASIDE]
        raise DatasetError(
            f"{name} has no tasks in split {missing[0]!r} to validate on; it has {there}",
            hint=f"{put}{','.join(aside)}; or name {missing[0]} beside the others in the recipe's splits.sizes, and"
            " collect; or --set validation.split=NAME, one of those it has and does not learn from",
        )
    if set(names) & set(split_names(training)):
        left = [one for one in split_names(training) if one not in names]
        raise UsageError(
            f"a validation on split {split!r} is of tasks that are learned from: split is {training!r}",
            hint=f"--set split={'+'.join(left)}" if left else "--set validation.split=NAME, of tasks put aside",
        )
