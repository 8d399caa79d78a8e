"""What every task family provides. Shapes: B batch of environments, D observation, A action."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.config import check_name
from idaq.core.errors import ConfigError, IdaqError, PluginError, UsageError
from idaq.core.types import Array, FamilyName, Task


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """What one lock-step of B environments returns."""

    observations: Array
    """(B, D)"""
    rewards: Array
    """(B,)"""
    terminated: NDArray[np.bool_]
    """(B,)"""
    truncated: NDArray[np.bool_]
    """(B,)"""
    success: NDArray[np.bool_]
    """(B,) the task's success definition, as of this step; says nothing for a task that has none"""


class LockstepEnv(Protocol):
    """B independent environments stepped together; returns exactly what B single ones would."""

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Array:
        """Start one episode for each task index; returns observations (B, D)."""
        ...

    def step(self, actions: Array) -> StepBatch:
        """Step all environments with actions (B, A). What an ended one returns is to be ignored."""
        ...

    def controller_view(self) -> Array:
        """(B, P): what a behaviour policy sees now: the latest observations, and what they hide from the agent."""
        ...


def checked_task(task: object, count: int) -> int:
    """The index of one of `count` tasks. Raises UsageError for anything else."""
    if isinstance(task, bool) or not isinstance(task, int | np.integer) or not 0 <= int(task) < count:
        raise UsageError(f"there is no task {task!r}", hint=f"an integer from 0 to {count - 1}")
    return int(task)


class SyncEnvs(LockstepEnv):
    """Lock-step for a family without a batched form: single environments stepped one after the other.

    `make` gives one environment, time limit included, that takes `reset(options={"task": i})` and may say
    `info["success"]`.
    """

    def __init__(self, make: Callable[[], gym.Env[Array, Array]]) -> None:
        self._make = make
        self._envs: list[gym.Env[Array, Array]] = []

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Array:
        self._envs += [self._make() for _ in range(len(task_indices) - len(self._envs))]
        starts = [
            env.reset(seed=seed, options={"task": task})[0]
            for env, task, seed in zip(self._envs, task_indices.tolist(), seeds.tolist(), strict=False)
        ]
        self._last: list[tuple[Array, float, bool, bool, dict[str, Any]]] = [(s, 0.0, False, False, {}) for s in starts]
        return np.stack(starts)

    def controller_view(self) -> Array:
        return np.stack([last[0] for last in self._last])

    def step(self, actions: Array) -> StepBatch:
        for number, action in enumerate(actions):
            _, _, terminated, truncated, _ = self._last[number]
            if not (terminated or truncated):
                observation, reward, terminated, truncated, info = self._envs[number].step(action)
                self._last[number] = observation, float(reward), terminated, truncated, info
        observations, rewards, terminated, truncated, infos = zip(*self._last, strict=True)
        return StepBatch(
            observations=np.stack(observations),
            rewards=np.array(rewards),
            terminated=np.array(terminated, bool),
            truncated=np.array(truncated, bool),
            success=np.array([bool(info.get("success", False)) for info in infos]),
        )


@dataclass(frozen=True)
class Spaces:
    """What an environment of a family takes and gives."""

    observations: gym.spaces.Box
    actions: gym.spaces.Box


