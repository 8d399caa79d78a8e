"""A dataset made by hand, in which every number tells where it belongs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.core.types import Array, Episode, Success
from idaq.format.documents import EnvReference, References, ReturnStatistics, TaskRecord
from idaq.format.recipe import Recipe
from idaq.format.writer import DatasetSource, EpisodeEntry
from idaq.tasks import get_family
from tests.recipes import small_recipe

LARGEST = float(2**24)
"""up to here float32 holds every integer"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One episode to make: its task, length, and how it ends."""

    task: int
    length: int
    ends: str


PLANS = tuple(
    Plan(task=task, length=length, ends=ends)
    for task, length, ends in [
        (2, 1, "terminated"),
        (2, 7, "truncated"),
        (2, 16, "open"),
        (5, 3, "terminated"),
        (9, 2, "truncated"),
        (9, 33, "terminated"),
        (9, 1, "open"),
        (9, 12, "both"),
    ]
)


def tag(task: Array | int, episode: Array | int, step: Array | int, part: Array | int) -> NDArray[np.int64]:
    """A number for each (task, episode, step, part): exact in float32, and no two alike."""
    return ((np.asarray(task) * 8 + episode) * 64 + step) * 16 + np.asarray(part)


def tagged_episode(plan: Plan, number: int) -> Episode:
    """Observations hold parts 0-2, actions parts 4-5, the reward part 8."""
    steps = np.arange(plan.length + 1)[:, None]
    terminated, truncated = np.zeros(plan.length, bool), np.zeros(plan.length, bool)
    terminated[-1] = plan.ends in ("terminated", "both")
    truncated[-1] = plan.ends in ("truncated", "both")
    return Episode(
        observations=tag(plan.task, number, steps, [0, 1, 2]).astype(np.float32),
        actions=tag(plan.task, number, steps[:-1], [4, 5]).astype(np.float64),
        rewards=tag(plan.task, number, steps[:-1, 0], 8).astype(np.float64),
        terminated=terminated,
        truncated=truncated,
    )


def entries_of(plans: Sequence[Plan] = PLANS) -> list[EpisodeEntry]:
    """Behaviours alternate; seeds need all 64 bits."""
    return [
        EpisodeEntry(
            episode=tagged_episode(plan, number),
            task_index=plan.task,
            behaviour=("expert", "random")[number % 2],
            seed=2**64 - 1 - number,
            success=plan.ends == "terminated",
        )
        for number, plan in enumerate(plans)
    ]


def task_record(task: int, entries: Sequence[EpisodeEntry], split: str) -> TaskRecord:
    returns = np.array([entry.episode.total_reward for entry in entries if entry.task_index == task])
    spec = get_family("point-robot").env_spec
    measured = ReturnStatistics(mean=float(returns.mean()), std=float(returns.std()), n=len(returns), how="added up")
    return TaskRecord(
        task_id=f"task-{task}",
        task_index=task,
        params={"goal": [float(task), 0.5], "speed": 2.0},
        split=split,
        success=Success(metric="m", op=">=", threshold=0.5, unit="m", when="any-step"),
        env=EnvReference(id=spec.id, entry_point=str(spec.entry_point), kwargs=spec.kwargs, max_episode_steps=20),
        reset_options={"task": task},
        reference=References(random=replace(measured, mean=-1.0), behaviour=measured),
    )


def made_recipe(*settings: str) -> Recipe:
    return small_recipe("point-robot", "mixed", "id=idaq/made/tagged-v0", *settings)


def made_source(entries: Sequence[EpisodeEntry] | None = None) -> DatasetSource:
    entries = entries_of() if entries is None else entries
    indices = sorted({entry.task_index for entry in entries})
    return DatasetSource(
        recipe=made_recipe(),
        tasks=tuple(task_record(task, entries, ("train", "test")[task % 2]) for task in indices),
        entries=entries,
        observation_space=gym.spaces.Box(-LARGEST, LARGEST, (3,), np.float32),
        action_space=gym.spaces.Box(-LARGEST, LARGEST, (2,), np.float64),
        env_spec_json=get_family("point-robot").env_spec.to_json(),
    )


def left_in(root: Path) -> list[Path]:
    """All there is below a root but the locks, and the folder in which writers work."""
    return [path for path in root.rglob("*") if path.suffix != ".lock" and path.name not in (".idaq", "building")]
