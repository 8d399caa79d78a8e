"""Episodes of a behaviour policy in lock-step. Shapes: B episodes, or histories of E episodes each; T steps."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.collect.actions import bounds
from idaq.collect.behaviours import Actions, Batch, GuardedPolicy, StatelessPolicy, expert_actions, make_policy
from idaq.core.errors import CollectError
from idaq.core.types import (
    ACTIONS,
    REWARDS,
    TERMINATIONS,
    TRUNCATIONS,
    Array,
    Episode,
    Success,
    is_observation,
    leaves_of,
)
from idaq.format.gym_spaces import leaf_spaces
from idaq.format.layout import is_extra
from idaq.format.recipe import Behaviour
from idaq.tasks import Family, LockstepEnv, Spaces, StepBatch

EXPERT_ACTION = "expert_action"
_FLOATS, _BOOLEANS = (np.dtype(np.float32), np.dtype(np.float64)), (np.dtype(bool),)


@dataclass(frozen=True, kw_only=True)
class RolledOut:
    """What came of B episodes, or of B histories of E episodes, one history after the other."""

    episodes: list[Episode]
    """those that stayed finite"""
    successes: NDArray[np.bool_]
    """whether each succeeded by the family's word"""
    kept: NDArray[np.int64]
    """which of all they are"""
    before: NDArray[np.int64]
    """steps of its history before each"""
    clipped: int
    """actions of a policy from outside that lay outside the action space"""


def rollout(
    family: Family,
    behaviour: Behaviour,
    tasks: NDArray[np.int64],
    seeds: NDArray[np.uint64],
    spaces: Spaces | None = None,
    *,
    expert: bool = False,
) -> RolledOut:
    """Run B episodes in lock-step, or in several parts; of a behaviour that learns, B histories: seeds (B, E).

    Episode b is a pure function of (family, behaviour, tasks[b], seeds[b]), so is history b. `expert` adds the column
    `expert_action`: what the family's controller does in each state. Raises CollectError for an environment that gives
    other arrays than it states, also PolicyError.
    """
    env, spaces = family.lockstep(), spaces or family.spaces()
    seeds = seeds.reshape(len(tasks), -1)
    found, clipped = list[_Found](), 0
    for start in range(0, len(tasks), family.lockstep_width):
        part = slice(start, start + family.lockstep_width)
        batch = Batch(family=family, spaces=spaces, behaviour=behaviour, tasks=tasks[part], seeds=seeds[part])
        policy = make_policy(batch)
        adviser = expert_actions(family, spaces, batch.tasks) if expert else None
        lengths = np.zeros(len(batch.tasks), np.int64)
        for number in range(seeds.shape[1]):
            for b, (episode, success) in enumerate(run_batch(batch, env, policy, adviser, number)):
                if _is_finite(episode):
                    _check_values(batch, episode)
                    place = (start + b) * seeds.shape[1] + number
                    found.append(_Found(place, episode, success, int(lengths[b])))
                lengths[b] += len(episode)
        clipped += policy.clipped
    found.sort(key=lambda one: one.place)
    return RolledOut(
        episodes=[one.episode for one in found],
        successes=np.array([one.success for one in found], bool),
        kept=np.array([one.place for one in found], np.int64),
        before=np.array([one.before for one in found], np.int64),
        clipped=clipped,
    )


class _Found(NamedTuple):
    """A finite episode: its place among all, whether it succeeded, steps of its history before it."""

    place: int
    episode: Episode
    success: bool
    before: int


def run_batch(
    batch: Batch, env: LockstepEnv, policy: StatelessPolicy | GuardedPolicy, adviser: Actions | None, number: int
) -> Iterator[tuple[Episode, bool]]:
    """The B episodes of that number, each to its own end, and whether it succeeded."""
    seen, actions, advised, said, results = [leaves_of(env.reset(batch.tasks, batch.seeds[:, number]))], [], [], [], []
    policy.reset()
    view, ended = env.controller_view(), np.zeros(len(batch.tasks), bool)
    for step in range(batch.family.horizon):
        advised += [] if adviser is None else [adviser(view, step)]
        actions.append(policy.act(view))
        said.append(policy.columns())
        results.append(env.step(actions[-1]))
        result, view = results[-1], env.controller_view()
        seen.append(leaves_of(result.observations))
        ended = ended | result.terminated | result.truncated
        policy.observe(actions[-1], result.rewards, view, ended)
    _check_arrays(batch, seen, results)
    columns = {
        **{name: _by_episode([leaves[name] for leaves in seen]) for name in seen[0]},
        ACTIONS: _by_episode(actions),
        REWARDS: _by_episode([r.rewards for r in results]),
        TERMINATIONS: _by_episode([r.terminated for r in results]),
        TRUNCATIONS: _by_episode([r.truncated for r in results]),
        **{f"infos/{name}": _by_episode([r.infos[name] for r in results]) for name in batch.family.infos},
        **({EXPERT_ACTION: _by_episode(advised)} if advised else {}),
    }
    _check_said(batch, said, columns)
    columns |= {name: _by_episode([step[name] for step in said]) for name in said[0]}
    solved, when = (
        _by_episode([r.success for r in results]),
        {task.task_index: task.success for task in batch.family.tasks},
    )
    for b, task in enumerate(batch.tasks.tolist()):
        episode = _cut({name: column[b] for name, column in columns.items()})
        yield episode, _succeeded(solved[b, : len(episode)], when[task])


