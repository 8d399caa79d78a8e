"""Episodes of a behaviour policy in lock-step. Shapes: B episodes, T steps, D observation, A action."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idaq.collect.behaviours import Batch, draw_noise, make_policy
from idaq.core.errors import CollectError
from idaq.core.policy import Policy
from idaq.core.types import Array, Episode
from idaq.format.recipe import Behaviour
from idaq.tasks import Family, LockstepEnv, Spaces, StepBatch

_FLOATS, _BOOLEANS = (np.dtype(np.float32), np.dtype(np.float64)), (np.dtype(bool),)


@dataclass(frozen=True, kw_only=True)
class RolledOut:
    """What came of B episodes."""

    episodes: list[Episode]
    """those that stayed finite"""
    successes: NDArray[np.bool_]
    """whether each succeeded by the family's word"""
    kept: NDArray[np.int64]
    """which of the B they are"""
    clipped: int
    """actions of a policy from outside that lay outside the action space"""


def rollout(
    family: Family,
    behaviour: Behaviour,
    tasks: NDArray[np.int64],
    seeds: NDArray[np.uint64],
    spaces: Spaces | None = None,
) -> RolledOut:
    """Run B episodes in lock-step, or in several parts.

    Episode b is a pure function of (family, behaviour, tasks[b], seeds[b]). Raises CollectError for an environment
    that gives other arrays than it states, also PolicyError.
    """
    env, spaces = family.lockstep(), spaces or family.spaces()
    episodes: list[Episode] = []
    successes, kept, clipped = list[bool](), list[int](), 0
    when = {task.task_index: "any-step" if task.success is None else task.success.when for task in family.tasks}
    for start in range(0, len(tasks), family.lockstep_width):
        part = slice(start, start + family.lockstep_width)
        batch = _batch(family, spaces, behaviour, tasks[part], seeds[part])
        policy = make_policy(batch)
        columns, solved = _run(batch, env, policy)
        clipped += policy.clipped
        for b, task in enumerate(tasks[part].tolist()):
            episode = _cut({name: column[b] for name, column in columns.items()})
            if _is_finite(episode):
                episodes.append(episode)
                successes.append(_solved(solved[b, : len(episode)], when[task]))
                kept.append(start + b)
    return RolledOut(
        episodes=episodes, successes=np.array(successes, bool), kept=np.array(kept, np.int64), clipped=clipped
    )


def _batch(
    family: Family, spaces: Spaces, behaviour: Behaviour, tasks: NDArray[np.int64], seeds: NDArray[np.uint64]
) -> Batch:
    noise = draw_noise(seeds, family.horizon, spaces.actions.shape[0])
    return Batch(family=family, spaces=spaces, behaviour=behaviour, tasks=tasks, seeds=seeds, noise=noise)


def _run(batch: Batch, env: LockstepEnv, policy: Policy) -> tuple[dict[str, Array], NDArray[np.bool_]]:
    """Columns (B, T, ...), whatever follows an episode's end included, and success at each step (B, T)."""
    policy.reset()
    seen, actions, results = [env.reset(batch.tasks, batch.seeds)], [], []
    view, ended = env.controller_view(), np.zeros(len(batch.tasks), bool)
    for _ in range(batch.family.horizon):
        actions.append(policy.act(view))
        results.append(env.step(actions[-1]))
        result, view = results[-1], env.controller_view()
        seen.append(result.observations)
        ended = ended | result.terminated | result.truncated
        policy.observe(actions[-1], result.rewards, view, ended)
    _check_arrays(batch, seen, results)
    columns = {
        "observations": _by_episode(seen),
        "actions": _by_episode(actions),
        "rewards": _by_episode([r.rewards for r in results]),
        "terminated": _by_episode([r.terminated for r in results]),
        "truncated": _by_episode([r.truncated for r in results]),
    }
    return columns, _by_episode([r.success for r in results])


def _by_episode(steps: list[Array]) -> Array:
    """T arrays (B, ...) as one, (B, T, ...)."""
    return np.array(steps).swapaxes(0, 1)


def _solved(steps: NDArray[np.bool_], when: str) -> bool:
    return bool(steps[-1] if when == "last-step" else steps.any())


def _check_arrays(batch: Batch, seen: list[Array], results: list[StepBatch]) -> None:
    """Raise CollectError, naming the step, for arrays other than the environment states."""
    space, size = batch.spaces.observations, len(batch.tasks)
    rows: list[tuple[str, list[Array], tuple[int, ...], tuple[Any, ...]]] = [
        ("observations", seen, (size, *space.shape), (space.dtype,)),
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


def _cut(columns: dict[str, Array]) -> Episode:
    """Drop what a lock-step env computed after the episode's end."""
    ended = np.flatnonzero(columns["terminated"] | columns["truncated"])
    length = int(ended[0]) + 1 if len(ended) else len(columns["rewards"])
    cut = {name: np.ascontiguousarray(c[: length + (name == "observations")]) for name, c in columns.items()}
    return Episode(**cut)  # type: ignore[arg-type]


def _is_finite(episode: Episode) -> bool:
    return all(np.isfinite(column).all() for column in (episode.observations, episode.actions, episode.rewards))
