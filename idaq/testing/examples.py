"""Small datasets whose numbers tell where they belong: for the suites, and for tests of your own.

from idaq.testing.examples import EXAMPLES

path = write_dataset(EXAMPLES["mixed"](), root, card="")
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import ArrayLike, NDArray

from idaq.core.types import FIXED_COLUMNS, MIXED_FAMILIES, Array, Episode, Success
from idaq.format.documents import About, EnvReference, References, ReturnStatistics, TaskRecord
from idaq.format.recipe import Behaviour, Recipe, Splits
from idaq.format.writer import DatasetSource, EpisodeEntry

LARGEST = float(2**24)
"""up to here float32 holds every integer"""
_ENV = EnvSpec(
    id="idaq/point-robot-v0",
    entry_point="idaq.tasks.point:PointRobotEnv",
    max_episode_steps=20,
    kwargs={"variant": "point-robot"},
)


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
EVEN = tuple(Plan(task=task, length=10, ends="truncated") for task in (0, 1, 2) for _ in range(8))
"""three tasks of 8 episodes, all of one length"""


def tag(task: ArrayLike, episode: ArrayLike, step: ArrayLike, part: ArrayLike) -> NDArray[np.int64]:
    """A number for each (task, episode, step, part): exact in float32, and no two alike."""
    task, episode, step, part = map(np.asarray, (task, episode, step, part))
    return ((task * 8 + episode) * 64 + step) * 16 + part


def task_of(rewards: Array) -> NDArray[np.int64]:
    """The task that a tagged reward was paid in, where its episode is one of the first 8."""
    return rewards.astype(np.int64) // (16 * 64 * 8)


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
    """A task, its reference measured on its own episodes."""
    returns = np.array([entry.episode.total_reward for entry in entries if entry.task_index == task])
    measured = ReturnStatistics(mean=float(returns.mean()), std=float(returns.std()), n=len(returns), how="added up")
    return TaskRecord(
        task_id=f"task-{task}",
        task_index=task,
        params={"goal": [float(task), 0.5], "speed": 2.0},
        split=split,
        success=Success(metric="m", op=">=", threshold=0.5, unit="m", when="any-step"),
        family="point-robot",
        env=EnvReference(id=_ENV.id, entry_point=str(_ENV.entry_point), kwargs=_ENV.kwargs, max_episode_steps=20),
        reset_options={"task": task},
        reference=References(random=replace(measured, mean=-1.0), behaviour=measured),
    )


def example_recipe(dataset_id: str = "idaq/examples/tagged-v0") -> Recipe:
    """A recipe of two behaviours, as far as datasets that were never collected have one."""
    return Recipe(
        id=dataset_id,
        family="point-robot",
        description="Every number tells where it belongs.",
        authors=["the idaq contributors"],
        license="MIT",
        seed=0,
        splits=Splits(seed=0, sizes={"train": 2, "test": 1}),
        behaviours=[
            Behaviour(name="expert", kind="scripted", quality="expert", episodes=4),
            Behaviour(name="random", kind="random", quality="random", episodes=4),
        ],
    )


def example_source(entries: Sequence[EpisodeEntry] | None = None, recipe: Recipe | None = None) -> DatasetSource:
    """What `write_dataset` takes, of tagged episodes: even tasks are for training, odd ones for testing."""
    entries = entries_of() if entries is None else entries
    indices = sorted({entry.task_index for entry in entries})
    return DatasetSource(
        recipe=example_recipe() if recipe is None else recipe,
        tasks=tuple(task_record(task, entries, ("train", "test")[task % 2]) for task in indices),
        entries=entries,
        observation_space=gym.spaces.Box(-LARGEST, LARGEST, (3,), np.float32),
        action_space=gym.spaces.Box(-LARGEST, LARGEST, (2,), np.float64),
        env_spec_json=_ENV.to_json(),
    )


def _one_behaviour() -> DatasetSource:
    return example_source([replace(entry, behaviour="expert") for entry in entries_of(EVEN[:2] + EVEN[8:11])])


def _unknown() -> DatasetSource:
    """Seeds, success, references, environment, authors and licence as imported data often has them: not at all."""
    known = entries_of()
    entries = [replace(e, seed=None, success=None) if n % 3 else e for n, e in enumerate(known)]
    source = example_source(entries, replace(example_recipe(), authors=[], license=None))
    tasks = tuple(
        replace(task, success=None, params={}, reference=replace(task.reference, random=None)) for task in source.tasks
    )
    return replace(source, tasks=tasks, env_spec_json=None)


def _pictures() -> DatasetSource:
    """Rows of two dimensions, in bytes, and rewards of float32."""
    entries = []
    for entry in entries_of():
        rows = len(entry.episode) + 1
        pixels = (np.arange(rows * 12).reshape(rows, 2, 6) * 7 % 251).astype(np.uint8)
        rewards = entry.episode.rewards.astype(np.float32)
        entries.append(replace(entry, episode=replace(entry.episode, observations=pixels, rewards=rewards)))
    return replace(example_source(entries), observation_space=gym.spaces.Box(0, 255, (2, 6), np.uint8))


def _rewritten(
    observations: gym.Space[Any],
    actions: gym.Space[Any],
    columns: Callable[[int, int], dict[str, Array]],
    about: dict[str, About] | None = None,
) -> DatasetSource:
    """The tagged episodes with other `columns` of their number and length, in other spaces."""
    entries = []
    for number, entry in enumerate(entries_of()):
        kept = {name: entry.episode.columns[name] for name in FIXED_COLUMNS}
        episode = Episode.from_columns(kept | columns(number, len(entry.episode)))
        entries.append(replace(entry, episode=episode))
    source = replace(example_source(entries), observation_space=observations, action_space=actions)
    return replace(source, about=about or {})


def _cycle(number: int, shape: tuple[int, ...], count: int, dtype: Any = np.int64, low: int = 0) -> Array:
    """Integers from `low` on, below `low + count`, that differ from row to row and from episode to episode."""
    steps = np.arange(math.prod(shape)).reshape(shape) * 7 + number * 3
    return (low + steps % count).astype(dtype)


def _discrete() -> DatasetSource:
    """A grid world's: counted observations and actions, optimal actions beside them, and learning histories."""
    source = _rewritten(
        gym.spaces.Discrete(81),
        gym.spaces.Discrete(5, start=-2),
        lambda n, t: {
            "observations": _cycle(n, (t + 1,), 81, np.uint8),
            "actions": _cycle(n, (t,), 5, low=-2),
            "expert_action": _cycle(n + 1, (t,), 5, np.int8, low=-2),
        },
        {"expert_action": About(meaning="what the optimal policy does")},
    )
    entries = [
        replace(e, behaviour="expert", history=n // 2 % 2, policy_step=10 * n) if e.task_index == 9 else e
        for n, e in enumerate(source.entries)
    ]
    return replace(source, entries=entries)


def _counted() -> DatasetSource:
    """Several counted numbers in observations, bits in actions."""
    return _rewritten(
        gym.spaces.MultiDiscrete(np.array([[3, 200], [9, 4]]), start=np.array([[-1, 0], [5, 0]])),
        gym.spaces.MultiBinary(3),
        lambda n, t: {
            "observations": _cycle(n, (t + 1, 2, 2), 3) + np.array([[-1, 0], [5, 0]]),
            "actions": _cycle(n, (t, 3), 2, np.int8),
        },
    )


def _dictionary() -> DatasetSource:
    """Nested dictionaries of pictures, numbers and a phase; columns of many kinds beside them, some with a unit."""
    cameras = gym.spaces.Dict({name: gym.spaces.Box(0, 255, (4, 5, 3), np.uint8) for name in ("front", "wrist-2")})
    spaces = {"camera": cameras, "phase": gym.spaces.Discrete(4), "state": gym.spaces.Box(-1e9, 1e9, (3,), np.float64)}
    nan = np.array([np.nan, np.inf])
    return _rewritten(
        gym.spaces.Dict(spaces),
        gym.spaces.Box(-LARGEST, LARGEST, (2,), np.float64),
        lambda n, t: {
            "observations/camera/front": _cycle(n, (t + 1, 4, 5, 3), 251, np.uint8),
            "observations/camera/wrist-2": _cycle(n + 5, (t + 1, 4, 5, 3), 253, np.uint8),
            "observations/phase": _cycle(n, (t + 1,), 4),
            "observations/state": tag(0, n, np.arange(t + 1)[:, None], [0, 1, 2]) / 8,
            "actions": entries_of()[n].episode.actions,
            "infos/contact/left": _cycle(n, (t + 1,), 2, bool),
            "infos/speed": np.resize(nan, t + 1).astype(np.float32),
            "log_prob": -_cycle(n, (t,), 9, np.float16),
        },
        {"infos/speed": About(unit="m/s", meaning="of the hand; NaN before it was measured")},
    )


def _compressed() -> DatasetSource:
    """Pictures of several chunks an episode, beside a contiguous column and a small compressed one."""
    spaces = {"camera": gym.spaces.Box(0, 255, (64, 64, 3), np.uint8), "state": gym.spaces.Box(-1e9, 1e9, (3,))}
    source = _rewritten(
        gym.spaces.Dict(spaces),
        gym.spaces.Box(-LARGEST, LARGEST, (2,), np.float64),
        lambda n, t: {
            "observations/camera": _cycle(n, (t + 1, 64, 64, 3), 251, np.uint8),
            "observations/state": tag(0, n, np.arange(t + 1)[:, None], [0, 1, 2]).astype(np.float32),
            "actions": entries_of()[n].episode.actions,
            "infos/mask": _cycle(n, (t, 5), 2, bool),
        },
    )
    return replace(source, recipe=replace(source.recipe, compress=["observations/camera", "infos/mask"]))


def _reward_free() -> DatasetSource:
    """Nobody knows what was paid."""
    entries = [replace(e, episode=replace(e.episode, rewards=np.zeros(len(e.episode)))) for e in entries_of()]
    source = example_source(entries)
    tasks = tuple(replace(task, reference=References(random=None, behaviour=None)) for task in source.tasks)
    return replace(source, tasks=tasks, about={"rewards": About(known=False)})


def _families() -> DatasetSource:
    """Tasks of two families with equal spaces, each known to its environment by another index than here."""
    source = example_source()
    other = {2: "point-robot-wind", 5: "point-robot", 9: "point-robot-wind"}
    tasks = tuple(
        replace(t, family=other[t.task_index], reset_options={"task": t.task_index + 10}) for t in source.tasks
    )
    return replace(source, tasks=tasks, recipe=replace(source.recipe, family=MIXED_FAMILIES))


EXAMPLES: dict[str, Callable[[], DatasetSource]] = {
    "one behaviour": _one_behaviour,
    "mixed": example_source,
    "unknown": _unknown,
    "pictures": _pictures,
    "discrete": _discrete,
    "counted": _counted,
    "dictionary": _dictionary,
    "compressed": _compressed,
    "reward-free": _reward_free,
    "families": _families,
}
"""by what is special: `mixed` has two behaviours, episodes of unequal length, and ends of all kinds"""