@dataclass(frozen=True, kw_only=True)
class Family:
    """A list of tasks, the environment that takes one, and who knows how to solve it.

    The environment takes `task=` and `render_mode=` when it is made, and `reset(options={"task": i})`. Raises
    PluginError for what contradicts itself.
    """

    name: str
    description: str
    tasks: tuple[Task, ...]
    """number i has the index i"""
    horizon: int
    """steps until the time limit truncates an episode; `env_spec.max_episode_steps` says the same"""
    env_spec: EnvSpec
    batched: Callable[[], LockstepEnv] | None = None
    """a faster form of many environments, where there is one"""
    task_changes_dynamics: bool = True
    """whether s' depends on the task (a context then needs s')"""
    controller: Callable[[Array, NDArray[np.int64]], Array] | None = None
    """scripted policy that knows the task: controller views (B, P), task indices (B,) -> actions (B, A) in units of the
    largest action, before noise and clipping"""
    task_features: Array | None = None
    """(N, F) float32: what a trained behaviour policy sees of each task, beside the controller view"""
    relabel: Callable[[NDArray[np.int64], Array, Array], Array] | None = None
    """task indices (B,), `info["motion"]` (B, M), actions (B, A) -> what those tasks would have paid (B,)"""
    place: tuple[int, int] | None = None
    """which numbers of an observation are where the agent is on a plane, in metres: for figures"""
    velocity: int | None = None
    """which number of an observation is the velocity that the task is about, in m/s: for figures"""
    picture: str = ""
    """what the shapes and colours of its rendered pictures are, in a sentence: for legends"""
    simulators: tuple[str, ...] = ()
    """packages whose versions decide what an episode holds"""
    deterministic: bool = False
    """whether an episode follows from task and actions alone, whatever its seed"""
    lockstep_width: int = 1_000_000
    """the most environments that are best stepped together, where one holds much memory"""

    def __post_init__(self) -> None:
        if faults := list(_faults(self)):
            raise PluginError(f"the task family {self.name!r} contradicts itself", details=faults)

    def make(self, task: int = 0, render_mode: str | None = None) -> gym.Env[Array, Array]:
        """A single Gymnasium environment, time limit included, that starts on task `task`."""
        return gym.make(self.env_spec, task=task, render_mode=render_mode)

    def lockstep(self) -> LockstepEnv:
        """Environments that are stepped together: the batched form, or single ones one after the other."""
        return SyncEnvs(self.make) if self.batched is None else self.batched()

    def spaces(self) -> Spaces:
        """As an environment states them. Raises PluginError if none can be made, or they are none that behaviours and
        the format know."""
        try:
            env = self.make()
        except IdaqError:  # an extra is missing, say
            raise
        except Exception as error:
            raise PluginError(
                f"family {self.name}: making its environment raised {type(error).__name__}: {error}",
                hint=f"{self.env_spec.entry_point} must take task=0 and render_mode=None",
            ) from error
        observations, actions = env.observation_space, env.action_space
        env.close()
        if not (isinstance(observations, gym.spaces.Box) and observations.shape):
            raise PluginError(f"family {self.name} has observation space {observations}; a Box is needed")
        bounded = isinstance(actions, gym.spaces.Box) and len(actions.shape) == 1 and actions.is_bounded()
        if not (isinstance(actions, gym.spaces.Box) and bounded and actions.dtype.kind == "f"):
            raise PluginError(f"family {self.name} has action space {actions}; a bounded Box of one axis is needed")
        return Spaces(observations, actions)


def _faults(family: Family) -> Iterator[str]:
    """What can be seen of a family without making its environment."""
    try:
        check_name(FamilyName, family.name, "task family")
    except ConfigError as error:
        yield f"{error.message} ({error.hint})"
    indices = [task.task_index for task in family.tasks]
    if not indices:
        yield "it has no tasks"
    wrong = [(number, index) for number, index in enumerate(indices) if number != index]
    if wrong:
        yield "task number {} has task_index {}".format(*wrong[0])
    counted = Counter(task.task_id for task in family.tasks)
    if twice := [name for name, count in counted.items() if count > 1]:
        yield f"several tasks have the task_id {', '.join(twice[:5])}"
    if isinstance(family.horizon, bool) or not isinstance(family.horizon, int) or family.horizon < 1:
        yield f"horizon is {family.horizon!r}; a number of steps is needed, 1 or more"
    if not isinstance(family.env_spec, EnvSpec):
        yield f"env_spec is {family.env_spec!r}; a gymnasium EnvSpec is needed"
    if family.task_features is not None and np.shape(family.task_features)[:1] != (len(indices),):
        yield f"task_features have shape {np.shape(family.task_features)}; one row for each of {len(indices)} tasks"
    if family.lockstep_width < 1:
        yield f"lockstep_width is {family.lockstep_width}; 1 or more is needed"
