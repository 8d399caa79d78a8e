"""One system stepped from outside: an environment that a user names, and an episode of a policy on it.

Shapes: T steps, D observation, A action.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from idaq.core.errors import IdaqError, NonFiniteError, PluginError, UsageError
from idaq.core.outside import raised_as
from idaq.core.registry import is_reference, load_reference
from idaq.core.types import Array, Episode

Env = gym.Env[Array, Array]
_SUCCESS = ("success", "is_success")
"""what `info` may call it: as Meta-World and as Gymnasium-Robotics do"""


@runtime_checkable
class Acts(Protocol):
    """The least that a policy of one system has; `reset()` and `observe(action, reward, next_observation, ended)` are
    called where it has them."""

    def act(self, observation: Array, /) -> Array:
        """An action (A,) in the environment's units for an observation (D,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlayedEpisode(Episode):
    """An episode as it was played on one system."""

    success: bool | None = None
    """whether any step's `info["success"]` (or `is_success`) was true; None where the environment never says"""
    seed: int | None = None
    """that the environment was reset with"""


def make_env(name: str, settings: Mapping[str, Any] | None = None, render_mode: str | None = None) -> Env:
    """The environment that a user has named: a Gymnasium id, or `package.module:thing`, which makes one.

    `settings` are its keyword arguments. Raises UsageError for an id that nothing registers, PluginError for a thing
    that raises or makes no environment.
    """
    given: dict[str, Any] = {**(settings or {}), **({} if render_mode is None else {"render_mode": render_mode})}
    if not is_reference(name):
        try:
            return cast(Env, gym.make(name, **given))
        except gym.error.Error as error:
            hint = "a Gymnasium id such as Pendulum-v1, or package.module:function that makes an environment"
            raise UsageError(f"{name}: {error}", hint=hint) from None
        except (IdaqError, OSError, MemoryError):
            raise
        except Exception as error:
            raise PluginError(f"making {name} raised {type(error).__name__}: {error}") from error
    made = load_reference(name)
    with raised_as(PluginError, f"making {name}"):
        env = made(**given) if callable(made) else made
    if not isinstance(env, gym.Env):
        raise PluginError(f"{name} gave a {type(env).__name__}, which is no gymnasium.Env")
    return cast(Env, env)


def env_spec_of(name: str, settings: Mapping[str, Any], env: Env) -> EnvSpec:
    """What makes an environment again that `make_env(name, settings)` made: `gymnasium.make` and Minari take it.

    A function's own time limit and wrappers are its own affair, and not stated. Raises PluginError for an environment
    that does not say how it was made.
    """
    if is_reference(name):
        return EnvSpec(id=name.rpartition(":")[2].rpartition(".")[2], entry_point=name, kwargs=dict(settings))
    if env.spec is None:
        raise PluginError(f"{name} made an environment without a spec: nothing says how to make it again")
    entry = env.spec.entry_point
    written = entry if isinstance(entry, str) or entry is None else f"{entry.__module__}:{entry.__qualname__}"  # type: ignore[union-attr]
    return replace(env.spec, entry_point=written)


def run_episode(
    env: Env,
    policy: Acts,
    *,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
    max_steps: int | None = None,
    on_step: Callable[[int, float], object] | None = None,
) -> PlayedEpisode:
    """One episode of a policy, to its end or for `max_steps`, which then truncates it.

    `on_step` is told each step's number, from 1, and its reward. Raises NonFiniteError for an observation or reward
    that is no number, naming the step: nothing can be learned from such an episode.
    """
    observation, _ = env.reset(seed=seed, options=options)
    _optional(policy, "reset")
    seen, actions, rewards, flags, successes = [np.asarray(observation)], [], [], [], []
    while not flags or not any(flags[-1]):
        action = np.asarray(policy.act(seen[-1]))
        observation, reward, terminated, truncated, info = env.step(action)
        truncated = truncated or (max_steps is not None and len(rewards) + 1 >= max_steps and not terminated)
        seen.append(np.asarray(observation))
        actions.append(action)
        rewards.append(float(reward))
        flags.append((bool(terminated), bool(truncated)))
        successes += [bool(info[name]) for name in _SUCCESS if name in info][:1]
        if not (np.isfinite(seen[-1]).all() and np.isfinite(rewards[-1])):
            raise NonFiniteError(f"step {len(rewards)} of the episode gave NaN or infinity", hint="discard the episode")
        _optional(policy, "observe", action, rewards[-1], seen[-1], any(flags[-1]))
        if on_step is not None:
            on_step(len(rewards), rewards[-1])
    terminations, truncations = np.array(flags, bool).T
    return PlayedEpisode(
        observations=np.stack(seen),
        actions=np.stack(actions),
        rewards=np.array(rewards),
        terminated=terminations,
        truncated=truncations,
        success=any(successes) if successes else None,
        seed=seed,
    )


def _optional(policy: Acts, method: str, *arguments: object) -> None:
    """Call a method where the policy has it."""
    getattr(policy, method, lambda *_: None)(*arguments)
