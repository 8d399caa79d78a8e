"""Measure, in simulation, what the policies of the training tasks earn on each other's tasks.

Shapes: H training tasks, M beliefs of the prior, K episodes of each pair.
"""

import numpy as np
from numpy.typing import NDArray

from idaq.adapt.lockstep import Rollouts
from idaq.core.errors import PluginError
from idaq.core.seeds import episode_seed, generator
from idaq.core.types import Advance, ignore_progress
from idaq.learn.algorithm import Agent, Prior
from idaq.learn.cross_returns import CrossReturns
from idaq.tasks import Family

_SEED = 0
"""of the tasks drawn and of the episodes: agents of several training seeds are measured alike"""
_APART = 2_000_000
"""episode numbers from here on: no adaptation episode has the same seed"""


def tasks_to_measure(prior: Prior, tasks: int | None) -> NDArray[np.int64]:
    """So many of the training tasks, in the order of a fixed draw; all of them for None."""
    return generator(_SEED).permutation(prior.task_indices)[:tasks]


def episodes_of_each(family: Family, episodes: int) -> int:
    """K: one where the family is deterministic, as any other would be the same."""
    return 1 if family.deterministic else episodes


def already_measured(prior: Prior, family: Family, tasks: int | None, episodes: int) -> CrossReturns | None:
    """What `measure_cross_returns` would give, where the prior has it: of more tasks, the first are enough."""
    there, asked = prior.cross_returns, tasks_to_measure(prior, tasks)
    if there is None or there.returns.shape[-1] != episodes_of_each(family, episodes):
        return None
    if len(there.tasks) == len(asked):
        return there if np.array_equal(there.tasks, asked) else None
    first = CrossReturns(tasks=there.tasks[: len(asked)], returns=there.returns[: len(asked)])
    return first if np.array_equal(first.tasks, asked) else None


def measure_cross_returns(
    agent: Agent,
    prior: Prior,
    family: Family,
    tasks: int | None = None,
    episodes: int = 2,
    progress: Advance = ignore_progress,
) -> CrossReturns:
    """Play the policy under every belief of the prior on `tasks` training tasks, `episodes` times; all for None.

    `progress` counts episodes: H * M * K. Raises PluginError for returns that are not finite.
    """
    chosen, beliefs = tasks_to_measure(prior, tasks), prior.beliefs
    repeats, rollouts = episodes_of_each(family, episodes), Rollouts(family, agent.spec.view)
    returns = np.zeros((len(chosen), len(beliefs), repeats))
    for row, task in enumerate(chosen.tolist()):
        for repeat in range(repeats):
            numbers = _APART + repeat * len(beliefs) + np.arange(len(beliefs))
            seeds = np.array([episode_seed(_SEED, task, 0, int(number)) for number in numbers], np.uint64)
            policy = agent.policy(beliefs)
            batch = rollouts.run(np.full(len(beliefs), task), seeds, policy, "the policy of a training task")
            returns[row, :, repeat] = batch.returns
            progress(len(beliefs))
    if not np.isfinite(returns).all():
        raise PluginError(f"family {family.name} gave returns that are not finite")
    return CrossReturns(tasks=chosen, returns=returns)
