"""Records demonstrations on a system that the user names: each episode is durable when it ends.

    from idaq.collect.record import record

    record("heavy", env="my_envs:pendulum", params={"mass": 2.0}, policy="my_envs:swing_up", task="heavy", episodes=20)

Episode n has a seed of its own, so that a recording which is resumed is the one that would have been.
"""

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np

from idaq.collect.actions import bounds, is_counted
from idaq.collect.keyboard import Keyboard, require_terminal, single_keys
from idaq.collect.own_env import OwnEnv, own_env
from idaq.collect.reference import UniformActions, short_seed
from idaq.core.config import from_mapping
from idaq.core.errors import PluginError, UsageError
from idaq.core.machine import has_display
from idaq.core.outside import raised_as
from idaq.core.registry import is_reference, load_reference
from idaq.core.types import Advance, Array, TaskParams, ignore_progress
from idaq.format.importing import slug
from idaq.format.recording import MOST_EPISODES, Recording, recording_folder, space_text
from idaq.tasks.systems import Acts, Env, make_env, run_episode

RANDOM, HUMAN = "random", "human"
PolicyOf = Callable[[int], Acts]
"""the policy of an episode, by its seed"""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a recording came to."""

    path: Path
    task: str
    episodes: int
    """that the folder holds"""
    new: int
    """of them, recorded now"""
    clipped: int
    """actions recorded now that lay outside the action space"""


class CheckedActions:
    """A policy from outside, its actions brought to the dtype and into the bounds of the action space."""

    def __init__(self, policy: Acts, space: gym.Space[Any]) -> None:
        self._policy, self._space = policy, space
        self._low, self._high = bounds(space)
        self.clipped = 0
        """actions that lay outside"""

    def reset(self) -> None:
        """Start an episode."""
        getattr(self._policy, "reset", lambda: None)()

    def act(self, observation: Any, /) -> Array:
        """An action (...). Raises PluginError for what is none: a choice that there is not is not clipped to one."""
        given = np.asarray(self._policy.act(observation))
        if given.shape != self._space.shape or given.dtype.kind not in "biuf" or not np.isfinite(given).all():
            raise PluginError(f"the policy gave {given!r:.100}, no action of shape {self._space.shape}")
        inside = np.clip(given, self._low, self._high)
        outside = bool((inside != given).any())
        if is_counted(self._space) and (outside or (given != np.floor(given)).any()):
            raise PluginError(f"the policy chose {given!r:.100}, which is none of {self._space}")
        self.clipped += outside
        return inside.astype(self._space.dtype)

    def observe(self, *step: Any) -> None:
        """Tell the policy what came of its action, where it has a memory."""
        getattr(self._policy, "observe", lambda *_: None)(*step)


def record(
    out: str | Path,
    *,
    env: str,
    policy: str,
    task: str,
    episodes: int,
    settings: Mapping[str, Any] | None = None,
    params: TaskParams | None = None,
    seed: int = 0,
    max_steps: int | None = None,
    behaviour: str | None = None,
    progress: Advance = ignore_progress,
) -> Recorded:
    """Record episodes 0 to `episodes` - 1 into a folder, those that it has not yet; `progress` counts them.

    `policy` is `random` (uniform actions), `human` (keys of the terminal) or `package.module:thing`: a function of an
    observation, or what has `act`. The environment gets `settings` and the task's `params` as keyword arguments. Raises
    UsageError for what cannot be named so, PluginError for code from outside that fails, CollectError for a folder of
    another recording or that another recorder writes, NonFiniteError for NaN or infinity.
    """
    if not 1 <= episodes <= MOST_EPISODES:
        raise UsageError(f"{episodes} episodes cannot be recorded", hint=f"1 to {MOST_EPISODES} of a task")
    if policy == HUMAN:
        require_terminal()
    known = own_env(env, settings or {}, params)
    document = _document(known, task, dict(params or {}), policy, behaviour, seed, max_steps)
    system = known.make(document.params) if policy != HUMAN else _drawn(env, {**(settings or {}), **document.params})
    try:
        policy_of, keys = _policy(policy, system), single_keys() if policy == HUMAN else nullcontext()
        with keys, recording_folder(Path(out).expanduser()) as folder:
            folder.start(document)
            there = set(folder.numbers())
            progress(len(there & set(range(episodes))))
            clipped, new = 0, 0
            for number in sorted(set(range(episodes)) - there):
                mine = short_seed(seed, 0, 0, number)
                acting = CheckedActions(policy_of(mine), known.action_space)
                with raised_as(PluginError, f"episode {number} of {task}"):
                    episode = run_episode(system, acting, seed=mine, max_steps=max_steps)
                folder.write(number, episode, seed=mine, success=episode.success, clipped=acting.clipped)
                clipped, new = clipped + acting.clipped, new + 1
                progress(1)
            count = len(folder.numbers())
    finally:
        system.close()
    return Recorded(path=folder.path, task=task, episodes=count, new=new, clipped=clipped)


def _document(
    env: OwnEnv, task: str, params: TaskParams, policy: str, behaviour: str | None, seed: int, max_steps: int | None
) -> Recording:
    if task != slug(task):
        raise UsageError(f"--task {task!r} is no task id", hint=f"--task {slug(task)}")
    stated = {
        "task": task,
        "params": params,
        "env": env.reference(params),
        "env_spec": env.spec_json,
        "observation_space": space_text(env.observation_space),
        "action_space": space_text(env.action_space),
        "behaviour": behaviour or slug(policy.rpartition(":")[2]),
        "policy": policy,
        "seed": seed,
        "max_steps": max_steps,
    }
    return from_mapping(Recording, stated, where=f"the recording of {task}")


def _policy(name: str, env: Env) -> PolicyOf:
    """The policy of each episode. Raises UsageError or PluginError for a name that leads to none."""
    if name == RANDOM:
        return lambda seed: UniformActions(env.action_space, seed)
    if name == HUMAN:
        keyboard = Keyboard(env)
        return lambda _seed: keyboard
    if not is_reference(name):
        raise UsageError(f"--policy {name!r} is none", hint=f"{RANDOM}, {HUMAN} or package.module:thing")
    acting = _acting(name)
    return lambda _seed: acting


def _acting(name: str) -> Acts:
    thing: Any = load_reference(name)
    with raised_as(PluginError, f"making {name}"):
        made = thing() if isinstance(thing, type) else thing
    if isinstance(made, Acts):
        return made
    if not callable(made):
        raise PluginError(f"{name} is a {type(made).__name__}: a function of an observation is needed, or what has act")
    return _Function(cast(Callable[[Array], Any], made))


class _Function:
    """A function of an observation, as a policy."""

    def __init__(self, function: Callable[[Array], Any]) -> None:
        self._function = function

    def act(self, observation: Array, /) -> Array:
        return self._function(observation)


def _drawn(name: str, given: Mapping[str, Any]) -> Env:
    """The environment, in a window where there is a display and it can draw itself; a warning says where not."""
    plain = make_env(name, given)
    can_draw = "human" in (plain.metadata.get("render_modes") or [])
    if can_draw and has_display():
        plain.close()
        return make_env(name, given, render_mode="human")
    why = "this session has no display (DISPLAY is not set)" if can_draw else "it has no render mode human"
    warnings.warn(f"{name} is not drawn: {why}; the keys act all the same", stacklevel=3)
    return plain
