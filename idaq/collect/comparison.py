"""Is one policy that is told the task a fair stand-in for one policy a task? Returns and actions, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idaq.collect.policies import Policy, play
from idaq.core.errors import PolicyError
from idaq.format.policies import read_policy, read_record
from idaq.tasks import Family

EPISODES = 10


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a policy does on one task, drawing from its own Gaussian."""

    mean: float
    """return"""
    std: float
    magnitude: float
    """mean |a|, actions in [-1, 1]"""
    spread: float
    """mean over dimensions of the standard deviation of a"""
    saturated: float
    """share of |a| > 0.95"""
    change: float
    """mean |a_t+1 - a_t|"""


def facts(family: Family, policy: Policy, task: int, episodes: int = EPISODES) -> Facts:
    """Play a policy on a task, from the same start states for every policy."""
    seeds = np.arange(episodes, dtype=np.uint64)
    played = play(family, policy, np.full(episodes, task), seeds, 1.0)
    actions = played.actions[played.alive]
    both = played.alive[:, 1:, None] & np.ones(actions.shape[-1], bool)
    return Facts(
        mean=float(played.returns.mean()),
        std=float(played.returns.std()),
        magnitude=float(np.abs(actions).mean()),
        spread=float(actions.std(0).mean()),
        saturated=float((np.abs(actions) > 0.95).mean()),
        change=float(np.abs(np.diff(played.actions, axis=1))[both].mean()),
    )


def compare(family: Family, conditioned: Path, singles: Sequence[Path], snapshot: str) -> list[tuple[int, str, Facts]]:
    """(task, who, facts): the conditioned policy's snapshot and the single one's, for the task of each of `singles`.

    Raises PolicyError for a training that is not of one task of this family.
    """
    shared, rows = Policy(read_policy(conditioned, snapshot)), []
    for folder in singles:
        record = read_record(folder)
        if record.family != family.name or len(record.config.tasks) != 1:
            raise PolicyError(
                f"{folder} is a training of {record.family} on tasks {record.config.tasks or 'all'}",
                hint=f"idaq behavior train {family.name} --set tasks=[7] --out {folder}",
            )
        (task,) = record.config.tasks
        rows.append((task, "conditioned", facts(family, shared, task)))
        rows.append((task, "single", facts(family, Policy(read_policy(folder, snapshot)), task)))
    return rows
