"""Is one policy conditioned on the task a fair stand-in for one policy a task? Returns and actions, side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from idaq.collect.policies import TrainedPolicy, open_policy, play
from idaq.collect.policy_record import ComparedTask, Comparison, PolicyStatistics, read_record
from idaq.core.errors import PolicyError
from idaq.tasks import Family

EPISODES = 10


def measure(family: Family, policy: TrainedPolicy, task: int) -> PolicyStatistics:
    """Play a policy on a task, from the same start states for every policy."""
    seeds = np.arange(EPISODES, dtype=np.uint64)
    played = play(family, policy, np.full(EPISODES, task), seeds, 1.0)
    actions = played.actions[played.alive]
    both = played.alive[:, 1:, None] & np.ones(actions.shape[-1], bool)
    return PolicyStatistics(
        mean=float(played.returns.mean()),
        std=float(played.returns.std()),
        magnitude=float(np.abs(actions).mean()),
        spread=float(actions.std(0).mean()),
        saturated=float((np.abs(actions) > 0.95).mean()),
        change=float(np.abs(np.diff(played.actions, axis=1))[both].mean()),
    )


def compare(family: Family, conditioned: Path, singles: Sequence[Path], snapshot: str) -> Comparison:
    """The conditioned policy's snapshot and the single one's, on the task of each of `singles`.

    Raises PolicyError for a training that is not of one task of this family.
    """
    shared = open_policy(conditioned, snapshot)
    tasks, commands = list[ComparedTask](), list[str]()
    for folder in singles:
        record = read_record(folder)
        if record.family != family.name or len(record.config.tasks) != 1:
            raise PolicyError(
                f"{folder} is a training of {record.family} on tasks {record.config.tasks or 'all'}",
                hint=f"idaq behavior train {family.name} --set tasks=[7] --out {folder}",
            )
        (task,) = record.config.tasks
        alone = open_policy(folder, snapshot)
        tasks.append(
            ComparedTask(task=task, conditioned=measure(family, shared, task), single=measure(family, alone, task))
        )
        commands.append(record.command)
    return Comparison(family=family.name, snapshot=snapshot, episodes=EPISODES, tasks=tasks, commands=commands)
