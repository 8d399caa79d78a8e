"""One system stepped from outside: an environment that a user names, and an episode of a policy on it.

Shapes: T steps, (...) one observation, one action.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, cast, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from idaq.core.errors import IdaqError, NonFiniteError, PluginError, UsageError
from idaq.core.outside import raised_as
from idaq.core.registry import is_reference, load_reference
from idaq.core.types import Array, Episode
from idaq.tasks.family import stacked

Env = gym.Env[Any, Any]
_OF_A_STEP = ("observation", "reward", "terminated", "truncated", "info")
_SUCCESS = ("success", "is_success")
"""what `info` may call it: as Meta-World and as Gymnasium-Robotics do"""


@runtime_checkable
class Acts(Protocol):
    """The least that a policy of one system has; `reset()` and `observe(action, reward, next_observation, ended)` are
    called where it has them."""

    def act(self, observation: Any, /) -> Any:
        """An action in the environment's units for an observation: an array, a number, a dict of a Dict space."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlayedEpisode(Episode):
    """An episode as it was played on one system."""

    success: bool | None = None
    """whether any step's `info["success"]` (or `is_success`) was true; None where the environment never says"""
    seed: int | None = None
    """that the environment was reset with"""

    @staticmethod
    def of(episode: Episode, *, success: bool | None, seed: int | None) -> "PlayedEpisode":
        """The same columns, with what is known of the episode."""
        columns = {field.name: getattr(episode, field.name) for field in fields(Episode)}
        return PlayedEpisode(**columns, success=success, seed=seed)


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

    What the environment and the policy give is copied: both may change their arrays in place. `on_step` is told each
    step's number, from 1, and its reward. Raises NonFiniteError for NaN or infinity, PluginError for what is no number,
    both naming the step: nothing can be learned from such an episode. UsageError for `max_steps` below 1.
    """
    if max_steps is not None and max_steps < 1:
        raise UsageError(f"an episode of {max_steps} steps was asked for", hint="max_steps=1 or more; None: no limit")
    observation, _ = _parts("reset", env.reset(seed=seed, options=options), ("observation", "info"))
    _optional(policy, "reset")
    seen, actions, rewards, flags, successes = [_observed("reset", observation)], [], [], [], []
    while not flags or not any(flags[-1]):
        where = f"step {len(rewards) + 1}"
        action = np.array(policy.act(_observed(where, seen[-1])))
        observation, reward, terminated, truncated, info = _parts(where, env.step(_given(action)), _OF_A_STEP)
        truncated = truncated or (max_steps is not None and len(rewards) + 1 >= max_steps and not terminated)
        seen.append(_observed(where, observation, seen[0]))
        actions.append(action)
        rewards.append(float(_numbers(where, "the reward", reward, size=1).item()))
        flags.append((bool(terminated), bool(truncated)))
        successes += [bool(info[name]) for name in _SUCCESS if name in (info or {})][:1]
        _optional(policy, "observe", action, rewards[-1], seen[-1], any(flags[-1]))
        if on_step is not None:
            on_step(len(rewards), rewards[-1])
    terminations, truncations = np.array(flags, bool).T
    return PlayedEpisode(
        observations=stacked(seen),
        actions=np.stack(actions),
        rewards=np.array(rewards),
        terminated=terminations,
        truncated=truncations,
        success=any(successes) if successes else None,
        seed=seed,
    )


def _parts(where: str, given: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """What `reset` or `step` has returned. Raises PluginError where it is not Gymnasium's tuple."""
    if not isinstance(given, tuple) or len(given) != len(names):
        raise PluginError(f"{where} of the episode gave {given!r:.60}", hint=f"Gymnasium's: {', '.join(names)}")
    return given


def _given(action: Array) -> Any:
    """A copy for the environment; of a Discrete space a number, which tables can be looked up by."""
    return action.copy() if action.ndim else action[()]


def _observed(where: str, observation: Any, first: Any = None) -> Any:
    """A copy: an array, or a dict of such. Raises as `_numbers`, and PluginError where shapes are not the `first`'s."""
    if isinstance(observation, Mapping):
        copied: Any = {key: _observed(where, value) for key, value in observation.items()}
    else:
        copied = _numbers(where, "the observation", observation)
    if first is not None and (ours := _form(copied)) != (theirs := _form(first)):
        raise PluginError(f"{where} of the episode: the observation is of shape {ours}, at reset it was {theirs}")
    return copied


def _form(observation: Any) -> Any:
    """The shape of an array, the shapes of a dict by name."""
    if isinstance(observation, dict):
        return {key: _form(observation[key]) for key in sorted(observation)}
    return observation.shape


def _numbers(where: str, what: str, given: object, size: int | None = None) -> Array:
    """A copy. Raises PluginError for what is no array of numbers, NonFiniteError for NaN."""
    try:
        array = np.array(given)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.dtype.kind not in "biuf" or size not in (None, array.size):
        raise PluginError(
            f"{where} of the episode: {what} is {given!r:.60}; numbers are needed",
            hint="gymnasium.wrappers.FlattenObservation makes one array of tuples and texts",
        )
    if not np.isfinite(array).all():
        raise NonFiniteError(f"{where} of the episode gave NaN or infinity in {what}", hint="discard the episode")
    return array


def _optional(policy: Acts, method: str, *arguments: object) -> None:
    """Call a method where the policy has it."""
    getattr(policy, method, lambda *_: None)(*arguments)
