"""Meta-World ML1: one robot arm, 50 kinds of job, each a family of 50 tasks whose goal the agent cannot see.

A family `ml1/<name>` has the 50 training tasks of `ML1("<name>-v3", seed=1337)`. The scripted policy sees the goal; the
observations of the data, and of the environment, have zeros in its place (last three of 39 numbers).
Shapes: B environments in lock-step, D = 39 observation numbers.
"""

import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.errors import unknown_name
from idaq.core.extras import optional
from idaq.core.types import Array, Success, Task
from idaq.tasks.family import Family, LockstepEnv, StepBatch, checked_task
from idaq.tasks.rendering import prepare_offscreen

# fmt: off
NAMES = (
    "assembly", "basketball", "bin-picking", "box-close", "button-press", "button-press-topdown",
    "button-press-topdown-wall", "button-press-wall", "coffee-button", "coffee-pull", "coffee-push", "dial-turn",
    "disassemble", "door-close", "door-lock", "door-open", "door-unlock", "drawer-close", "drawer-open", "faucet-close",
    "faucet-open", "hammer", "hand-insert", "handle-press", "handle-press-side", "handle-pull", "handle-pull-side",
    "lever-pull", "peg-insert-side", "peg-unplug-side", "pick-out-of-hole", "pick-place", "pick-place-wall",
    "plate-slide", "plate-slide-back", "plate-slide-back-side", "plate-slide-side", "push", "push-back", "push-wall",
    "reach", "reach-wall", "shelf-place", "soccer", "stick-pull", "stick-push", "sweep", "sweep-into", "window-close",
    "window-open",
)
# fmt: on
HORIZON = 500
TASK_SEED = 1337
VARIATIONS = 50
"""tasks that Meta-World draws of each environment"""
SUCCESS = Success(metric="info.success", op=">=", threshold=1.0, unit="1", when="any-step")
PICTURE = (
    "The Sawyer arm (red) from Meta-World's camera corner2. What marks a goal, where the scene draws it, is not among"
    " what the agent observes."
)
Setting = Callable[[int], tuple[str, Any]]
"""task index -> the environment's name, and Meta-World's own task with the goal visible"""


@functools.cache
def benchmark(name: str) -> Any:
    """Tasks of a name, with the goal visible (about a second, once a process). Raises UnknownNameError.

    MT1 draws the very tasks of ML1's training set; only, their goal is not hidden, which the scripted policy needs.
    """
    if name not in NAMES:
        raise unknown_name("ML1 set", name, NAMES)
    return optional("metaworld").MT1(f"{name}-v3", seed=TASK_SEED)


def setting(name: str, task: int) -> tuple[str, Any]:
    """The `Setting` of a set of ML1."""
    return name, benchmark(name).train_tasks[task]


@functools.cache
def rand_vecs(name: str) -> Array:
    """(50, 3) or (50, 6) float64: what distinguishes the tasks, in metres: object position, goal, or both."""
    vectors, env = [], _env_class(name)()
    for task in benchmark(name).train_tasks:
        env.set_task(task)
        vectors.append(np.array(env._last_rand_vec))
    env.close()
    return np.stack(vectors)


@functools.cache
def scripted_policy(name: str) -> Any:
    """Meta-World's scripted policy of that name; stateless."""
    from metaworld.policies import ENV_POLICY_MAP

    from idaq.tasks import sawyer

    cls = ENV_POLICY_MAP[f"{name}-v3"]
    return (sawyer.accelerated_policy(cls) if sawyer.supported() else cls)()


def controller(name: str, observations: Array, task_indices: NDArray[np.int64]) -> Array:
    """The scripted policy's actions (B, 4) float32; observations (B, 39) with the goal."""
    policy = scripted_policy(name)
    return np.array([policy.get_action(seen) for seen in observations.copy()])  # some scripts add to what they see


@functools.cache
def _env_class(name: str) -> Any:
    cls = optional("metaworld").ALL_V3_ENVIRONMENTS[f"{name}-v3"]
    from idaq.tasks import sawyer

    return sawyer.accelerated(cls) if sawyer.supported() else cls


class Arm:
    """One robot arm that starts any task afresh: an episode depends on nothing that happened before it."""

    def __init__(self, setting: Setting, **render: Any) -> None:
        self._setting, self._render = setting, render
        self._task, self._first = -1, np.empty(0)
        self.env: Any = None
        """Meta-World's environment, once an episode has begun"""

    def reset(self, task: int) -> Array:
        """Start `task`; returns the observation (39,) float64, goal included."""
        if task == self._task and hasattr(self.env, "restart"):
            self.env.restart()
            return self._first
        self.close()
        name, drawn = self._setting(task)
        self.env = env = _env_class(name)(**self._render)
        env.set_task(drawn)
        self._task, self._first = task, env.reset()[0]
        if hasattr(env, "restart"):
            env.prepare()
        return self._first

    def step(self, action: Array) -> tuple[Array, float, bool]:
        """Observation (39,) float64, goal included; reward; success at this step."""
        observation, reward, _, _, info = self.env.step(action)
        return observation, float(reward), bool(info["success"])

    def close(self) -> None:
        """Free the simulator."""
        if self.env is not None:
            self.env.close()
            self.env = None


