"""Validation along a training: its agent adapts to tasks that are neither learned from nor reported on."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from idaq.adapt.adapt import adapt
from idaq.adapt.strategy import adaptation_plan
from idaq.core.errors import DatasetError
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
    is asked for. Raises DatasetError for a dataset without such tasks, UnknownNameError for a strategy, and
    what `find_family` raises for a family that is not at hand.
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
    splits = [task.split for task in tasks.tasks]
    if split in splits:
        return
    name, there = tasks.dataset_id, ", ".join(f"{name} ({splits.count(name)} tasks)" for name in dict.fromkeys(splits))
    put = f"put some training tasks aside: idaq dataset relabel {name} NEW --split {split}="
    aside = [str(task.task_index) for task in tasks.tasks if task.split == training][::_ASIDE]
    raise DatasetError(
        f"{name} has no tasks in split {split!r} to validate on; it has {there}",
        hint=f"{put}{','.join(aside)}; or name {split} beside the others in the recipe's splits.sizes, and collect;"
        " or --set validation.split=NAME, one of those it has",
    )
