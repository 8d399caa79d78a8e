"""Dark Room: a 9 x 9 grid in which the agent sees where it is and not where the goal is; every cell is one task's goal.

As in Algorithm Distillation (Laskin et al., 2022, arXiv:2210.14215): actions one step right, left, up, down or none,
20 steps from the centre, reward 1 on each step that ends on the goal. `dark-room-sparse` pays once an episode, as their
17 x 17 "hard" room does. The Decision-Pretrained Transformer (Lee et al., 2023, arXiv:2306.14892) has the same actions,
in this order, in a 10 x 10 room with 100 steps from a corner; the best action is its own: first along x, then along y.
`dark-room-pixels` is the dense room seen from above, as a picture. Shapes: B rooms in lock-step.
"""

import functools
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.errors import unknown_name
from idaq.core.types import Array, Success, Task
from idaq.tasks.family import Family, LockstepEnv, StepBatch, checked_task

SIZE, HORIZON = 9, 20
MOVES = np.array([(1, 0), (-1, 0), (0, 1), (0, -1), (0, 0)])
RIGHT, LEFT, UP, DOWN, STAY = range(5)
GOALS = np.array([divmod(index, SIZE) for index in range(SIZE * SIZE)])
"""(81, 2) the goal (x, y) of each task"""
CELL = 4
"""pixels along one side of a cell"""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What distinguishes one dark room from another."""

    sparse: bool = False
    """paid once an episode, not on every step on the goal"""
    pixels: bool = False


VARIANTS = {
    "dark-room": Variant(),
    "dark-room-sparse": Variant(sparse=True),
    "dark-room-pixels": Variant(pixels=True),
}


def _variant(name: str) -> Variant:
    if name not in VARIANTS:
        raise unknown_name("dark room", name, VARIANTS)
    return VARIANTS[name]


@functools.cache
def pictures() -> NDArray[np.uint8]:
    """(9, 9, 36, 36, 3): the room as it is seen from each place (x, y): a bright cell on dark ones, y up."""
    cell = np.full((CELL, CELL, 3), 40, np.uint8)
    cell[0], cell[:, 0] = 70, 70
    drawn = np.tile(cell, (SIZE, SIZE, SIZE, SIZE, 1))
    for x, y in GOALS:
        top, left = (SIZE - 1 - y) * CELL, x * CELL
        drawn[x, y, top + 1 : top + CELL, left + 1 : left + CELL] = (230, 160, 60)
    return drawn


class DarkRoomLockstep(LockstepEnv):
    """B dark rooms in lock-step."""

    def __init__(self, variant: str) -> None:
        self._variant = _variant(variant)

    def reset(self, task_indices: NDArray[np.int64], seeds: NDArray[np.uint64]) -> Array:
        self._goals = GOALS[task_indices]
        self._places = np.full((len(task_indices), 2), SIZE // 2)
        self._paid = np.zeros(len(task_indices), bool)
        self._elapsed = 0
        return self._seen()

    def controller_view(self) -> Array:
        """(B, 2) int64: the places."""
        return self._places

    def step(self, actions: Array) -> StepBatch:
        self._places = np.clip(self._places + MOVES[actions], 0, SIZE - 1)
        reached = (self._places == self._goals).all(1)
        rewards = reached & ~self._paid if self._variant.sparse else reached
        self._paid |= reached
        self._elapsed += 1
        return StepBatch(
            observations=self._seen(),
            rewards=rewards.astype(np.float32),
            terminated=np.zeros(len(reached), bool),
            truncated=np.full(len(reached), self._elapsed >= HORIZON),
            success=reached,
        )

    def _seen(self) -> Array:
        return pictures()[*self._places.T] if self._variant.pixels else self._places


class DarkRoomEnv(gym.Env[Array, np.int64]):
    """One dark room. `reset(options={"task": i})` changes the task; without it the last task stays."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012 - Gymnasium's own form

    def __init__(self, variant: str = "dark-room", task: int = 0, render_mode: str | None = None) -> None:
        self._rooms = DarkRoomLockstep(variant)
        self._task = checked_task(task, len(GOALS))
        self.render_mode = render_mode
        shape = (SIZE * CELL, SIZE * CELL, 3)
        self.observation_space = (
            gym.spaces.Box(0, 255, shape, np.uint8)
            if _variant(variant).pixels
            else gym.spaces.MultiDiscrete([SIZE] * 2)
        )
        self.action_space = gym.spaces.Discrete(len(MOVES))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        if options and "task" in options:
            self._task = checked_task(options["task"], len(GOALS))
        observations = self._rooms.reset(np.array([self._task]), np.zeros(1, np.uint64))
        return observations[0].copy(), {"success": False, "task_index": self._task}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        batch = self._rooms.step(np.asarray(action)[None])
        info = {"success": bool(batch.success[0]), "task_index": self._task}
        return batch.observations[0].copy(), float(batch.rewards[0]), False, False, info

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """(252, 252, 3) uint8: what `pictures` shows, seven times as large, and the goal's cell in green."""
        if self.render_mode is None:
            return None
        image = pictures()[*self._rooms.controller_view()[0]].copy()
        x, y = GOALS[self._task]
        top, left = (SIZE - 1 - y) * CELL, x * CELL
        image[top, left : left + CELL] = image[top : top + CELL, left] = (110, 190, 110)
        return image.repeat(7, 0).repeat(7, 1)


def controller(observations: Array, task_indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """The best actions (B,) at places (B, 2): first along x, then along y, then stay."""
    x, y = (GOALS[task_indices] - observations).T
    return np.select([x > 0, x < 0, y > 0, y < 0], [RIGHT, LEFT, UP, DOWN], STAY)


_DESCRIPTIONS = {
    "dark-room": "find a hidden cell of a 9 x 9 grid; reward 1 on every step that ends there",
    "dark-room-sparse": "find a hidden cell of a 9 x 9 grid; reward 1 once",
    "dark-room-pixels": "find a hidden cell of a 9 x 9 grid seen from above; reward 1 on every step that ends there",
}


@functools.cache
def dark_room(name: str) -> Family:
    """The family of a dark room: 81 tasks."""
    success = Success(
        metric="distance_to_goal",
        op="<=",
        threshold=0.0,
        unit="cells",
        when="any-step" if _variant(name).sparse else "last-step",
    )
    tasks = tuple(
        Task(
            task_id=f"goal-{x}-{y}",
            task_index=index,
            params={"goal": [float(x), float(y)]},
            success=success,
        )
        for index, (x, y) in enumerate(GOALS.tolist())
    )
    return Family(
        name=name,
        description=_DESCRIPTIONS[name],
        tasks=tasks,
        horizon=HORIZON,
        env_spec=EnvSpec(
            id=f"idaq/{name}-v0",
            entry_point="idaq.tasks.dark_room:DarkRoomEnv",
            max_episode_steps=HORIZON,
            kwargs={"variant": name},
        ),
        batched=functools.partial(DarkRoomLockstep, name),
        controller=controller,
        task_changes_dynamics=False,
        picture="Orange: the agent's cell. Green: the goal's, which it does not see. x to the right, y up.",
        deterministic=True,
    )
