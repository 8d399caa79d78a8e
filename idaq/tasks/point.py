"""A point robot on the plane: reach a hidden goal (dense or sparse reward), or the known goal through a hidden wind.

Tasks and rewards as in the FOCAL / IDAQ literature (FACTS of the domain: goals on the upper half of the unit circle,
start at the origin, reward after the move). Positions in metres (say), actions in metres a step.
"""

import functools
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.errors import unknown_name
from idaq.core.seeds import generator
from idaq.core.types import Array, Floats, Success, Task
from idaq.tasks.family import Family, LockstepEnv, StepBatch, checked_task

MAX_ACTION = np.float32(0.1)
GOAL_RADIUS = np.float32(0.2)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What distinguishes one point-robot family from another. N tasks."""

    goals: Floats
    """(N, 2)"""
    winds: Floats
    """(N, 2) displacement added to every move"""
    horizon: int
    sparse: bool

    @property
    def bound(self) -> float:
        """No position can be farther from the origin than this, on either axis: in whole metres, above rounding."""
        return float(np.floor(self.horizon * (MAX_ACTION + np.abs(self.winds).max())) + 1)


@functools.cache
def load_variant(name: str) -> Variant:
    """The arrays of a family; goals and winds are the same on every machine. Raises UnknownNameError."""
    angles = np.linspace(0.0, np.pi, 100)
    half_circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    calm = np.zeros_like(half_circle)
    if name == "point-robot":
        return Variant(goals=half_circle, winds=calm, horizon=20, sparse=False)
    if name == "point-robot-sparse":
        return Variant(goals=half_circle, winds=calm, horizon=20, sparse=True)
    if name == "point-robot-wind":
        winds = generator(1337).uniform(-0.05, 0.05, size=(50, 2)).astype(np.float32)
        east = np.tile(np.array([1.0, 0.0], np.float32), (50, 1))
        return Variant(goals=east, winds=winds, horizon=25, sparse=False)
    raise unknown_name("point-robot variant", name, ("point-robot", "point-robot-sparse", "point-robot-wind"))


def move(
    positions: Floats, actions: Array, goals: Floats, winds: Floats, sparse: bool
) -> tuple[Floats, Floats, Floats]:
    """One step of B robots, all in float32: (new positions (B, 2), rewards (B,), distances to the goal (B,)).

    Only correctly rounded element-wise operations, so that a batch and a single robot agree to the bit.
    """
    moved = positions + np.clip(actions.astype(np.float32), -MAX_ACTION, MAX_ACTION) + winds
    away = moved - goals
    distances = np.sqrt(away[:, 0] * away[:, 0] + away[:, 1] * away[:, 1])
    if sparse:
        near = (GOAL_RADIUS - distances) / GOAL_RADIUS
        return moved, np.where(distances <= GOAL_RADIUS, near, np.float32(0)), distances
    return moved, -distances, distances


class PointRobotLockstep(LockstepEnv):
    """B point robots in lock-step."""

    def __init__(self, variant_name: str) -> None:
        self._variant = load_variant(variant_name)

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Array:
        self._goals = self._variant.goals[task_indices]
        self._winds = self._variant.winds[task_indices]
        self._positions = np.zeros((len(task_indices), 2), np.float32)
        self._elapsed = 0
        return self._positions

    def controller_view(self) -> Array:
        return self._positions

    def step(self, actions: Array) -> StepBatch:
        self._positions, rewards, distances = move(
            self._positions, actions, self._goals, self._winds, self._variant.sparse
        )
        self._elapsed += 1
        size = len(rewards)
        return StepBatch(
            observations=self._positions,
            rewards=rewards,
            terminated=np.zeros(size, bool),
            truncated=np.full(size, self._elapsed >= self._variant.horizon),
            success=distances <= GOAL_RADIUS,
        )


class PointRobotEnv(gym.Env[Array, Array]):
    """One point robot. `reset(options={"task": i})` changes the task; without it the last task stays."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, variant: str = "point-robot", task: int = 0, render_mode: str | None = None) -> None:
        self._robots = PointRobotLockstep(variant)
        self._variant = load_variant(variant)
        self._task = checked_task(task, len(self._variant.goals))
        self.render_mode = render_mode
        bound = self._variant.bound
        self.observation_space = gym.spaces.Box(-bound, bound, (2,), np.float32)
        self.action_space = gym.spaces.Box(-MAX_ACTION, MAX_ACTION, (2,), np.float32)
        self._trail: list[Floats] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        if options and "task" in options:
            self._task = checked_task(options["task"], len(self._variant.goals))
        observations = self._robots.reset(np.array([self._task]), np.zeros(1, np.uint64))
        self._trail = [observations[0]]
        return observations[0].copy(), {"success": False, "task_index": self._task}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        batch = self._robots.step(np.asarray(action, np.float32)[None])
        self._trail.append(batch.observations[0])
        info = {"success": bool(batch.success[0]), "task_index": self._task}
        return batch.observations[0].copy(), float(batch.rewards[0]), False, False, info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """(256, 256, 3) uint8: goal green, trail blue, robot red; the view spans [-1.5, 1.5] on both axes."""
        if self.render_mode is None:
            return None
        image = np.full((256, 256, 3), 255, np.uint8)
        _disc(image, self._variant.goals[self._task], float(GOAL_RADIUS), (190, 230, 190))
        for position in self._trail[:-1]:
            _disc(image, position, 0.02, (110, 140, 220))
        for position in self._trail[-1:]:
            _disc(image, position, 0.04, (200, 40, 40))
        return image