def hidden(observations: Array) -> Array:
    """What the data and the agent see: float32, with zeros for the goal. (..., 39) -> (..., 39)."""
    seen = observations.astype(np.float32)
    seen[..., -3:] = 0
    return seen


class ArmLockstep(LockstepEnv):
    """B arms, stepped one after the other."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._arms: list[Arm] = []

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Array:
        self._arms += [Arm(self._setting) for _ in range(len(task_indices) - len(self._arms))]
        self._active = self._arms[: len(task_indices)]
        self._elapsed = 0
        self._full = np.stack([arm.reset(task) for arm, task in zip(self._active, task_indices.tolist(), strict=True)])
        return hidden(self._full)

    def controller_view(self) -> Array:
        return self._full

    def step(self, actions: Array) -> StepBatch:
        full, rewards, success = zip(
            *(arm.step(action) for arm, action in zip(self._active, actions, strict=True)), strict=True
        )
        self._full = np.array(full)
        self._elapsed += 1
        return StepBatch(
            observations=hidden(self._full),
            rewards=np.array(rewards),
            terminated=np.zeros(len(full), bool),
            truncated=np.full(len(full), self._elapsed >= HORIZON),
            success=np.array(success),
        )


class ArmEnv(gym.Env[Array, Array]):
    """One arm, the goal hidden. `reset(options={"task": i})` changes the task; without it the last stays."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 80}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, setting: Setting, count: int, task: int, render_mode: str | None) -> None:
        if render_mode is not None:
            prepare_offscreen()
        self._arm = Arm(setting, render_mode=render_mode, camera_name="corner2", width=256, height=256)
        self._count, self._task = count, checked_task(task, count)
        self.render_mode = render_mode
        self.observation_space, self.action_space = spaces()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        if options and "task" in options:
            self._task = checked_task(options["task"], self._count)
        return hidden(self._arm.reset(self._task)), {"success": False, "task_index": self._task}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        observation, reward, success = self._arm.step(np.asarray(action, np.float32))
        return hidden(observation), reward, False, False, {"success": success, "task_index": self._task}

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """(256, 256, 3) uint8 from Meta-World's camera `corner2`, which hangs upside down: turned the right way up."""
        return None if self.render_mode is None else np.flip(self._arm.env.render(), (0, 1))

    def close(self) -> None:
        self._arm.close()


class ML1Env(ArmEnv):
    """One set of ML1."""

    def __init__(self, name: str, task: int = 0, render_mode: str | None = None) -> None:
        super().__init__(functools.partial(setting, name), VARIATIONS, task, render_mode)


def spaces() -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space, the same for every set: two frames of 18 numbers, and the goal's place, empty."""
    low = np.array([-0.525, 0.348, -0.0525, -1.0] + 14 * [-np.inf])
    high = np.array([0.525, 1.025, 0.7, 1.0] + 14 * [np.inf])
    goal = np.zeros(3)
    observation = gym.spaces.Box(
        np.concatenate([low, low, goal]).astype(np.float32),
        np.concatenate([high, high, goal]).astype(np.float32),
        dtype=np.float32,
    )
    return observation, gym.spaces.Box(-1.0, 1.0, (4,), np.float32)


@functools.cache
def ml1(name: str) -> Family:
    """The family `ml1/<name>`."""
    tasks = tuple(
        Task(
            task_id=f"task-{index:03d}",
            task_index=index,
            params={"rand_vec": [float(x) for x in vector]},
            split="train",
            success=SUCCESS,
        )
        for index, vector in enumerate(rand_vecs(name))
    )
    return Family(
        name=f"ml1/{name}",
        description=f"Meta-World ML1 {name}-v3, goal hidden",
        tasks=tasks,
        horizon=HORIZON,
        env_spec=EnvSpec(
            id=f"idaq/ml1-{name}-v0",
            entry_point="idaq.tasks.ml1:ML1Env",
            max_episode_steps=HORIZON,
            disable_env_checker=True,  # it warns of the goal's place: zeros, and nothing else, fit there
            kwargs={"name": name},
        ),
        batched=functools.partial(ArmLockstep, functools.partial(setting, name)),
        controller=functools.partial(controller, name),
        task_changes_dynamics=False,
        picture=PICTURE,
        simulators=("metaworld", "mujoco"),
        deterministic=True,
        lockstep_width=3,
    )