def _by_episode(steps: list[Array]) -> Array:
    """T arrays (B, ...) as one, (B, T, ...)."""
    return np.array(steps).swapaxes(0, 1)


def _succeeded(steps: NDArray[np.bool_], success: Success | None) -> bool:
    return bool(steps[-1] if success is not None and success.when == "last-step" else steps.any())


def _check_arrays(batch: Batch, seen: list[dict[str, Array]], results: list[StepBatch]) -> None:
    """Raise CollectError, naming the step, for arrays other than the environment states."""
    size = len(batch.tasks)
    stated = leaf_spaces(batch.spaces.observations)
    if list(seen[0]) != list(stated):
        said = f"the environment of {batch.family.name} gave {', '.join(seen[0])}"
        raise CollectError(f"{said}; {', '.join(stated)} were expected, as its observation space states")
    rows: list[tuple[str, list[Array], tuple[int, ...], tuple[Any, ...]]] = [
        *(_stated(name, space, [leaves[name] for leaves in seen], size) for name, space in stated.items()),
        ("rewards", [r.rewards for r in results], (size,), _FLOATS),
        ("terminated", [r.terminated for r in results], (size,), _BOOLEANS),
        ("truncated", [r.truncated for r in results], (size,), _BOOLEANS),
        ("success", [r.success for r in results], (size,), _BOOLEANS),
    ]
    for name, steps, shape, dtypes in rows:
        for step, array in enumerate(steps):
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype not in dtypes:
                got = np.asarray(array)
                raise CollectError(
                    f"the environment of {batch.family.name} gave {name} of {got.dtype} {got.shape} at step {step};"
                    f" {dtypes[0]} {shape} was expected",
                    hint="reset and step must give the dtype and shape that the observation space states",
                )


def _stated(
    name: str, space: gym.Space[Any], steps: list[Array], size: int
) -> tuple[str, list[Array], tuple[int, ...], tuple[Any, ...]]:
    shape = space.shape
    assert shape is not None
    return name, steps, (size, *shape), (space.dtype,)


def _check_said(batch: Batch, said: list[Mapping[str, Array]], others: Collection[str]) -> None:
    """Raise CollectError where a policy says other things at one step than at the first, not of every episode, or what
    the episode has from elsewhere."""
    whose = f"of behaviour {batch.behaviour.name!r}"
    if taken := sorted(said[0].keys() & set(others)):
        raise CollectError(f"{batch.behaviour.policy} {whose} gave the columns {taken}, which the episode has already")
    kinds = {name: (array.dtype, array.shape[1:]) for name, array in said[0].items()}
    for step, columns in enumerate(said):
        told = {name: (array.dtype, array.shape[1:]) for name, array in columns.items()}
        if told != kinds or any(array.shape[:1] != (len(batch.tasks),) for array in columns.values()):
            shapes = {name: f"{array.dtype} {array.shape}" for name, array in columns.items()}
            raise CollectError(
                f"{batch.behaviour.policy} gave the columns {shapes} at step {step} {whose}; those of the first step"
                f" and one row for each of {len(batch.tasks)} episodes were expected"
            )


def _check_values(batch: Batch, episode: Episode) -> None:
    """Raise CollectError for a number of a discrete observation that its space does not have."""
    seen = leaves_of(episode.observations)
    for name, space in leaf_spaces(batch.spaces.observations).items():
        if isinstance(space, gym.spaces.Box):
            continue
        low, high = bounds(space)
        if not ((seen[name] >= low) & (seen[name] <= high)).all():
            raise CollectError(f"the environment of {batch.family.name} gave {name} outside its space, {space}")


def _cut(columns: Mapping[str, Array]) -> Episode:
    """Drop what a lock-step env computed after the episode's end."""
    ended = np.flatnonzero(columns[TERMINATIONS] | columns[TRUNCATIONS])
    length = int(ended[0]) + 1 if len(ended) else len(columns[REWARDS])
    return Episode.from_columns(
        {name: np.ascontiguousarray(c[: length + is_observation(name)]) for name, c in columns.items()}
    )


def _is_finite(episode: Episode) -> bool:
    """Whether the simulation stayed stable. Extra columns may hold NaN and infinity, as a log-probability does."""
    return all(np.isfinite(column).all() for name, column in episode.columns.items() if not is_extra(name))