def _disc(image: NDArray[np.uint8], centre: Floats, radius: float, colour: tuple[int, int, int]) -> None:
    axis = np.linspace(-1.5, 1.5, len(image))
    inside = (axis[None, :] - centre[0]) ** 2 + (axis[::-1, None] - centre[1]) ** 2 <= radius**2
    image[inside] = colour


def controller(variant_name: str, observations: Array, task_indices: NDArray[np.int64]) -> Array:
    """Head for the goal, leaning against the wind: 10 (g - s - w), in units of the largest action, before clipping."""
    robots = load_variant(variant_name)
    pull = robots.goals[task_indices] - observations - robots.winds[task_indices]
    return pull / MAX_ACTION


def _family(name: str, description: str, params: str, task_changes_dynamics: bool) -> Family:
    robots = load_variant(name)
    values = robots.winds if params == "wind" else robots.goals
    success = Success(
        metric="distance_to_goal", op="<=", threshold=round(float(GOAL_RADIUS), 3), unit="m", when="last-step"
    )
    tasks = tuple(
        Task(
            task_id=f"{params}-{i:03d}",
            task_index=i,
            params={params: [float(x) for x in value]},
            split="train",
            success=success,
        )
        for i, value in enumerate(values)
    )
    spec = EnvSpec(
        id=f"idaq/{name}-v0",
        entry_point="idaq.tasks.point:PointRobotEnv",
        max_episode_steps=robots.horizon,
        kwargs={"variant": name},
    )
    return Family(
        name=name,
        description=description,
        tasks=tasks,
        horizon=robots.horizon,
        env_spec=spec,
        batched=functools.partial(PointRobotLockstep, name),
        controller=functools.partial(controller, name),
        task_changes_dynamics=task_changes_dynamics,
        place=(0, 1),
        picture="Red disc: the robot. Blue: where it has been since the start, (0, 0). Green disc: within"
        f" {GOAL_RADIUS:.1f} m of the goal. The view spans 3 m; x to the right, y up.",
    )


@functools.cache
def point_robot() -> Family:
    """100 goals on the half-circle, reward = -distance."""
    return _family("point-robot", "reach a hidden goal on the unit half-circle; reward -distance", "goal", False)


@functools.cache
def point_robot_sparse() -> Family:
    """The same goals; reward only within 0.2 of the goal: (0.2 - distance) / 0.2."""
    return _family("point-robot-sparse", "reach a hidden goal; reward only within 0.2 of it", "goal", False)


@functools.cache
def point_robot_wind() -> Family:
    """50 hidden constant winds, known goal (1, 0), reward = -distance; the dynamics differ between tasks."""
    return _family("point-robot-wind", "reach (1, 0) against a hidden constant wind", "wind", True)
