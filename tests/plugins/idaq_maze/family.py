"""Sixteen places to go to in two rooms, joined by a gap; which of them is hidden from the agent."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from idaq import Family, Success, Task

HORIZON = 40
GOALS = np.array([[x, y] for x in (-0.75, -0.3, 0.3, 0.75) for y in (-0.75, -0.25, 0.25, 0.75)], np.float32)
REACHED = 0.15
GAP = 0.35


class Maze(gym.Env[np.ndarray, np.ndarray]):
    """A mass of 1 kg on [-1, 1]^2, pushed with up to 1 N; a wall at x = 0 is open where |y| < GAP.

    Observations (x, y, vx, vy); reward -(length of the way to the goal); ends where the goal is reached.
    """

    observation_space = gym.spaces.Box(-1, 1, (4,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, task: int = 0, render_mode: str | None = None) -> None:
        self.task, self.render_mode = task, render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.task = int((options or {}).get("task", self.task))
        self.place = self.np_random.uniform([-0.9, -0.2], [-0.7, 0.2])
        self.speed = np.zeros(2)
        return self._seen(), {"task_index": self.task}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.speed = 0.7 * self.speed + 0.06 * np.asarray(action, np.float64)
        moved = self.place + self.speed
        open_wall = max(abs(self.place[1]), abs(moved[1])) < GAP
        if self.place[0] * moved[0] < 0 and not open_wall:
            moved[0], self.speed[0] = self.place[0], 0.0
        self.place = np.clip(moved, -1, 1)
        reached = bool(np.linalg.norm(self.place - GOALS[self.task]) < REACHED)
        return self._seen(), -self._way(), reached, False, {"success": reached, "task_index": self.task}

    def _way(self) -> float:
        goal = GOALS[self.task]
        if self.place[0] * goal[0] > 0:
            return float(np.linalg.norm(self.place - goal))
        return float(np.linalg.norm(self.place) + np.linalg.norm(goal))

    def _seen(self) -> np.ndarray:
        return np.concatenate([self.place, self.speed]).astype(np.float32)


def maze() -> Family:
    """The family: one task a goal."""
    reached = Success(metric="distance_to_goal", op="<=", threshold=REACHED, unit="m", when="last-step")
    tasks = [
        Task(task_id=f"goal-{i:02d}", task_index=i, params={"goal": [float(x) for x in goal]}, success=reached)
        for i, goal in enumerate(GOALS)
    ]
    return Family(
        name="maze",
        description="a point mass goes to a hidden place in two rooms",
        tasks=tuple(tasks),
        horizon=HORIZON,
        env_spec=EnvSpec(id="idaq-maze/Maze-v0", entry_point="idaq_maze.family:Maze", max_episode_steps=HORIZON),
        task_changes_dynamics=False,
        place=(0, 1),
        simulators=("idaq-maze", "gymnasium"),
    )
