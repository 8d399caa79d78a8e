"""What every task family provides. Shapes: B batch of environments, (...) one observation, one action."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.config import check_name
from idaq.core.errors import ConfigError, IdaqError, PluginError, UsageError
from idaq.core.types import Array, FamilyName, Task

LEAVES = gym.spaces.Box | gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary
"""the spaces of one array"""


@dataclass(frozen=True, kw_only=True)
class StepBatch:
    """What one lock-step of B environments returns."""

    observations: Any
    """(B, ...) array; of a Dict space a dict of such, nested as the space is"""
    rewards: Array
    """(B,)"""
    terminated: NDArray[np.bool_]
    """(B,)"""
    truncated: NDArray[np.bool_]
    """(B,)"""
    success: NDArray[np.bool_]
    """(B,) the task's success definition, as of this step; says nothing for a task that has none"""
    infos: Mapping[str, Array] = field(default_factory=dict[str, Array])
    """(B, ...) each, by the names of `Family.infos`"""


class LockstepEnv(Protocol):
    """B independent environments stepped together; returns exactly what B single ones would."""

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Any:
        """Start one episode for each task index; returns observations, as in `StepBatch`."""
        ...

    def step(self, actions: Array) -> StepBatch:
        """Step all environments with actions (B, ...). What an ended one returns is to be ignored."""
        ...

    def controller_view(self) -> Any:
        """What a behaviour policy sees now, one row (B, ...) each: the latest observations, and what they hide."""
        ...


def checked_task(task: object, count: int) -> int:
    """The index of one of `count` tasks. Raises UsageError for anything else."""
    if isinstance(task, bool) or not isinstance(task, int | np.integer) or not 0 <= int(task) < count:
        raise UsageError(f"there is no task {task!r}", hint=f"an integer from 0 to {count - 1}")
    return int(task)


class SyncEnvs(LockstepEnv):
    """Lock-step for a family without a batched form: single environments stepped one after the other.

    `make` gives one environment, time limit included, that takes `reset(options={"task": i})` and may say
    `info["success"]`. `infos` name what else of `info` is kept.
    """

    def __init__(self, make: Callable[[], gym.Env[Any, Any]], infos: Collection[str] = ()) -> None:
        self._make, self._infos = make, tuple(infos)
        self._envs: list[gym.Env[Any, Any]] = []

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Any:
        self._envs += [self._make() for _ in range(len(task_indices) - len(self._envs))]
        starts = [
            env.reset(seed=seed, options={"task": task})[0]
            for env, task, seed in zip(self._envs, task_indices.tolist(), seeds.tolist(), strict=False)
        ]
        self._last: list[tuple[Any, float, bool, bool, dict[str, Any]]] = [(s, 0.0, False, False, {}) for s in starts]
        return stacked(starts)

    def controller_view(self) -> Any:
        return stacked([last[0] for last in self._last])

    def step(self, actions: Array) -> StepBatch:
        for number, action in enumerate(actions):
            _, _, terminated, truncated, _ = self._last[number]
            if not (terminated or truncated):
                observation, reward, terminated, truncated, info = self._envs[number].step(action)
                self._last[number] = observation, float(reward), terminated, truncated, info
        observations, rewards, terminated, truncated, infos = zip(*self._last, strict=True)
        return StepBatch(
            observations=stacked(observations),
            rewards=np.array(rewards),
            terminated=np.array(terminated, bool),
            truncated=np.array(truncated, bool),
            success=np.array([bool(info.get("success", False)) for info in infos]),
            infos={name: np.array([info[name] for info in infos]) for name in self._infos},
        )


def stacked(observations: Sequence[Any]) -> Any:
    """Observations of B environments as one: arrays (B, ...), or a dict of such."""
    first = observations[0]
    if isinstance(first, Mapping):
        return {key: stacked([one[key] for one in observations]) for key in first}
    return np.stack(observations)


@dataclass(frozen=True)
class Spaces:
    """What an environment of a family takes and gives."""

    observations: gym.Space[Any]
    """a Box, Discrete, MultiDiscrete, MultiBinary, or a (nested) Dict of such"""
    actions: Any
    """a space: a bounded Box, Discrete, MultiDiscrete or MultiBinary"""


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
    """scripted policy that knows the task: controller views (B, P), task indices (B,) -> actions (B, ...) in units of
    the largest action, before noise and clipping; whole numbers, of a Discrete space say, as they are"""
    task_features: Array | None = None
    """(N, F) float32: what a trained behaviour policy sees of each task, beside the controller view"""
    relabel: Callable[[NDArray[np.int64], Array, Array], Array] | None = None
    """task indices (B,), `info["motion"]` (B, M), actions (B, A) -> what those tasks would have paid (B,)"""
    place: tuple[int, int] | None = None
    """which numbers of an observation are where the agent is on a plane, in metres: for figures"""
    infos: Mapping[str, str] = field(default_factory=dict[str, str])
    """what of `info`, or of `StepBatch.infos`, becomes a column `infos/NAME` of the data: its meaning, by name"""
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

    def make(self, task: int = 0, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """A single Gymnasium environment, time limit included, that starts on task `task`."""
        return gym.make(self.env_spec, task=task, render_mode=render_mode)

    def lockstep(self) -> LockstepEnv:
        """Environments that are stepped together: the batched form, or single ones one after the other."""
        return SyncEnvs(self.make, self.infos) if self.batched is None else self.batched()

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
        known = "Box, Discrete, MultiDiscrete or MultiBinary"
        if not _is_supported(observations):
            said = f"family {self.name} has observation space {observations}"[:500]
            raise PluginError(f"{said}; a {known} is needed, or a Dict of such")
        if not isinstance(actions, LEAVES) or (isinstance(actions, gym.spaces.Box) and not actions.is_bounded()):
            said = f"family {self.name} has action space {actions}"[:500]
            raise PluginError(f"{said}; a bounded {known} is needed")
        return Spaces(observations, actions)


def _is_supported(space: gym.Space[Any]) -> bool:
    """Whether the format holds it."""
    if isinstance(space, gym.spaces.Dict):
        return bool(space.spaces) and all(map(_is_supported, space.spaces.values()))
    return isinstance(space, LEAVES)


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
