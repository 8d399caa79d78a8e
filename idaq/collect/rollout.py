"""Behaviour policies in lock-step. Shapes: B episodes, T steps, D observation, A action."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from idaq.collect.policies import in_units_of, load_policy, told
from idaq.core.errors import CollectError
from idaq.core.seeds import generator
from idaq.core.types import Array, Episode
from idaq.format.recipe import Behaviour
from idaq.tasks import Family, LockstepEnv


@dataclass(frozen=True, kw_only=True)
class Noise:
    """All random numbers of B episodes, drawn from each episode's own seed: batching changes nothing."""

    gaussian: Array
    """(T, B, A)"""
    uniform: Array
    """(T, B, A) in [-1, 1)"""
    choice: Array
    """(T, B) in [0, 1)"""


def draw_noise(seeds: NDArray[np.uint64], steps: int, action_size: int) -> Noise:
    """Draw the noise of each episode from its own generator, always in the same order."""
    gaussian, uniform, choice = [], [], []
    for seed in seeds:
        rng = generator(int(seed))
        gaussian.append(rng.standard_normal((steps, action_size)))
        uniform.append(rng.uniform(-1, 1, (steps, action_size)))
        choice.append(rng.random(steps))
    return Noise(gaussian=np.stack(gaussian, 1), uniform=np.stack(uniform, 1), choice=np.stack(choice, 1))


def act(
    behaviour: Behaviour, family: Family, env: LockstepEnv, tasks: NDArray[np.int64], noise: Noise, step: int
) -> Array:
    """Actions (B, A) in [-1, 1] of a behaviour policy at time `step`. Raises CollectError, also PolicyError."""
    if behaviour.kind == "random":
        return noise.uniform[step]
    if behaviour.policy is not None and behaviour.weights is not None:
        policy = load_policy(family.name, behaviour.policy, behaviour.weights)
        return policy(told(family, env.privileged(), tasks), noise.gaussian[step], behaviour.noise)
    if family.controller is None:
        raise CollectError(
            f"family {family.name} has no scripted controller", hint='kind = "trained" or "random" in the recipe'
        )
    noisy = family.controller(env.privileged(), tasks) + behaviour.noise * noise.gaussian[step]
    scripted = np.minimum(np.maximum(noisy, -1), 1)  # np.clip takes twice as long for so few numbers
    if behaviour.kind == "scripted":
        return scripted
    return np.where((noise.choice[step] < behaviour.random_share)[:, None], noise.uniform[step], scripted)


def rollout(
    family: Family, behaviour: Behaviour, tasks: NDArray[np.int64], seeds: NDArray[np.uint64]
) -> tuple[list[Episode], NDArray[np.bool_], NDArray[np.int64]]:
    """Run B episodes in lock-step, or in several parts: those that stayed finite, whether each succeeded by the
    family's word, and which of the B they are.

    Episode b is a pure function of (family, behaviour, tasks[b], seeds[b]).
    """
    env, space = family.lockstep(), _action_space(family)
    episodes: list[Episode] = []
    successes, kept = list[bool](), list[int]()
    when = {task.task_index: "any-step" if task.success is None else task.success.when for task in family.tasks}
    for start in range(0, len(tasks), family.lockstep_width):
        part = slice(start, start + family.lockstep_width)
        columns, solved = _run(family, behaviour, env, space, tasks[part], seeds[part])
        for b, task in enumerate(tasks[part].tolist()):
            episode = _cut({name: column[b] for name, column in columns.items()})
            if _is_finite(episode):
                episodes.append(episode)
                successes.append(_solved(solved[b, : len(episode)], when[task]))
                kept.append(start + b)
    return episodes, np.array(successes, bool), np.array(kept, np.int64)


def _run(
    family: Family,
    behaviour: Behaviour,
    env: LockstepEnv,
    space: gym.spaces.Box,
    tasks: NDArray[np.int64],
    seeds: NDArray[np.uint64],
) -> tuple[dict[str, Array], NDArray[np.bool_]]:
    """Columns (B, T, ...), whatever follows an episode's end included, and success at each step (B, T)."""
    noise = draw_noise(seeds, family.horizon, int(np.prod(space.shape)))
    seen, actions, results = [env.reset(tasks, seeds)], [], []
    for step in range(family.horizon):
        unit = act(behaviour, family, env, tasks, noise, step)
        actions.append(in_units_of(space, unit))
        results.append(env.step(actions[-1]))
        seen.append(results[-1].observations)
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


def _action_space(family: Family) -> gym.spaces.Box:
    env = family.make()
    space = env.action_space
    env.close()
    if not isinstance(space, gym.spaces.Box):
        raise CollectError(f"family {family.name} has action space {space}; behaviours need a Box")
    return space


def _cut(columns: dict[str, Array]) -> Episode:
    """Drop what a lock-step env computed after the episode's end."""
    ended = np.flatnonzero(columns["terminated"] | columns["truncated"])
    length = int(ended[0]) + 1 if len(ended) else len(columns["rewards"])
    cut = {name: np.ascontiguousarray(c[: length + (name == "observations")]) for name, c in columns.items()}
    return Episode(**cut)  # type: ignore[arg-type]


def _is_finite(episode: Episode) -> bool:
    return all(np.isfinite(column).all() for column in (episode.observations, episode.actions, episode.rewards))
